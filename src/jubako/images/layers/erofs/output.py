"""The file of an index while it is written."""

from __future__ import annotations

import hashlib
import os

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs.format import BLOCK_BYTES, MAX_BLOCKS
from jubako.linux.atomic import write_all

_FLUSH_BYTES = 1 << 20
_PAGE_BYTES = 4096
_ZEROS = bytes(BLOCK_BYTES)


class Output:
    """Appends to an empty file through a buffer, and changes what lies behind.

    fd: readable and writable; stays the caller's.  Everything raises OSError as the system does,
    and InvalidArgument beyond the addresses that EROFS has.
    """

    def __init__(self, fd: int):
        self._fd = fd
        self._buffer = bytearray()
        self._start = 0  # position of the buffer
        self._hash = hashlib.blake2b(digest_size=16)

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        return self._start + len(self._buffer)

    def append(self, data: bytes | bytearray) -> int:
        """Write `data` at the end; returns its position."""
        buffer = self._buffer
        at = self._start + len(buffer)
        buffer += data
        if len(buffer) > _FLUSH_BYTES:
            self.flush()
        return at

    def align(self, size: int) -> int:
        """Fill with zeros up to a multiple of `size`, at most a block; returns the position."""
        at = self.position
        if rest := -at % size:
            self.append(_ZEROS[:rest])
        return at + rest

    def reserve(self, size: int) -> int:
        """Leave a hole for `put`, from the next block on; returns its position."""
        at = self.align(BLOCK_BYTES)
        self.flush()
        self._start = at + size
        self._check()
        os.lseek(self._fd, self._start, os.SEEK_SET)
        return at

    def put(self, position: int, data: bytes | bytearray | memoryview) -> None:
        """Change bytes before the end."""
        if position + len(data) > self._start:
            self.flush()
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, position)
            position += count
            view = view[count:]

    def read(self, position: int, size: int) -> bytes:
        """Bytes before the end."""
        if position + size > self._start:
            self.flush()
        return os.pread(self._fd, size, position)

    def flush(self) -> None:
        """Give the system what is in the buffer."""
        if self._buffer:
            self._hash.update(self._buffer)
            with memoryview(self._buffer) as view:
                write_all(self._fd, view)
            self._start += len(self._buffer)
            self._buffer.clear()
            self._check()

    def _check(self) -> None:
        if self._start > MAX_BLOCKS * BLOCK_BYTES:
            raise InvalidArgument("the index of the archive does not fit into an EROFS image")

    def finish(self) -> bytes:
        """Write all, up to a whole page; returns a digest of what was appended, 16 bytes."""
        self.append(bytes(-self.position % _PAGE_BYTES))  # erofs-utils read the first one as such
        self.flush()
        os.ftruncate(self._fd, self._start)
        return self._hash.digest()
