"""What an engine leaves behind, seen from outside: rows, files, and objects of the kernel."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jubako.linux import nft
from jubako.networks import firewall
from jubako.networks.records import default_bridge_link
from jubako.store import Store
from tests.fixtures.engine import Jubako
from tests.fixtures.leaks import Leaks

_SETTLE_S = 5.0  # the kernel deletes a namespace's links, and kills, in its own time


def wait_for(condition: object, timeout_s: float = 10) -> None:
    """Until a callable returns something true."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {timeout_s} s"
        time.sleep(0.01)


class Traces:
    """Compares an engine's root with what it has to be while no container of it is active."""

    def __init__(self, root: Path, leaks: Leaks):
        self._root = root
        self._leaks = leaks
        self._store = Store(str(root))
        self._store.close()
        self.run_dir = self._store.run_dir

    def assert_none(self) -> None:
        """Nothing is left but what rows name; whatever the kernel still deletes gets a moment."""
        deadline = time.monotonic() + _SETTLE_S
        while (found := self.find()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not found, "left behind: " + ", ".join(found)

    def find(self) -> list[str]:
        return [*self._rows(), *self._files(), *self._run_files(), *self._kernel()]

    def _rows(self) -> list[str]:
        with sqlite3.connect(f"file:{self._root}/state.db?mode=ro", uri=True) as db:
            active = db.execute(
                "SELECT name, status, boot_id FROM containers"
                " WHERE boot_id <> '' OR status NOT IN ('created', 'exited') OR pid <> 0"
            ).fetchall()
            found = [f"active container {row}" for row in active]
            found += [f"lease {row}" for row in db.execute("SELECT address FROM leases")]
            found += [f"port {row}" for row in db.execute("SELECT host_port FROM ports")]
            query = "SELECT volume FROM volume_uses WHERE container_id NOT IN"
            query += " (SELECT id FROM containers)"
            found += [f"use of volume {row[0]}" for row in db.execute(query)]
            query = "SELECT name FROM volumes WHERE anonymous AND name NOT IN"
            query += " (SELECT volume FROM volume_uses)"
            found += [f"anonymous volume {row[0]}" for row in db.execute(query)]
        db.close()
        return found

    def _files(self) -> list[str]:
        found = []
        db = sqlite3.connect(f"file:{self._root}/state.db?mode=ro", uri=True)
        try:
            for directory, query in (
                ("containers", "SELECT id FROM containers"),
                ("volumes", "SELECT name FROM volumes"),
                ("layers", "SELECT substr(diff_id, 8) FROM layers"),
            ):
                known = {row[0] for row in db.execute(query)}
                there = set(_list(self._root / directory)) - {".ingest"}
                found += [f"{directory}/{name} without a row" for name in there - known]
                found += [f"{directory}/{name} is missing" for name in known - there]
            blobs = {row[0] for row in db.execute("SELECT substr(id, 8) FROM images")}
            there = set(_list(self._root / "content" / "sha256"))
            found += [f"blob {name} without an image" for name in there - blobs]
        finally:
            db.close()
        for directory in ("layers", "content"):
            names = set(_list(self._root / directory / ".ingest")) - {"empty"}
            found += [f"{directory}/.ingest/{name}" for name in names]
        return found

    def _run_files(self) -> list[str]:
        run = Path(self._store.run_dir)
        names = set(_list(run)) - {"locks", "runtime", "seccomp", "storage-driver", "uplinks"}
        found = [f"run directory {name}" for name in names]
        names = {name for name in _list(run / "runtime") if not name.startswith(".")}  # caches
        found += [f"runtime state {name}" for name in names]
        db = sqlite3.connect(f"file:{self._root}/state.db?mode=ro", uri=True)
        known = {row[0] for row in db.execute("SELECT id FROM containers")}
        db.close()
        for name in _list(run / "locks"):
            identity = name.partition(".")[0]
            if len(identity) == 64 and identity not in known:
                found.append(f"lock {name}")
        return found

    def _kernel(self) -> list[str]:
        name = self._store.name
        found = [f"cgroup {path}" for path in self.cgroups() if path.name != name]
        bridge = default_bridge_link(self._store.key)
        links = {name for _, name in socket.if_nameindex()} - {"lo", "outside0", bridge}
        found += [f"link {name}" for name in links]
        with nft.open_socket() as filters:
            elements = firewall.published(filters, firewall.table_name(self._store))
        found += [f"element {element}" for element in elements]
        found += [f"process {pid}" for pid in self.processes()]
        mounts = [line for line in self._leaks.new() if line.startswith("mount ")]
        return found + [line for line in mounts if not line.startswith(f"mount {self._root} ")]

    def processes(self) -> list[int]:
        """Monitors, and processes in the engine's cgroups.  Commands of the test are not here."""
        return [pid for pid in self._leaks.processes() if self._is_ours(pid)]

    def cgroups(self) -> list[Path]:
        """The engine's, parents first."""
        return [path for path in self._leaks.cgroups() if self._store.name in path.parts]

    def _is_ours(self, pid: int) -> bool:
        try:
            cgroups = Path(f"/proc/{pid}/cgroup").read_text()
            return self._store.name in cgroups or _comm(pid) == "jubako-monitor"
        except OSError:
            return False  # gone


def _comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _list(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []


def held(lock: str) -> bool:
    """Whether somebody, a monitor for example, holds the lock of this file."""
    from jubako.store.lock import is_held

    return is_held(lock)


def inspect(jubako: Jubako, reference: str, template: str) -> str:
    return jubako.ok("inspect", "-f", template, reference)


def status(jubako: Jubako, reference: str) -> str:
    """`created 0`, `exited 137`, `running 0`: what inspect says."""
    return inspect(jubako, reference, "{{.State.Status}} {{.State.ExitCode}}")


def init_pid(jubako: Jubako, reference: str) -> int:
    return int(inspect(jubako, reference, "{{.State.Pid}}"))


def parent(pid: int) -> int:
    """The parent of a process: of a container's init, its monitor."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def kill(*pids: int) -> None:
    """SIGKILL them and wait until they are gone."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for pid in pids:
        wait_for(lambda pid=pid: not alive(pid))


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def full(root: Path, *, leave_bytes: int = 0) -> Iterator[None]:
    """Inside the block there is no space left but `leave_bytes`."""
    path = root / "filler"
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
        file.truncate(max(0, os.fstat(file.fileno()).st_size - leave_bytes))
    try:
        yield
    finally:
        path.unlink()
