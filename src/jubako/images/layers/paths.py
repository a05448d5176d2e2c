"""Names in archives, and walking trees of any depth."""

from __future__ import annotations

import os
import stat

from jubako.errors import InvalidArgument
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clean(name: bytes, entry_name: bytes) -> bytes:
    """The path relative to the root, without empty and dot components; b"" is the root.

    Raises InvalidArgument, naming the entry, if `..` leads out of the root by the letter.
    """
    path = name[2:] if name.startswith(b"./") else name
    if path.endswith(b"/"):
        path = path[:-1]
    if (
        b"//" not in path
        and b"/." not in path
        and not path.startswith((b".", b"/"))
        and not path.endswith(b"/")
    ):
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArgument(
                    f"{os.fsdecode(entry_name)!r}: {os.fsdecode(name)!r} leads out of the archive"
                )
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def walk(root: int) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything below an open directory, in no order, with paths relative to it.

    One directory is open at a time, whatever the depth.
    """
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        fd = open_in_root(root, os.fsdecode(path) or ".", DIRECTORY_FLAGS)
        try:
            for name in map(os.fsencode, os.listdir(fd)):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                below = path + b"/" + name if path else name
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(below)
                yield below, status
        finally:
            os.close(fd)
