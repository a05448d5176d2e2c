"""The rows of the table `containers`, and how a user's word finds one.

A row outlives every process that works on it.  `boot_id` is set from the moment a monitor is
launched until it (or `recover`) has taken down all that it set up; with the monitor's lock it tells
what may be left in the kernel.
"""

from __future__ import annotations

import json
import sqlite3

from jubako.containers.events import emit
from jubako.errors import Conflict, InvalidArgument, NameInUse, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.containers.model import ContainerRecord
    from jubako.store import Store


class Container:
    """One row, as it was when it was read."""

    __slots__ = (
        "boot_id",
        "created_ns",
        "endpoint",
        "error",
        "exit_code",
        "finished",
        "health",
        "id",
        "image_id",
        "name",
        "oom_killed",
        "pid",
        "record",
        "restart_count",
        "started",
        "status",
        "stop_requested",
    )

    def __init__(self, row: sqlite3.Row, record: ContainerRecord | None = None):
        self.id: str = row["id"]
        self.name: str = row["name"]
        self.image_id: str = row["image_id"]
        self.created_ns: int = row["created_ns"]
        self.record: ContainerRecord = record or json.loads(row["record"])
        self.status: str = row["status"]
        self.pid: int = row["pid"]
        self.boot_id: str = row["boot_id"]
        self.exit_code: int = row["exit_code"]
        self.oom_killed = bool(row["oom_killed"])
        self.error: str = row["error"]
        self.started: str = row["started"]
        self.finished: str = row["finished"]
        endpoint = row["endpoint"]  # of a thousand stopped containers, none has one
        self.endpoint: dict[str, Any] = json.loads(endpoint) if endpoint != "{}" else {}
        self.restart_count: int = row["restart_count"]
        self.stop_requested: int = row["stop_requested"]
        self.health: dict[str, Any] | None = json.loads(row["health"]) if row["health"] else None

    @property
    def has_address(self) -> bool:
        """Whether it gets an address of a network of ours while it runs."""
        mode = self.record["HostConfig"]["NetworkMode"]
        return mode not in ("none", "host") and not mode.startswith("container:")

    @property
    def running(self) -> bool:
        """Whether it has a process."""
        return self.status in ("running", "paused")

    @property
    def restarting(self) -> bool:
        """Whether it has ended, and its restart policy is about to start it again."""
        return self.status == "restarting"

    @property
    def active(self) -> bool:
        """Whether Docker calls it running: it has a process, or will soon have one again."""
        return self.running or self.restarting

    def state(self) -> dict[str, Any]:
        """Docker's `State` object of inspect."""
        state: dict[str, Any] = {
            "Status": self.status,
            "Running": self.active,
            "Paused": self.status == "paused",
            "Restarting": self.restarting,
            "OOMKilled": self.oom_killed,
            "Dead": self.status == "dead",
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": self.started,
            "FinishedAt": self.finished,
        }
        if self.health is not None:
            state["Health"] = self.health
        return state


def image_ids(record: ContainerRecord) -> set[str]:
    """Its image, and those whose files it has mounted."""
    return {
        record["ImageId"],
        *(point["ImageId"] for point in record["Mounts"] if "ImageId" in point),
    }


_LISTED_COLUMNS = (
    "id, name, image_id, created_ns, status, pid, boot_id, exit_code, oom_killed, error, started,"
    " finished, endpoint, restart_count, stop_requested, health, json_extract(record,"
    " '$.ImageRef', '$.Path', '$.Args', '$.Mounts', '$.HostConfig.NetworkMode', '$.Config.Labels',"
    " '$.Config.ExposedPorts') AS record"
)


def _listed_record(text: str) -> ContainerRecord:
    image, path, args, mounts, network, labels, exposed = json.loads(text)
    return {
        "ImageRef": image,
        "Path": path,
        "Args": args,
        "Mounts": mounts,
        "HostConfig": {"NetworkMode": network},
        "Config": {"Labels": labels, "ExposedPorts": exposed},
    }


def _newest_first(row: sqlite3.Row) -> tuple[int, str]:
    return -row["created_ns"], row["id"]


