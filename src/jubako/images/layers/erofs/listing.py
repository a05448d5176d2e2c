"""The names in directories, written when all are known.

The root's inode stands at the beginning of the index, where its number fits into the superblock's
16 bits; those of the others stand together, in the order of their numbers in the tree, each with
its names if these are few, and behind them the names of the larger ones.
"""

from __future__ import annotations

import array

from jubako.images.layers.erofs.format import (
    BLOCK_BYTES,
    DIRECTORY,
    DIRENT,
    FILE,
    FLAT_INLINE,
    FLAT_PLAIN,
    INODE_BYTES,
    SLOT_BITS,
    SLOT_BYTES,
    SYMLINK,
)
from jubako.images.layers.erofs.xattrs import MAX_ROOT_BYTES, XattrPool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jubako.images.layers.erofs.directories import Directories
    from jubako.images.layers.erofs.inodes import Inodes
    from jubako.images.layers.erofs.output import Output
    from jubako.images.layers.erofs.tree import Tree

    Name = tuple[bytes, int, int]

_DOTS = (b".", b"..")
_DOTS_BYTES = 2 * DIRENT.size + 3


def reserve_root(out: Output) -> int:
    """Leave room for the root's inode; returns its position."""
    at = out.reserve(INODE_BYTES + MAX_ROOT_BYTES)
    out.align(SLOT_BYTES)
    return at


class Listing:
    """Writes the directories of a tree.

    linked: numbers of inodes that may have several names.  After `write` they have the right count,
    and size_bytes is that of all files and links in the tree, if `measure` is set.
    """

    def __init__(
        self,
        out: Output,
        inodes: Inodes,
        tree: Tree,
        directories: Directories,
        *,
        linked: Iterable[int],
        measure: bool,
    ):
        self._out = out
        self._inodes = inodes
        self._tree = tree
        self._directories = directories
        self._links = dict.fromkeys(linked, 0)
        self._measure = measure
        self._numbers = array.array("I")  # of inodes, by directory
        self._is_inline = bytearray(len(directories))
        self.size_bytes = 0

    def write(self, root_at: int, pool: XattrPool) -> None:
        """Append inodes and names of all directories; the root's inode goes to `root_at`."""
        bodies = self._directories.encode_attributes(pool)
        self._place(root_at, bodies)
        for directory, rows, subdirectories in self._tree.listing(len(self._directories)):
            self._write(directory, rows, 2 + subdirectories, bodies.get(directory, b""))
        for number, links in self._links.items():
            if links > 1:
                self._inodes.set_links(number, links)

    def _place(self, root_at: int, bodies: dict[int, bytes]) -> None:
        """Give each directory the number of its inode, and leave room for it."""
        start = at = self._out.align(BLOCK_BYTES)
        self._numbers.append(root_at >> SLOT_BITS)
        names = self._tree.name_bytes(len(self._directories))
        for directory in range(1, len(self._directories)):
            size = INODE_BYTES + len(bodies.get(directory, b""))
            if size + _DOTS_BYTES + names[directory] <= BLOCK_BYTES:
                self._is_inline[directory] = True
                size += _DOTS_BYTES + names[directory]
                if at % BLOCK_BYTES + size > BLOCK_BYTES:  # names in the inode leave no block
                    at += -at % BLOCK_BYTES
            self._numbers.append(at >> SLOT_BITS)
            at += size + -size % SLOT_BYTES
        self._out.reserve(at - start)

    def _write(self, directory: int, rows: array.array[int], links: int, body: bytes) -> None:
        out = self._out
        blocks = pack(self._names(directory, rows))
        at = size = 0
        layout, tail = FLAT_PLAIN, b""
        if self._is_inline[directory]:
            layout, tail = FLAT_INLINE, b"".join(blocks)
            size = len(tail)
        else:
            at = out.align(BLOCK_BYTES)
            for data in blocks:
                out.append(data)
                size += len(data)
        block = at // BLOCK_BYTES
        inode = self._directories.inode(directory, layout, size, block, links, body)
        out.put(self._numbers[directory] << SLOT_BITS, inode + tail)

    def _names(self, directory: int, rows: array.array[int]) -> Iterator[Name]:
        tree, numbers = self._tree, self._numbers
        types, references = tree.types, tree.references
        is_counting = bool(self._links) or self._measure
        for name, row in tree.in_order(rows, *_DOTS):
            if not row:
                here = directory if name == b"." else self._directories.parents[directory]
                yield name, numbers[here], DIRECTORY
            elif types[row] == DIRECTORY:
                yield name, numbers[references[row]], DIRECTORY
            else:
                if is_counting:
                    self._count(references[row], types[row])
                yield name, references[row], types[row]

    def _count(self, number: int, file_type: int) -> None:
        links = self._links.get(number)
        if links is not None:
            self._links[number] = links + 1
        if self._measure and not links and file_type in (FILE, SYMLINK):
            self.size_bytes += self._inodes.size(number)


def pack(names: Iterable[Name]) -> Iterator[bytes]:
    """The blocks of a directory; names: (name, inode number, file type), in the order of bytes.

    Each begins with the entries, then the names; the last one ends with its last name.
    """
    block: list[Name] = []
    used = 0
    for item in names:
        size = DIRENT.size + len(item[0])
        used += size
        if used > BLOCK_BYTES:
            yield _pack_block(block).ljust(BLOCK_BYTES, b"\0")
            block = []
            used = size
        block.append(item)
    yield _pack_block(block)


def _pack_block(names: list[Name]) -> bytes:
    offset = DIRENT.size * len(names)
    parts = []
    for name, number, file_type in names:
        parts.append(DIRENT.pack(number, offset, file_type, 0))
        offset += len(name)
    parts.extend([name for name, _, _ in names])
    return b"".join(parts)
