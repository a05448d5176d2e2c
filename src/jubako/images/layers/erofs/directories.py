"""Directories of an index, written when all their names are known.

The root's inode stands at the beginning, where its number fits into the superblock's 16 bits; those
of the others together, in the order of their numbers in the tree, and then the names of all.
"""

from __future__ import annotations

import array
import stat
import struct

from jubako.images.layers.erofs import format
from jubako.images.layers.erofs.format import (
    BLOCK_BYTES,
    DIRECTORY,
    DIRENT,
    FILE,
    INODE,
    INODE_BYTES,
    SLOT_BITS,
    SLOT_BYTES,
    SYMLINK,
)
from jubako.images.layers.erofs.xattrs import MAX_ROOT_BYTES, XattrPool, count
from jubako.images.layers.whiteout import OPAQUE_XATTR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.images.layers.erofs.inodes import Inodes
    from jubako.images.layers.erofs.output import Output
    from jubako.images.layers.erofs.tree import Tree
    from jubako.images.tar import Entry

    Attributes = list[tuple[bytes, bytes]]

IMPLIED_MODE = 0o755  # of directories that have no entry of their own, as with the overlay driver

_METADATA = struct.Struct("<HIIqI")  # mode, owner, group, mtime and its nanoseconds
_IMPLIED = _METADATA.pack(IMPLIED_MODE, 0, 0, 0, 0)
_ROOT_BYTES = INODE_BYTES + MAX_ROOT_BYTES
_OPAQUE = (OPAQUE_XATTR.encode(), b"y")


def reserve_root(out: Output) -> int:
    """Leave room for the root's inode; returns its position."""
    at = out.reserve(_ROOT_BYTES)
    out.align(SLOT_BYTES)
    return at


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

    def inode(self, number: int, size: int, block: int, links: int, body: bytes) -> bytes:
        """The inode of a directory of `size` bytes from `block` on."""
        mode, *rest = _METADATA.unpack_from(self._metadata, number * _METADATA.size)
        mode |= stat.S_IFDIR
        layout = format.FLAT_PLAIN
        return INODE.pack(layout, count(body), mode, 0, size, block, number, *rest, links) + body


class Writer:
    """Writes the directories of a tree.

    linked: numbers of inodes that may have several names.  After `write` they have the right count,
    and size_bytes is that of all files and links in the tree, if `measure` is set.
    """

    def __init__(
        self,
        out: Output,
        inodes: Inodes,
        directories: Directories,
        *,
        linked: Iterable[int],
        measure: bool,
    ):
        self._out = out
        self._inodes = inodes
        self._directories = directories
        self._links = dict.fromkeys(linked, 0)
        self._measure = measure
        self.size_bytes = 0

    def write(self, tree: Tree, root_at: int, pool: XattrPool) -> None:
        """Append inodes and names of all directories; the root's inode goes to `root_at`."""
        out, directories = self._out, self._directories
        bodies = directories.encode_attributes(pool)
        numbers = self._place(root_at, bodies)
        for directory, children in tree.listing(len(directories)):
            parent = numbers[directories.parents[directory]]
            found = [(b".", numbers[directory], DIRECTORY), (b"..", parent, DIRECTORY)]
            subdirectories = 0
            for name, row in children:
                reference, file_type = tree.references[row], tree.types[row]
                if file_type == DIRECTORY:
                    subdirectories += 1
                    reference = numbers[reference]
                elif self._links or self._measure:
                    self._count(reference, file_type)
                found.append((name, reference, file_type))
            found.sort()
            data = pack(found)
            block = out.align(BLOCK_BYTES) // BLOCK_BYTES
            out.append(data)
            body = bodies.get(directory, b"")
            inode = directories.inode(directory, len(data), block, 2 + subdirectories, body)
            out.put(numbers[directory] << SLOT_BITS, inode)
        for number, links in self._links.items():
            if links > 1:
                self._inodes.set_links(number, links)

    def _place(self, root_at: int, bodies: dict[int, bytes]) -> array.array[int]:
        """The inode number of each directory; room is left for all but the root."""
        at = self._out.align(BLOCK_BYTES)
        numbers = array.array("I", (root_at >> SLOT_BITS,))
        size = 0
        for number in range(1, len(self._directories)):
            numbers.append(at + size >> SLOT_BITS)
            size += INODE_BYTES
            if number in bodies:
                size += len(bodies[number]) + -len(bodies[number]) % SLOT_BYTES
        self._out.reserve(size)
        return numbers

    def _count(self, number: int, file_type: int) -> None:
        links = self._links.get(number)
        if links is not None:
            self._links[number] = links + 1
        if self._measure and not links and file_type in (FILE, SYMLINK):
            self.size_bytes += self._inodes.size(number)


def pack(names: list[tuple[bytes, int, int]]) -> bytes:
    """The data of a directory; names: (name, inode number, file type), in the order of bytes.

    Each block begins with the entries, then the names; the last one ends with its last name.
    """
    blocks = []
    first = used = 0
    for number, (name, _, _) in enumerate(names):
        used += DIRENT.size + len(name)
        if used > BLOCK_BYTES:
            blocks.append(_pack_block(names[first:number]).ljust(BLOCK_BYTES, b"\0"))
            first = number
            used = DIRENT.size + len(name)
    blocks.append(_pack_block(names[first:]))
    return b"".join(blocks)


def _pack_block(names: list[tuple[bytes, int, int]]) -> bytes:
    offset = DIRENT.size * len(names)
    parts = []
    for name, number, file_type in names:
        parts.append(DIRENT.pack(number, offset, file_type, 0))
        offset += len(name)
    parts.extend([name for name, _, _ in names])
    return b"".join(parts)
