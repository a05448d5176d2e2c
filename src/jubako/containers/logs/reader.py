"""Reading a container's log back, also while it grows and rotates: blocks of complete records."""

from __future__ import annotations

from jubako.containers.logs.files import close_all, newer_files, open_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jubako.containers.logs.files import LogFile


def read(path: str, *, tail: int | None = None, since_s: float | None = None) -> Iterator[bytes]:
    """The records that are there now, oldest first, in blocks of lines.

    tail: only so many of the last (None: all).  since_s: files that end before are not read; what
    is read may still hold older records.
    """
    files = open_files(path)
    try:
        if tail is None:
            for file in files:
                if since_s is None or file.mtime_s >= since_s:
                    yield from file.blocks()
        else:
            if files:
                files[-1].skip_to_end()
            yield from _last_lines(files, tail)
    finally:
        close_all(files)


def _last_lines(files: list[LogFile], count: int) -> Iterator[bytes]:
    """The last lines of all files, reading no more of them than needed."""
    parts: list[bytes] = []
    for place, file in enumerate(reversed(files)):
        if count <= 0:
            break
        if place:
            file.skip_to_end()
        lines = file.last_lines(count)
        count -= len(lines)
        parts.append(b"".join(lines))
    yield from reversed(parts)


def follow(
    path: str,
    *,
    tail: int | None = None,
    since_s: float | None = None,
    wait: Callable[[], bool],
) -> Iterator[bytes]:
    """What is there, then what comes.

    wait: called when there is nothing to read; it blocks until there may be more and returns
    False when the container will write no more.
    """
    files = open_files(path)
    try:
        if not files:
            return
        if tail is not None:
            files[-1].skip_to_end()
            yield from _last_lines(files, tail)
            close_all(files[:-1])
            files = files[-1:]
        alive = True
        while True:
            while len(files) > 1:
                if since_s is None or files[0].mtime_s >= since_s:
                    yield from files[0].blocks()
                files.pop(0).close()
            yield from files[0].blocks()
            if newer := newer_files(path, files[0]):
                files += newer  # the next turn reads what came between our last read and the end
            elif alive:
                alive = wait()
            else:
                return
    finally:
        close_all(files)
