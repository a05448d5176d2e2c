"""What is known of the directories of an index while it is built."""

from __future__ import annotations

import array
import stat
import struct

from jubako.images.layers.erofs.format import INODE
from jubako.images.layers.erofs.xattrs import XattrPool, count
from jubako.images.layers.whiteout import OPAQUE_XATTR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images.tar import Entry

    Attributes = list[tuple[bytes, bytes]]

IMPLIED_MODE = 0o755  # of directories that have no entry of their own, as with the overlay driver

_METADATA = struct.Struct("<HIIqI")  # mode, owner, group, mtime and its nanoseconds
_IMPLIED = _METADATA.pack(IMPLIED_MODE, 0, 0, 0, 0)
_OPAQUE = (OPAQUE_XATTR.encode(), b"y")


class Directories:
    """What is known of each directory, by number; the root is number 0 and there from the start.

    parents: the directory that each is in; the root is in itself.
    """

    def __init__(self) -> None:
        self.parents = array.array("I", (0,))
        self._metadata = bytearray(_IMPLIED)
        self._attributes: dict[int, tuple[bytes, Attributes]] = {}

    def __len__(self) -> int:
        return len(self.parents)

    def add(self, parent: int) -> int:
        """Another directory in `parent`, as if it had no entry; returns its number."""
        self.parents.append(parent)
        self._metadata += _IMPLIED
        return len(self.parents) - 1

    def describe(self, number: int, entry: Entry, attributes: Attributes) -> None:
        """Give a directory what its entry says; the last one counts."""
        at = number * _METADATA.size
        times = divmod(entry.mtime_ns, 1_000_000_000)
        _METADATA.pack_into(self._metadata, at, entry.mode, entry.uid, entry.gid, *times)
        if attributes:
            self._attributes[number] = (entry.name, attributes)
        else:
            self._attributes.pop(number, None)

    def set_opaque(self, number: int) -> None:
        """Hide what lower layers have in this directory."""
        _, attributes = self._attributes.setdefault(number, (b"", []))
        if _OPAQUE not in attributes:
            attributes.append(_OPAQUE)

    def encode_attributes(self, pool: XattrPool) -> dict[int, bytes]:
        """What follows the inodes of those directories that have attributes."""
        return {
            number: pool.encode(attributes, name, share=not number)
            for number, (name, attributes) in self._attributes.items()
        }

    def inode(
        self, number: int, layout: int, size: int, block: int, links: int, body: bytes
    ) -> bytes:
        """The inode of a directory, with its attributes; size: bytes of its names."""
        mode, *rest = _METADATA.unpack_from(self._metadata, number * _METADATA.size)
        mode |= stat.S_IFDIR
        return INODE.pack(layout, count(body), mode, 0, size, block, number, *rest, links) + body
