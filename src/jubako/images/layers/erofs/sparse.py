"""Where the content of a file is: chunks in the tar, holes, and what had to be copied.

EROFS divides a file into chunks of equal length, each of which is a hole or begins at some block of
a device and goes on there.  The pieces of a sparse file in a tar need not fit that: a chunk of
which only a part is data, or that consists of several pieces, is put together in the index itself,
with holes in that file where there are holes.  Small chunks mean little to copy but many to list.
"""

from __future__ import annotations

import array
import sys

from jubako.images.layers.erofs.format import (
    BLOCK_BITS,
    BLOCK_BYTES,
    CHUNK_INDEX,
    HOLE,
    MAX_CHUNK_BITS,
    TAR_DEVICE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.images.layers.erofs.output import Output

    Segments = list[tuple[int, int]]

_LEAST_CHUNKS = 512  # that a sparse file may have, 4 KiB of indexes, however little data it has
_MOST_CHUNKS = 1 << 20
_DATA_PER_CHUNK = 512  # bytes of data that allow for one chunk more

# Chunk indexes as numbers: 16 bits of zeros, the device, the block.
_HOLE = HOLE << 32
_TAR = TAR_DEVICE << 16
_DEVICE = 0xFFFF << 16


def contiguous(size: int, payload: int, bits: int) -> bytes:
    """Indexes of a file that lies in the tar from byte `payload` on, in chunks of 1 << bits."""
    return b"".join(
        CHUNK_INDEX.pack(0, TAR_DEVICE, (payload + at) >> BLOCK_BITS)
        for at in range(0, size, 1 << bits)
    )


class Plan:
    """Chunks of a sparse file.

    segments: (offset, length) of its pieces, in order.  payload: where their bytes are in the tar,
    one after another, a multiple of 512.  copies: where in the index those chunks will be that
    are copied, likewise.  bits: of the length of a chunk.  copied_bytes: what `copy` needs there.
    """

    def __init__(self, segments: Segments, size: int, payload: int, copies: int):
        self._segments = segments
        self._copies = copies
        self.bits = _choose_bits(segments, size)
        self._chunks = array.array("Q", (_HOLE,)) * -(-size >> self.bits)
        self._step = 1 << self.bits - BLOCK_BITS + 32
        self._next = copies >> BLOCK_BITS << 32
        for offset, length in segments:
            self._place(offset, offset + length, size, payload)
            payload += length
        self.copied_bytes = (self._next >> 32 << BLOCK_BITS) - copies

    def _place(self, start: int, end: int, size: int, payload: int) -> None:
        """Set the chunks of one piece."""
        bits, chunks, step = self.bits, self._chunks, self._step
        first = -(-start >> bits)  # of those that the piece fills
        last = len(chunks) if end == size else end >> bits
        at = payload + (first << bits) - start
        if first >= last or at % BLOCK_BYTES:
            for chunk in range(start >> bits, -(-end >> bits)):
                self._mark_copied(chunk)
            return
        if start & (1 << bits) - 1:
            self._mark_copied(first - 1)
        block = _TAR | at >> BLOCK_BITS << 32
        chunks[first:last] = array.array("Q", range(block, block + (last - first) * step, step))
        if last << bits < end:
            self._mark_copied(last)

    def _mark_copied(self, chunk: int) -> None:
        if self._chunks[chunk] == _HOLE:
            self._chunks[chunk] = self._next
            self._next += self._step

    def indexes(self) -> bytes:
        """The chunk indexes as they follow the inode."""
        if sys.byteorder == "big":
            self._chunks.byteswap()
        return self._chunks.tobytes()

    def copy(self, pieces: Iterable[memoryview], out: Output) -> None:
        """Put the chunks that need it together in the index; pieces: the payload."""
        segments = iter(self._segments)
        offset = left = 0
        for piece in pieces:
            while piece:
                if not left:
                    offset, left = next(segments)
                within = offset & (1 << self.bits) - 1
                count = min(len(piece), left, (1 << self.bits) - within)
                index = self._chunks[offset >> self.bits]
                if not index & _DEVICE:
                    out.put((index >> 32 << BLOCK_BITS) + within, piece[:count])
                piece = piece[count:]
                offset += count
                left -= count


def _choose_bits(segments: Segments, size: int) -> int:
    """The largest chunks that need no copying, unless these would be too many."""
    data = sum(length for _, length in segments)
    most = min(_LEAST_CHUNKS + data // _DATA_PER_CHUNK, _MOST_CHUNKS)
    least_bits = max(BLOCK_BITS, (-(-size // most) - 1).bit_length())
    borders = 0
    for offset, length in segments:
        borders |= offset
        if offset + length < size:
            borders |= offset + length
    aligned_bits = (borders & -borders).bit_length() - 1 if borders else size.bit_length()
    return min(max(least_bits, aligned_bits), MAX_CHUNK_BITS)
