"""The rows of the table `execs`: processes in running containers beside the first.

    created ──claim──> running ──end──> exited ──5 minutes, or the container is removed──> (gone)

A running row names two processes, each with the time of its start: the exec's own, and its holder
(`jubako.containers.exec.holder`), which alone records the end.  A row that says `running` and whose
holder is gone was left by a crash; `settle` puts it right before anybody sees it.
"""

from __future__ import annotations

import json
import os
import time

from jubako.containers import events
from jubako.errors import Conflict, NotFound, WrongState
from jubako.store import boot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any

    from jubako.containers.model import ContainerRecord, ExecRecord
    from jubako.containers.table import Container
    from jubako.store import Store

KEEP_S = 300  # how long an ended exec can be inspected, as in Docker
EXIT_KILLED = 137  # 128 + SIGKILL: what an exec dies of when its holder does


class Exec:
    """One row, as it was when it was read.

    pid: in the host's PID namespace; it stays when the process has ended.  exit_code: None until
    it has ended.
    """

    __slots__ = (
        "boot_id",
        "container_id",
        "created_ns",
        "exit_code",
        "finished_ns",
        "holder",
        "id",
        "pid",
        "record",
        "status",
    )

    def __init__(self, row: sqlite3.Row):
        self.id: str = row["id"]
        self.container_id: str = row["container_id"]
        self.created_ns: int = row["created_ns"]
        self.record: ExecRecord = json.loads(row["record"])
        self.status: str = row["status"]
        self.pid: int = row["pid"]
        self.holder: int = row["holder"]
        self.boot_id: str = row["boot_id"]
        self.exit_code: int | None = row["exit_code"]
        self.finished_ns: int = row["finished_ns"]

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def command(self) -> list[str]:
        config = self.record["ProcessConfig"]
        return [config["entrypoint"], *config["arguments"]]


class ExecTable:
    """Reads and changes of the rows; each change is one transaction, with its event."""

    def __init__(self, store: Store):
        self._store = store

    # the life of a row

    def create(self, container: Container, record: ExecRecord) -> str:
        """Add an exec that is to be started later; returns its ID."""
        exec_id = new_id()
        with self._store.transaction() as db:
            _check_there(db, container)
            self._insert(db, container, exec_id, record, "created")
        return exec_id

    def create_running(
        self, container: Container, exec_id: str, record: ExecRecord, holder: int
    ) -> None:
        """Add an exec that the process `holder` is about to start."""
        record["HolderTicks"] = start_ticks(holder)
        with self._store.transaction() as db:
            _check_there(db, container)
            self._insert(db, container, exec_id, record, "running")
            db.execute(
                "UPDATE execs SET holder = ?, boot_id = ? WHERE id = ?",
                (holder, boot_id(), exec_id),
            )
            self._emit(container.record, "exec_start", exec_id, record)

    def claim(self, container: Container, exec_id: str, record: ExecRecord, holder: int) -> None:
        """Let the process `holder` start a created exec; exactly one gets it.

        record: replaces the row's.  Raises Conflict (it was started before), NotFound, WrongState.
        """
        with self._store.transaction() as db:
            found = self.get(exec_id)
            if found.status != "created":
                word = "is already running" if found.running else "has already run"
                raise Conflict(f"Error: Exec command {found.id} {word}", subject=found.id)
            _check_there(db, container)
            record["HolderTicks"] = start_ticks(holder)
            db.execute(
                "UPDATE execs SET status = 'running', holder = ?, boot_id = ?, record = ?"
                " WHERE id = ?",
                (holder, boot_id(), json.dumps(record), exec_id),
            )
            self._emit(container.record, "exec_start", exec_id, record)

    def started(self, exec_id: str, pid: int, record: ExecRecord) -> None:
        """Note the process."""
        record["PidTicks"] = start_ticks(pid)
        with self._store.transaction() as db:
            db.execute(
                "UPDATE execs SET pid = ?, record = ? WHERE id = ? AND status = 'running'",
                (pid, json.dumps(record), exec_id),
            )

    def failed(self, exec_id: str, exit_code: int) -> None:
        """Note that the program could not be started."""
        with self._store.transaction() as db:
            db.execute(
                "UPDATE execs SET status = 'exited', exit_code = ?, finished_ns = ?"
                " WHERE id = ? AND status != 'exited'",
                (exit_code, time.time_ns(), exec_id),
            )

    def ended(
        self, container: ContainerRecord, exec_id: str, exit_code: int, pid: int | None = None
    ) -> None:
        """Note the end; nothing happens if that was done before, or the row is gone."""
        with self._store.transaction() as db:
            changed = db.execute(
                "UPDATE execs SET status = 'exited', exit_code = ?, finished_ns = ?,"
                " pid = coalesce(?, pid) WHERE id = ? AND status = 'running'",
                (exit_code, time.time_ns(), pid, exec_id),
            )
            if changed.rowcount:
                events.emit(self._store, container, "exec_die", execID=exec_id, exitCode=exit_code)

    def _insert(
        self,
        db: sqlite3.Connection,
        container: Container,
        exec_id: str,
        record: ExecRecord,
        status: str,
    ) -> None:
        now_ns = time.time_ns()
        _forget_old(db, now_ns)
        db.execute(
            "INSERT INTO execs (id, container_id, created_ns, record, status)"
            " VALUES (?, ?, ?, ?, ?)",
            (exec_id, container.id, now_ns, json.dumps(record), status),
        )
        self._emit(container.record, "exec_create", exec_id, record)

    def _emit(
        self, container: ContainerRecord, action: str, exec_id: str, record: ExecRecord
    ) -> None:
        config = record["ProcessConfig"]
        command = f"{config['entrypoint']} {' '.join(config['arguments'])}"
        events.emit(self._store, container, f"{action}: {command}", execID=exec_id)

    # reading

    def get(self, reference: str) -> Exec:
        """The exec by full ID or unambiguous prefix.  Raises NotFound, Conflict."""
        db = self._store.db
        rows = db.execute("SELECT * FROM execs WHERE id = ?", (reference,)).fetchall()
        if not rows and reference and all(digit in "0123456789abcdef" for digit in reference):
            query = "SELECT * FROM execs WHERE id >= ? AND id < ? LIMIT 2"
            rows = db.execute(query, (reference, reference + "g")).fetchall()
            if len(rows) > 1:
                raise Conflict(f"multiple IDs found with provided prefix: {reference}")
        if not rows or _is_old(found := Exec(rows[0])):
            raise NotFound(f"No such exec instance: {reference}", subject=reference)
        return self.settle(found)

    def of(self, container_id: str) -> list[Exec]:
        """Those of one container, the oldest first."""
        query = "SELECT * FROM execs WHERE container_id = ? ORDER BY created_ns"
        rows = [Exec(row) for row in self._store.db.execute(query, (container_id,)).fetchall()]
        return [self.settle(row) for row in rows if not _is_old(row)]

    def live_ids(self, container_id: str) -> list[str]:
        """The `ExecIDs` of inspect: those that run or wait to be started."""
        return [row.id for row in self.of(container_id) if row.status != "exited"]

    def settle(self, row: Exec) -> Exec:
        """The row as it is now: one that claims to run and does not is ended first."""
        if not row.running or _is_held(row):
            return row
        if row.pid and row.boot_id == boot_id() and _lives(row.pid, row.record.get("PidTicks")):
            return row  # it outlives its holder, which cannot be prevented for a setuid program
        db = self._store.db
        container = db.execute(
            "SELECT record FROM containers WHERE id = ?", (row.container_id,)
        ).fetchone()
        if container is not None:
            self.ended(json.loads(container["record"]), row.id, EXIT_KILLED)
        # its holder may have recorded the end just now, and another code
        current = db.execute("SELECT * FROM execs WHERE id = ?", (row.id,)).fetchone()
        return row if current is None else Exec(current)