class ContainerTable:
    """Reads and single changes of rows; each change is one transaction."""

    def __init__(self, store: Store):
        self._store = store

    def insert(self, record: ContainerRecord, created_ns: int) -> None:
        """Add a container that was just created.  Raises NameInUse."""
        name = record["Name"]
        try:
            with self._store.transaction() as db:
                db.execute(
                    "INSERT INTO containers (id, name, image_id, created_ns, record, status)"
                    " VALUES (?, ?, ?, ?, ?, 'created')",
                    (record["Id"], name, record["ImageId"], created_ns, json.dumps(record)),
                )
        except sqlite3.IntegrityError as exc:
            raise self.name_in_use(name) from exc

    def name_in_use(self, name: str) -> NameInUse:
        row = self._store.db.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
        return NameInUse(
            f'Conflict. The container name "/{name}" is already in use by container '
            f'"{row["id"] if row else "?"}". You have to remove (or rename) that container to be '
            "able to reuse that name.",
            subject=name,
        )

    def get(self, reference: str) -> Container:
        """The container by full ID, name or unambiguous prefix of an ID.

        Raises NotFound, Conflict (several have the prefix), InvalidArgument (no name at all).
        """
        if not reference:
            raise InvalidArgument("invalid container name or ID: value is empty")
        name = reference.removeprefix("/")
        rows = self._store.db.execute(
            "SELECT * FROM containers WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC", (name,)
        ).fetchall()
        if not rows and name and all(digit in "0123456789abcdef" for digit in name):
            rows = self._store.db.execute(
                "SELECT * FROM containers WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g")
            ).fetchall()
            if len(rows) > 1:
                raise Conflict(f"multiple IDs found with provided prefix: {name}", subject=name)
        if not rows:
            raise NotFound(f"No such container: {reference}", subject=reference)
        return Container(rows[0])

    def find(self, container_id: str) -> Container | None:
        """The row of a full ID, or None."""
        row = self._store.db.execute(
            "SELECT * FROM containers WHERE id = ?", (container_id,)
        ).fetchone()
        return Container(row) if row else None

    def all(self) -> Iterator[Container]:
        """Every container, the newest first."""
        query = "SELECT * FROM containers ORDER BY created_ns DESC, id"
        for row in self._store.db.execute(query).fetchall():
            yield Container(row)

    def listed(self, *, stopped: bool) -> Iterator[Container]:
        """The same, with what `ps` shows and its filters ask for as the only members of records.

        stopped: also those that are not `active`.  Reading a thousand whole records would take
        five times as long.
        """
        which = "" if stopped else " WHERE status IN ('running', 'paused', 'restarting')"
        query = f"SELECT {_LISTED_COLUMNS} FROM containers{which}"
        rows = self._store.db.execute(query).fetchall()
        for row in sorted(rows, key=_newest_first):
            yield Container(row, _listed_record(row["record"]))

    def count(self) -> dict[str, int]:
        """The number of containers by status."""
        query = "SELECT status, count(*) FROM containers GROUP BY status"
        return dict(self._store.db.execute(query).fetchall())

    def claims(self) -> list[tuple[str, str, str]]:
        """ID, status and boot ID of those for which a monitor was launched and has not finished,
        or a removal began.

        Every command asks, so it is answered from indexes: no record is read.
        """
        query = (
            "SELECT id, status, boot_id FROM containers WHERE boot_id != '' UNION ALL"
            " SELECT id, status, boot_id FROM containers WHERE status = 'removing' AND boot_id = ''"
        )
        return [tuple(row) for row in self._store.db.execute(query)]

    def running_with(self, text: str) -> list[Container]:
        """Those that run and have `text` somewhere in their record, a piece of JSON."""
        query = (
            "SELECT * FROM containers WHERE status IN ('running', 'paused') AND instr(record, ?)"
        )
        return [Container(row) for row in self._store.db.execute(query, (text,)).fetchall()]

    def update(self, container_id: str, **columns: object) -> None:
        """Set columns of one row; `endpoint`, `health` and `record` take their objects."""
        for key in ("endpoint", "health", "record"):
            if key in columns:
                columns[key] = json.dumps(columns[key])
        assignments = ", ".join(f"{key} = ?" for key in columns)
        with self._store.transaction() as db:
            db.execute(
                f"UPDATE containers SET {assignments} WHERE id = ?",
                (*columns.values(), container_id),
            )

    def switch(self, container_id: str, old: str, new: str) -> bool:
        """Change the status from `old` to `new`; False if it was not `old` any more."""
        with self._store.transaction() as db:
            cursor = db.execute(
                "UPDATE containers SET status = ? WHERE id = ? AND status = ?",
                (new, container_id, old),
            )
        return cursor.rowcount == 1

    def rename(self, container: Container, name: str) -> None:
        """Give another name.  Raises NameInUse."""
        old = container.record["Name"]
        container.record["Name"] = name
        try:
            with self._store.transaction():
                self.update(container.id, name=name, record=container.record)
                emit(self._store, container.record, "rename", oldName=f"/{old}")
        except sqlite3.IntegrityError as exc:
            raise self.name_in_use(name) from exc

    def delete(self, container_id: str) -> None:
        """Forget a container; nothing happens if it is gone."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM execs WHERE container_id = ?", (container_id,))
            db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
