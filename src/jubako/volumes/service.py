"""The volumes of one root: make, find, list, remove, prune, count uses."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress

from jubako.errors import Conflict, InvalidArgument, KernelError, NotFound
from jubako.golang.filters import boolean, check_names, has_labels
from jubako.store import events, point
from jubako.volumes import checks
from jubako.volumes import options as driver_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.store import Store

    Volumes = list[dict[str, Any]]  # `VolumeService.list` hides the builtin below
    Names = list[str]

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
DRIVER = "local"

_LIST_FILTERS = frozenset(("dangling", "driver", "label", "name"))
_PRUNE_FILTERS = frozenset(("all", "label", "label!"))


class VolumeService:
    """The volumes of one open root.  Safe beside other processes on the same root."""

    def __init__(self, store: Store):
        self._store = store

    # making

    def create(
        self,
        name: str | None = None,
        *,
        driver: str = DRIVER,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        uid: int | None = None,
        gid: int | None = None,
        mode: int | None = None,
        container_id: str | None = None,
        durable: bool = True,
    ) -> dict[str, Any]:
        """Make a volume, or return the one of this name unchanged, as Docker does.

        name: None or "" makes an anonymous volume with a random name.
        options: of the local driver, `type`, `o` and `device`: mounted while a container uses it.
        uid, gid, mode: of the volume's directory, also once an image has filled it; else root's,
        0755, until an image says otherwise.
        container_id: also record that this container uses it, in the same transaction.
        durable: on the disk when this returns (False: with the caller's next `Store.flush`).
        Returns what `inspect` returns.
        Raises InvalidArgument (name, option), NotFound (driver).
        """
        anonymous = not name
        name = name or os.urandom(32).hex()
        if not anonymous:
            checks.check_name(name)
        if driver and driver != DRIVER:
            raise NotFound(
                f"create {name}: error looking up volume plugin {driver}: "
                f'plugin "{driver}" not found',
                subject=driver,
            )
        wanted = dict(options or {})
        try:
            driver_options.check(wanted)
        except InvalidArgument as exc:
            raise InvalidArgument(f"create {name}: {exc}", subject=name) from exc
        owner = checks.owner_options(name, uid, gid, mode)
        if owner and wanted:
            raise InvalidArgument(
                f"create {name}: an owner cannot be set with driver options",
                hint="set it where the volume's content lies",
                subject=name,
            )
        marks = dict(labels or {})
        if anonymous:
            marks[ANONYMOUS_LABEL] = ""
        with self._store.transaction() as db:
            row = self._find(name)
            self._make_directory(name)
            if row is None:
                self._set_owner(name, uid, gid, mode)
                point("volumes.create.directory")
                db.execute(
                    "INSERT INTO volumes (name, driver, created, labels, options, anonymous)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        name,
                        DRIVER,
                        _now(),
                        json.dumps(marks),
                        json.dumps(wanted | owner),
                        anonymous,
                    ),
                )
                events.emit(self._store, "volume", "create", name, {"driver": DRIVER})
                row = self._find(name)
            if container_id is not None:
                self.use(name, container_id)
        if durable:
            self._store.flush()
        assert row is not None
        return self._shape(row)

    # looking

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        """The volume in Docker's shape; size: with UsageData, which reads the whole tree.

        Raises NotFound.
        """
        return self._shape(self._get(name), size=size)

    def exists(self, name: str) -> bool:
        """Whether there is a volume of this name."""
        return self._find(name) is not None

    def path(self, name: str) -> str:
        """The host path of the volume's content, which exists after the call.

        Raises NotFound (no such volume), KernelError.
        """
        self._get(name)
        path = self._data(name)
        if not os.path.isdir(path):
            with self._store.transaction():  # `sweep` must not meet it half made
                self._make_directory(name)
        return path

    def options(self, name: str) -> dict[str, str]:
        """The driver options of a volume.  Raises NotFound."""
        result: dict[str, str] = json.loads(self._get(name)["options"])
        return result

    def list(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, size: bool = False
    ) -> Volumes:
        """All volumes by name that match every filter: dangling, driver, label, name.

        Raises InvalidArgument for an unknown filter or value.
        """
        wanted = filters or {}
        check_names(wanted, _LIST_FILTERS)
        dangling = boolean(wanted, "dangling")
        rows = self._store.db.execute(
            "SELECT *, EXISTS (SELECT 1 FROM volume_uses WHERE volume = name) AS used"
            " FROM volumes ORDER BY name"
        ).fetchall()
        return [
            self._shape(row, size=size)
            for row in rows
            if (dangling is None or dangling != bool(row["used"]))
            and (not wanted.get("driver") or row["driver"] in wanted["driver"])
            and (not wanted.get("name") or checks.matches(wanted["name"], row["name"]))
            and has_labels(json.loads(row["labels"]), wanted.get("label", ()))
        ]

    def size_bytes(self, name: str) -> int:
        """The sum of its files' sizes, hard links once.  Raises NotFound, KernelError."""
        from jubako.volumes import tree

        return tree.size_bytes(self.path(name))

    # uses

    def use(self, name: str, container_id: str) -> None:
        """Record that a container refers to the volume, so that it stays.  Idempotent.

        Raises NotFound.
        """
        self._get(name)
        with self._store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO volume_uses (volume, container_id) VALUES (?, ?)",
                (name, container_id),
            )

    def users(self, name: str) -> Names:
        """The IDs of the containers that refer to the volume."""
        rows = self._store.db.execute(
            "SELECT container_id FROM volume_uses WHERE volume = ? ORDER BY container_id", (name,)
        )
        return [row[0] for row in rows.fetchall()]

    def used_by(self, container_id: str) -> Names:
        """The names of the volumes that a container refers to."""
        rows = self._store.db.execute(
            "SELECT volume FROM volume_uses WHERE container_id = ? ORDER BY volume", (container_id,)
        )
        return [row[0] for row in rows.fetchall()]

    def release(self, container_id: str, names: Sequence[str] | None = None) -> Names:
        """Forget the uses of a container, of all its volumes or of `names`.  Idempotent.

        Returns those of them that are anonymous, whether or not others still use them.
        """
        with self._store.transaction() as db:
            rows = db.execute(
                "SELECT name, anonymous FROM volumes JOIN volume_uses ON volume = name"
                " WHERE container_id = ? ORDER BY name",
                (container_id,),
            ).fetchall()
            found = [row for row in rows if names is None or row["name"] in names]
            for row in found:
                db.execute(
                    "DELETE FROM volume_uses WHERE container_id = ? AND volume = ?",
                    (container_id, row["name"]),
                )
        return [row["name"] for row in found if row["anonymous"]]

    # removing

    def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume with its content; when this returns it is gone for good.

        force: no error if there is none.  Raises NotFound, Conflict (a container refers to it).
        """
        try:
            gone = self._take_away(name)
        except NotFound:
            if force:
                return
            raise
        self._store.flush()
        if gone is not None:
            self._delete(gone)

    def discard(self, container_id: str) -> None:
        """Forget the uses of a container, and delete the anonymous volumes that only it used.

        Idempotent.  Each such volume goes together with its last use, so that whoever is killed in
        between can do it again.
        """
        for name in self.used_by(container_id):
            with self._store.transaction():
                anonymous = self.release(container_id, [name])
                gone = self._take_away(name) if anonymous and not self.users(name) else None
            if gone is not None:
                self._delete(gone)

    def remove_if_unused(self, name: str) -> bool:
        """Delete a volume unless a container refers to it; whether it was deleted.  Idempotent."""
        try:
            gone = self._take_away(name)
        except (NotFound, Conflict):
            return False
        if gone is not None:
            self._delete(gone)
        return True

    def prune(
        self, filters: Mapping[str, Sequence[str]] | None = None, *, all_unused: bool = False
    ) -> tuple[Names, int]:
        """Delete the volumes that no container refers to: (their names, bytes freed).

        Only anonymous ones, unless `all_unused` or the filter `all=true` says otherwise; never
        those with driver options, whose content lies elsewhere.
        filters: all, label, label!.  Raises InvalidArgument for an unknown one.
        """
        wanted = filters or {}
        check_names(wanted, _PRUNE_FILTERS)
        everything = all_unused or bool(boolean(wanted, "all"))
        rows = self._store.db.execute(
            "SELECT * FROM volumes WHERE driver = ? AND json_extract(options, '$.device') IS NULL"
            " AND name NOT IN (SELECT volume FROM volume_uses) ORDER BY name",
            (DRIVER,),
        ).fetchall()
        removed, freed = [], 0
        for row in rows:
            labels = json.loads(row["labels"])
            if not (everything or ANONYMOUS_LABEL in labels):
                continue
            if not has_labels(labels, wanted.get("label", ())):
                continue
            if wanted.get("label!") and has_labels(labels, wanted["label!"]):
                continue
            size = self.size_bytes(row["name"])
            if self.remove_if_unused(row["name"]):
                removed.append(row["name"])
                freed += size
        events.emit(self._store, "volume", "prune", "", {"reclaimed": str(freed)})
        self._store.flush()
        self.sweep()
        return removed, freed

    def sweep(self) -> None:
        """Delete what a crash left half removed or half made.  Idempotent.

        A directory that no row names goes only if it is empty: it may be all that somebody saved.
        """
        try:
            names = os.listdir(self._root())
        except FileNotFoundError:
            return
        leftovers = [name for name in names if name.startswith((".gone-", ".new-"))]
        if self._without_row(names):
            with self._store.transaction():  # nobody is between making one and its row
                for name in self._without_row(names):
                    with suppress(OSError):
                        os.rmdir(self._data(name))
                        os.rmdir(f"{self._root()}/{name}")
        if not leftovers:
            return
        with self._store.transaction():  # nobody is between making `.new-` and its rename
            fresh = [name for name in leftovers if name.startswith(".new-")]
            for name in fresh:
                self._delete(f"{self._root()}/{name}")
        for name in leftovers:
            if name.startswith(".gone-"):
                self._delete(f"{self._root()}/{name}")

    # private

    def _without_row(self, names: Names) -> Names:
        known = {row[0] for row in self._store.db.execute("SELECT name FROM volumes")}
        return [name for name in names if name not in known and not name.startswith(".")]

    def _root(self) -> str:
        return f"{self._store.path}/volumes"

    def _data(self, name: str) -> str:
        return f"{self._root()}/{name}/_data"

    def _find(self, name: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._store.db.execute(
            "SELECT * FROM volumes WHERE name = ?", (name,)
        ).fetchone()
        return row

    def _get(self, name: str) -> sqlite3.Row:
        if not name:
            raise InvalidArgument("invalid volume name or ID: value is empty")
        row = self._find(name)
        if row is None:
            raise NotFound(f"get {name}: no such volume", subject=name)
        return row

    def _make_directory(self, name: str) -> None:
        """Make `<name>/_data` under its final name, or leave the one that is there."""
        final = f"{self._root()}/{name}"
        if os.path.isdir(f"{final}/_data"):
            return
        self._store.directory("volumes")
        fresh = f"{self._root()}/.new-{os.urandom(8).hex()}"
        try:
            os.mkdir(fresh, 0o700)
            os.mkdir(f"{fresh}/_data")
            os.chmod(f"{fresh}/_data", 0o755)  # whatever the umask
            os.rename(fresh, final)
        except FileExistsError:
            self._adopt(fresh, final)
        except OSError as exc:
            self._delete(fresh)
            raise KernelError.from_oserror("create volume", exc, path=final) from exc

    def _set_owner(self, name: str, uid: int | None, gid: int | None, mode: int | None) -> None:
        path = self._data(name)
        try:
            if uid is not None or gid is not None:
                os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
            if mode is not None:
                os.chmod(path, mode)
        except OSError as exc:
            raise KernelError.from_oserror("create volume", exc, path=path) from exc

    def _adopt(self, fresh: str, final: str) -> None:
        """The directory is there: another process was faster, or its `_data` is missing."""
        try:
            os.rename(f"{fresh}/_data", f"{final}/_data")
        except FileExistsError:
            pass
        except OSError as exc:
            if not os.path.isdir(f"{final}/_data"):
                raise KernelError.from_oserror("create volume", exc, path=final) from exc
        finally:
            self._delete(fresh)

    def _take_away(self, name: str) -> str | None:
        """Make the volume vanish; returns where its directory waits for deletion."""
        self._store.use_reserve()
        with self._store.transaction() as db:
            self._get(name)
            users = self.users(name)
            if users:
                raise Conflict(
                    f"remove {name}: volume is in use - [{', '.join(users)}]", subject=name
                )
            db.execute("DELETE FROM volumes WHERE name = ?", (name,))
            events.emit(self._store, "volume", "destroy", name, {"driver": DRIVER})
            gone = f"{self._root()}/.gone-{os.urandom(8).hex()}"
            try:
                os.rename(f"{self._root()}/{name}", gone)
            except FileNotFoundError:
                return None
            except OSError as exc:
                raise KernelError.from_oserror("remove volume", exc, path=name) from exc
            point("volumes.remove.moved")
        return gone

    def _delete(self, path: str) -> None:
        from jubako.linux.removal import remove_tree

        remove_tree(path)

    def _shape(self, row: sqlite3.Row, *, size: bool = False) -> dict[str, Any]:
        """Docker's Volume object."""
        result: dict[str, Any] = {
            "CreatedAt": row["created"],
            "Driver": row["driver"],
            "Labels": json.loads(row["labels"]) or None,
            "Mountpoint": self._data(row["name"]),
            "Name": row["name"],
            "Options": json.loads(row["options"]) or None,
            "Scope": "local",
        }
        if size:
            # what is mounted from elsewhere is not ours to measure
            local = not driver_options.needs_mount(json.loads(row["options"]))
            result["UsageData"] = {
                "RefCount": len(self.users(row["name"])),
                "Size": self.size_bytes(row["name"]) if local else -1,
            }
        return result


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