def start_ticks(pid: int) -> int:
    """Field 22 of proc_pid_stat(5), 0 for no process or a zombie: with the number it names one."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except OSError:
        return 0
    fields = data[data.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def _lives(pid: int, ticks: int | None) -> bool:
    return bool(ticks) and start_ticks(pid) == ticks


def _is_held(row: Exec) -> bool:
    return row.boot_id == boot_id() and _lives(row.holder, row.record.get("HolderTicks"))


def _is_old(row: Exec) -> bool:
    return row.status == "exited" and row.finished_ns < time.time_ns() - KEEP_S * 10**9


def _forget_old(db: sqlite3.Connection, now_ns: int) -> None:
    db.execute(
        "DELETE FROM execs WHERE status = 'exited' AND finished_ns < ?", (now_ns - KEEP_S * 10**9,)
    )


def _check_there(db: sqlite3.Connection, container: Container) -> None:
    """The container may have ended, or been removed or paused, since its row was read."""
    row = db.execute("SELECT * FROM containers WHERE id = ?", (container.id,)).fetchone()
    status = row["status"] if row is not None else "removed"
    check_running(container.id, container.name, status)
    if row["pid"] != container.pid:  # started anew: what was looked up in it may not hold
        raise WrongState(f"container {container.id} is not running", subject=container.id)


def check_running(container_id: str, name: str, status: str) -> None:
    """Whether something can be executed in a container of this status.  Raises WrongState."""
    if status == "paused":
        raise WrongState(
            f"Container {name} is paused, unpause the container before exec",
            subject=container_id,
        )
    if status == "restarting":
        raise WrongState(
            f"Container {container_id} is restarting, wait until the container is running",
            subject=container_id,
        )
    if status != "running":
        raise WrongState(f"container {container_id} is not running", subject=container_id)


def new_id() -> str:
    """64 random hex digits."""
    return os.urandom(32).hex()


def to_inspect(row: Exec) -> dict[str, Any]:
    """The Engine API's ExecInspect object."""
    return {
        "ID": row.id,
        "Running": row.running,
        "ExitCode": row.exit_code,
        "ProcessConfig": dict(row.record["ProcessConfig"]),
        "OpenStdin": row.record["OpenStdin"],
        "OpenStderr": row.record["OpenStderr"],
        "OpenStdout": row.record["OpenStdout"],
        "CanRemove": False,
        "ContainerID": row.container_id,
        "DetachKeys": row.record["DetachKeys"],
        "Pid": row.pid,
    }
