"""Reading and writing the files of a cgroup; every error shows the path and the data."""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux import pseudofile
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Find = Callable[[str], str | None]  # reads a file; None: there is none

UNLIMITED = 0x7FFFFFFFFFFFF000  # how v1 memory files say "no limit" with 4 KiB pages


def _words(path: str, data: str, *, why: str = "") -> str:
    # Whoever writes 0 to a list of members means itself.
    itself = data == "0" and path.rpartition("/")[2] in ("tasks", "cgroup.procs")
    return f"echo {'$$' if itself else quote(data)} > {quote(path)}"


def _meaning(path: str, data: str, *, why: str = "") -> str:
    if why:
        return why
    from jubako.linux.cgroups import meanings  # not where a container runs: `why` is given there

    return meanings.of(path, data)


@traced(_words, why=_meaning, facts=lambda path, data, *, why="": {"path": path, "value": data})
def write(path: str, data: str, *, why: str = "") -> None:
    """One write(2), the form in which the kernel takes a value.  Raises KernelError."""
    pseudofile.put(path, data, shown=repr(data))


@traced(lambda path, *, why="": f"mkdir {quote(path)}")
def mkdir(path: str, *, why: str = "") -> None:
    """Make a group.  Raises OSError, as os.mkdir: the caller knows what it means."""
    os.mkdir(path, 0o755)


@traced(lambda path, *, why="": f"rmdir {quote(path)}")
def rmdir(path: str, *, why: str = "") -> None:
    """Remove a group that has neither processes nor groups below.  Raises OSError."""
    os.rmdir(path)


def write_if_exists(path: str, data: str, *, why: str = "") -> bool:
    """Like `write`; False when there is no such file."""
    try:
        write(path, data, why=why)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def read(path: str) -> str:
    """The content.  Raises KernelError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            chunks = []
            while chunk := os.read(fd, 65536):
                chunks.append(chunk)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("read", error.errno or 0, path=path) from error
    return b"".join(chunks).decode(errors="replace")


def find(path: str) -> str | None:
    """The content; None when there is no such file (or it went while it was read)."""
    try:
        return read(path)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise


def read_int(path: str, find: Find = find) -> int:
    """A number; `max` and what v1 uses for it is -1, a missing file 0."""
    text = (find(path) or "0").strip()
    if text == "max":
        return -1
    number = int(text)
    return -1 if number >= UNLIMITED else number


def read_flat(path: str, find: Find = find) -> dict[str, int]:
    """`key number` lines; {} for a missing file."""
    result = {}
    for line in (find(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            result[key] = int(value)
    return result


def read_nested(path: str, find: Find = find) -> dict[str, dict[str, int]]:
    """`name key=number key=number` lines; {} for a missing file."""
    result = {}
    for line in (find(path) or "").splitlines():
        name, *pairs = line.split()
        fields = (pair.partition("=") for pair in pairs)
        result[name] = {key: int(value) for key, _, value in fields if value.isdigit()}
    return result
