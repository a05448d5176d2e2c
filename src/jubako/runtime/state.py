"""What is written down about a container, so that any process finds it again.

    <state_dir>/<id>/
        state.json      the record below; only ever replaced by rename
        start.sock      init listens here until it has executed the container's program
        seccomp.bpf     the compiled filter, for `exec`; only if the container has one

A record, version 1:

    version, oci_version, id, bundle, rootfs, created (RFC 3339), annotations
    pid             init's; 0 while it is being made
    start_ticks     init's start time, field 22 of /proc/PID/stat: tells it from a later process
                    with the same number
    boot_id         of the boot the pid belongs to
    cgroup          path of the container's cgroup below each hierarchy, "" for none
    namespaces      OCI kind -> path, "" for a new one
    process         the spec's object: the defaults of `exec`
    hooks           poststart and poststop
    resources       the spec's linux.resources, as last updated
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

from jubako.errors import InvalidArgument, KernelError, NameInUse, NotFound
from jubako.linux import atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

VERSION = 1
RECORD = "state.json"
SOCKET = "start.sock"
FILTER = "seccomp.bpf"

_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")
_MAX_ID = 1024
_boot_id = ""


def boot_id() -> str:
    """What identifies this boot of the machine."""
    global _boot_id
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot_id = file.read().strip()
    return _boot_id


def start_ticks(pid: int) -> tuple[int, str] | None:
    """When the process started, in clock ticks since boot, and its state letter; None: no process.

    The command's name in field 2 may hold spaces and parentheses, so fields count from the last.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = data[data.rindex(b")") + 2 :].split()
    return int(fields[19]), fields[0].decode()


def alive(record: Record) -> bool:
    """Whether the container's init runs: that process, not another with its number."""
    if not record["pid"] or record["boot_id"] != boot_id():
        return False
    found = start_ticks(record["pid"])
    return found is not None and found[0] == record["start_ticks"] and found[1] not in "ZX"


def now() -> str:
    """The time as RFC 3339 with nanoseconds, in UTC."""
    nanoseconds = time.time_ns()
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def _is_id(text: str) -> bool:
    """Whether `text` may name a container: a plain file name."""
    return 0 < len(text) <= _MAX_ID and _ID.issuperset(text) and text not in (".", "..")


class StateDir:
    """The directory of one runtime's records.  Several processes may use it at once."""

    __slots__ = ("path",)

    def __init__(self, path: str):
        self.path = path

    def of(self, container_id: str, *names: str) -> str:
        """A path inside the directory of a container.

        Raises InvalidArgument for an ID that is no plain file name.
        """
        if not _is_id(container_id):
            raise InvalidArgument(f"invalid container ID: {container_id!r}", subject=container_id)
        return "/".join((self.path, container_id, *names))

    def make(self, container_id: str) -> str:
        """The directory of a new container; exactly one caller gets it.  Raises NameInUse."""
        path = self.of(container_id)
        try:
            try:
                os.mkdir(path, 0o700)
            except FileNotFoundError:
                os.makedirs(self.path, 0o700, exist_ok=True)
                os.mkdir(path, 0o700)
        except FileExistsError:
            raise NameInUse(
                f"container with id {container_id} already exists", subject=container_id
            ) from None
        except OSError as error:
            raise KernelError.from_oserror("mkdir", error, path=path) from error
        return path

    def write(self, record: Record) -> None:
        """Replace the record.  Not synced: after a power failure no container runs anyway."""
        path = self.of(record["id"], RECORD)
        data = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        atomic.write_file(path, data, durable=False)

    def read(self, container_id: str) -> Record:
        """The record.  Raises NotFound; KernelError and InvalidArgument for an unreadable one."""
        path = self.of(container_id, RECORD)
        try:
            with open(path, "rb") as file:
                record: Record = json.loads(file.read())
        except FileNotFoundError:
            raise NotFound(
                f"container {container_id} does not exist", subject=container_id
            ) from None
        except OSError as error:
            raise KernelError.from_oserror("read", error, path=path) from error
        except ValueError as error:
            raise InvalidArgument(f"read {path}: {error}", subject=container_id) from error
        if record.get("version") != VERSION:
            raise InvalidArgument(
                f"read {path}: version {record.get('version')} is not {VERSION}",
                subject=container_id,
            )
        return record

    def exists(self, container_id: str) -> bool:
        """Whether there is a directory, however complete."""
        return os.path.isdir(self.of(container_id))

    def ids(self) -> list[str]:
        """All containers, sorted; those half made too."""
        try:
            return sorted(name for name in os.listdir(self.path) if _is_id(name))
        except FileNotFoundError:
            return []

    def remove(self, container_id: str) -> None:
        """Forget a container.  Idempotent.  The record goes last: half a removal is seen."""
        path = self.of(container_id)
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return
        for name in sorted(names, key=RECORD.__eq__):
            _ignore_missing(os.unlink, f"{path}/{name}")
        _ignore_missing(os.rmdir, path)

    def lock(self, container_id: str) -> Lock:
        """Hold the container against other commands.  Raises NotFound when it is not there."""
        return Lock(self.of(container_id), container_id)


class Lock:
    """An exclusive flock on a container's directory, for a `with` block."""

    __slots__ = ("_fd",)

    def __init__(self, path: str, container_id: str):
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(
                f"container {container_id} does not exist", subject=container_id
            ) from None
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)


def _ignore_missing(call: Any, path: str) -> None:
    try:
        call(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise KernelError.from_oserror("remove", error, path=path) from error
