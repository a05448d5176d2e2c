"""Reading a container's log back, also while it grows and rotates."""

from __future__ import annotations

import json
import os

from jubako.containers.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK_BYTES = 1 << 16


class Record:
    """stream: "stdout" or "stderr".  log: the output.  time: RFC 3339 text."""

    __slots__ = ("log", "stream", "time")

    def __init__(self, stream: str, log: bytes, time: str):
        self.stream = stream
        self.log = log
        self.time = time


def parse(line: bytes) -> Record | None:
    """A record of one line of the file; None if it is damaged (a crash, a full disk)."""
    try:
        content = json.loads(line)
        log: str = content["log"]
        return Record(content["stream"], log.encode(), content["time"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read(
    path: str, *, tail: int | None = None, since: float | None = None, until: float | None = None
) -> Iterator[Record]:
    """The records that are there now, oldest first.

    tail: only so many of the last (None: all).  since, until: seconds since 1970.
    """
    lines = _last_lines(path, tail) if tail is not None else _all_lines(path)
    for line in lines:
        record = parse(line)
        if record is not None and _within(record, since, until):
            yield record


def _within(record: Record, since: float | None, until: float | None) -> bool:
    if since is None and until is None:
        return True
    at = seconds(record.time)
    return (since is None or at >= since) and (until is None or at <= until)


def _files(path: str) -> list[str]:
    """The current file and its predecessors, the oldest first."""
    found = [path] if os.path.exists(path) else []
    index = 1
    while True:
        for name in (f"{path}.{index}", f"{path}.{index}.gz"):
            if os.path.exists(name):
                found.append(name)
                break
        else:
            return found[::-1]
        index += 1


def _open_lines(name: str) -> Iterator[bytes]:
    if name.endswith(".gz"):
        import gzip

        with gzip.open(name) as file:
            yield from file
    else:
        with open(name, "rb") as file:
            yield from file


def _all_lines(path: str) -> Iterator[bytes]:
    for name in _files(path):
        yield from _open_lines(name)


def _last_lines(path: str, count: int, end: int | None = None) -> list[bytes]:
    """The last `count` lines over all files, reading no more of them than needed.

    end: take the current file as if it had only so many bytes.
    """
    lines: list[bytes] = []
    for name in reversed(_files(path)):
        missing = count - len(lines)
        if missing <= 0:
            break
        lines = _tail_of(name, missing, end if name == path else None) + lines
    return lines


def _tail_of(name: str, count: int, end: int | None) -> list[bytes]:
    if name.endswith(".gz"):
        return list(_open_lines(name))[-count:]
    with open(name, "rb") as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        block = b""
        while position and block.count(b"\n") <= count:
            step = min(_CHUNK_BYTES, position)
            position -= step
            file.seek(position)
            block = file.read(step) + block
    return block.splitlines(keepends=True)[-count:]


def follow(
    path: str,
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    wait: Callable[[], bool],
) -> Iterator[Record]:
    """What is there, then what comes.

    wait: called when there is nothing to read; it blocks until there may be more and returns
    False when the container will write no more.
    """
    for line in _growing_lines(path, tail, wait):
        record = parse(line)
        if record is None or not _within(record, since, None):
            continue
        if not _within(record, None, until):
            return
        yield record


def _growing_lines(path: str, tail: int | None, wait: Callable[[], bool]) -> Iterator[bytes]:
    """The lines of all files, then those that are added, across rotations."""
    if tail is None:
        files = _files(path)
        for name in files[:-1]:
            yield from _open_lines(name)
    current = _Growing(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        if tail is not None:
            end = current.skip_to_end()
            yield from _last_lines(path, tail, end) if tail else ()
        alive = True
        while True:
            yield from current.lines()
            if (newer := current.successor(path)) is not None:
                yield from current.lines()  # what came between our last read and the rotation
                current.replace(newer)
            elif alive:
                alive = wait()
            else:
                return
    finally:
        current.close()


class _Growing:
    """A log file that another process appends to."""

    def __init__(self, fd: int):
        self._fd = fd
        self._rest = b""

    def skip_to_end(self) -> int:
        return os.lseek(self._fd, 0, os.SEEK_END)

    def lines(self) -> Iterator[bytes]:
        while chunk := os.read(self._fd, _CHUNK_BYTES):
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            yield from complete

    def successor(self, path: str) -> int | None:
        """A descriptor of the file that came after ours, if ours was rotated away.

        Ours is found among the old ones by its inode; when it is gone altogether (removed, or
        compressed meanwhile) reading goes on with the current file.
        """
        ours = os.fstat(self._fd).st_ino
        try:
            if os.stat(path).st_ino == ours:
                return None
            names = [name for name in _files(path) if not name.endswith(".gz")]
            inodes = [os.stat(name).st_ino for name in names]
            newer = names[inodes.index(ours) + 1] if ours in inodes else path
            return os.open(newer, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, IndexError):
            return None  # in the middle of a rotation: look again

    def replace(self, fd: int) -> None:
        os.close(self._fd)
        self._fd = fd
        self._rest = b""

    def close(self) -> None:
        os.close(self._fd)
