"""Whiteouts: `.wh.` files of layer archives, and what overlayfs has in their place.

archive                overlayfs                     meaning
d/.wh.name             character device 0/0 d/name   `name` of lower layers is gone
d/.wh..wh..opq         xattr trusted.overlay.opaque  everything lower layers have in d is gone
"""

from __future__ import annotations

import os
import stat

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = b".wh."
META_PREFIX = b".wh..wh."  # of AUFS's own files, which no container ever sees
OPAQUE = b".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"

# Attributes through which a layer would steer overlayfs itself.
CONTROL_XATTRS = (b"trusted.overlay.", b"user.overlay.")


def is_device(status: os.stat_result) -> bool:
    """Whether this is overlayfs's whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def concerns(path: bytes, base: bytes) -> bool:
    """Whether an entry of this path is a whiteout, or below one; base: its last component."""
    return base.startswith(PREFIX) or b"/.wh." in path or path.startswith(PREFIX)


class Whiteouts:
    """The whiteouts of an archive, kept until all that it brings is there.

    Only then can they be told from what this layer has itself, whatever the order of the archive.
    keep: is told how many bytes each takes, and may refuse.
    """

    def __init__(self, keep: Callable[[int], None]):
        self._keep = keep
        self._names = bytearray()  # paths, each with a NUL behind: a list would be ten times as big
        self._opaque = bytearray()

    def add(self, path: bytes) -> None:
        """Take an entry that `concerns` is true of.  Raises InvalidArgument if it is malformed."""
        parent, _, base = path.rpartition(b"/")
        if base == OPAQUE:
            self._append(self._opaque, parent)
        elif base.startswith(META_PREFIX) or path.startswith(META_PREFIX):
            return  # AUFS's own files
        elif not base.startswith(PREFIX):
            raise InvalidArgument(
                f"{os.fsdecode(path)!r}: names that begin with .wh. are those of whiteouts"
            )
        else:
            name = base[len(PREFIX) :]
            if name in (b"", b".", b".."):
                raise InvalidArgument(f"{os.fsdecode(path)!r}: a whiteout without a name")
            self._append(self._names, parent + b"/" + name if parent else name)

    def _append(self, paths: bytearray, path: bytes) -> None:
        self._keep(len(path) + 1)
        paths += path
        paths.append(0)

    def hidden(self) -> Iterator[tuple[bytes, bytes]]:
        """Parent and name of what is hidden in lower layers."""
        for path in _split(self._names):
            parent, _, name = path.rpartition(b"/")
            yield parent, name

    def opaque(self) -> Iterator[bytes]:
        """Directories whose content in lower layers is hidden; b"" is the root."""
        return _split(self._opaque)


def _split(paths: bytearray) -> Iterator[bytes]:
    start = 0
    while (end := paths.find(0, start)) >= 0:
        yield bytes(paths[start:end])
        start = end + 1
