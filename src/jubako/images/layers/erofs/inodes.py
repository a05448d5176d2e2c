"""Inodes of everything but directories, written as they come."""

from __future__ import annotations

import stat
import struct

from jubako.images.layers.erofs import format, sparse
from jubako.images.layers.erofs.format import BLOCK_BYTES, INODE, INODE_BYTES, SLOT_BITS, SLOT_BYTES
from jubako.images.layers.erofs.xattrs import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.images.layers.erofs.output import Output
    from jubako.images.tar import Entry

_LINKS = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_SECOND = 1_000_000_000
_ONE_CHUNK_BYTES = 1 << format.MAX_CHUNK_BITS


class Inodes:
    """Appends inodes to the output; each method returns the inode's number.

    body: the encoded attributes (see `xattrs`).  amount: how many there are.
    """

    def __init__(self, out: Output):
        self._out = out
        self.amount = 0

    def file(self, entry: Entry, payload: int, body: bytes) -> int:
        """A regular file whose content lies in the tar from byte `payload` on, in one piece."""
        size = entry.size
        if body or size > _ONE_CHUNK_BYTES or not size:
            bits = format.chunk_bits(size)
            return self._chunked(entry, bits, sparse.contiguous(size, payload, bits), body)
        seconds, nanoseconds = divmod(entry.mtime_ns, _SECOND)
        self.amount += 1
        return (
            self._out.append(
                format.ONE_CHUNK_INODE.pack(
                    format.CHUNK_BASED,
                    0,
                    stat.S_IFREG | entry.mode,
                    0,
                    size,
                    format.chunk_format(format.chunk_bits(size)),
                    self.amount,
                    entry.uid,
                    entry.gid,
                    seconds,
                    nanoseconds,
                    1,
                    0,
                    format.TAR_DEVICE,
                    payload // BLOCK_BYTES,
                )
            )
            >> SLOT_BITS
        )

    def sparse_file(
        self, entry: Entry, payload: int, pieces: Iterable[memoryview], body: bytes
    ) -> int:
        """A regular file with holes; pieces: the payload, of which parts may have to be copied."""
        out = self._out
        plan = sparse.Plan(entry.segments or [], entry.size, payload, out.align(BLOCK_BYTES))
        if plan.copied_bytes:
            out.reserve(plan.copied_bytes)
            plan.copy(pieces, out)
        return self._chunked(entry, plan.bits, plan.indexes(), body)

    def _chunked(self, entry: Entry, bits: int, indexes: bytes, body: bytes) -> int:
        if not indexes:
            return self._inode(entry, stat.S_IFREG | entry.mode, format.FLAT_PLAIN, 0, 0, body)
        tail = bytes(-len(body) % 8) + indexes
        union = format.chunk_format(bits)
        mode = stat.S_IFREG | entry.mode
        return self._inode(entry, mode, format.CHUNK_BASED, entry.size, union, body, tail)

    def symlink(self, entry: Entry, body: bytes) -> int:
        """A symbolic link."""
        target = entry.link
        mode = stat.S_IFLNK | 0o777
        size = INODE_BYTES + len(body) + len(target)
        if size > BLOCK_BYTES:  # data in the inode must not leave its block
            self._out.align(BLOCK_BYTES)
            block = self._out.append(target) // BLOCK_BYTES
            self._out.align(SLOT_BYTES)
            return self._inode(entry, mode, format.FLAT_PLAIN, len(target), block, body)
        if self._out.position % BLOCK_BYTES + size > BLOCK_BYTES:
            self._out.align(BLOCK_BYTES)
        return self._inode(entry, mode, format.FLAT_INLINE, len(target), 0, body, target)

    def special(self, entry: Entry, mode: int, device: int, body: bytes) -> int:
        """A device or a fifo; mode: with its type."""
        return self._inode(entry, mode, format.FLAT_PLAIN, 0, device, body)

    def _inode(
        self,
        entry: Entry,
        mode: int,
        layout: int,
        size: int,
        union: int,
        body: bytes,
        tail: bytes = b"",
    ) -> int:
        seconds, nanoseconds = divmod(entry.mtime_ns, _SECOND)
        self.amount += 1
        head = INODE.pack(
            layout,
            count(body),
            mode,
            0,
            size,
            union,
            self.amount,
            entry.uid,
            entry.gid,
            seconds,
            nanoseconds,
            1,
        )
        at = self._out.append(b"".join((head, body, tail)))
        self._out.align(SLOT_BYTES)
        return at >> SLOT_BITS

    # --- inodes that were written before --------------------------------------------------------

    def readlink(self, number: int) -> bytes:
        """The target of a symbolic link."""
        at = number << SLOT_BITS
        layout, attributes, _, _, size, block, *_ = INODE.unpack(self._out.read(at, INODE_BYTES))
        if layout == format.FLAT_PLAIN:
            return self._out.read(block * BLOCK_BYTES, size)
        body = 8 + 4 * attributes if attributes else 0
        return self._out.read(at + INODE_BYTES + body, size)

    def size(self, number: int) -> int:
        """Bytes of a file or a link's target."""
        at = (number << SLOT_BITS) + format.SIZE_OFFSET
        size: int = _SIZE.unpack(self._out.read(at, _SIZE.size))[0]
        return size

    def set_links(self, number: int, links: int) -> None:
        """Tell how many names a file has; 1 at first."""
        self._out.put((number << SLOT_BITS) + format.LINKS_OFFSET, _LINKS.pack(links))
