"""gzip that stops compressing where whoever reads is faster than it."""

from __future__ import annotations

import functools
import os
import time

from jubako.images.content import recipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Buffer = bytes | memoryview

_STORED_BYTES = 0xFFFF  # at most in one stored block (RFC 1951, section 3.2.4)
_LEVEL = 1
_LATELY_BYTES = 8 << 20


def compress(
    chunks: Iterable[Buffer],
    *,
    clock: Callable[[], float] = time.monotonic,
    cost: Callable[[], float] = time.thread_time,
) -> Iterator[bytes]:
    """A gzip stream, some of whose blocks are stored as they are.

    Deflating pays while the reader takes longer for a byte than deflating does on all processors:
    over a slow line it does, into a pipe to the next process it does not.  So equal input does not
    give equal bytes.  clock: tells how long the reader takes; cost: the work of one thread.
    """
    module = recipes.best_module()
    choice = _Choice(functools.partial(recipes.deflate_segment, module, _LEVEL), cost)
    for piece in recipes.segmented(chunks, choice.make, crc32=module.crc32):
        started = clock()
        yield piece
        choice.note_reader(len(piece), clock() - started)


class _Choice:
    """Seconds for a byte, of the reader and of deflating, as they were lately."""

    def __init__(self, deflate: Callable[[Buffer], bytes], cost: Callable[[], float]):
        self._deflate = deflate
        self._cost = cost
        self._threads = len(os.sched_getaffinity(0))
        self._reader_s = 0.0
        self._reader_bytes = 0
        self._deflating: float | None = None  # seconds for a byte

    def make(self, data: Buffer) -> bytes:
        """A segment, deflated if that pays; the first ones always are, to know what it costs."""
        if self._deflating is not None and self._reader_bytes:
            if self._reader_s / self._reader_bytes < self._deflating:
                return store(data)
        started = self._cost()
        made = self._deflate(data)
        self._deflating = (self._cost() - started) / (len(data) * self._threads)
        return made

    def note_reader(self, size: int, seconds: float) -> None:
        """Sums, as a buffer in between takes some pieces at once and keeps others waiting."""
        self._reader_s += seconds
        self._reader_bytes += size
        if self._reader_bytes > _LATELY_BYTES:
            self._reader_s /= 2
            self._reader_bytes //= 2


def store(data: Buffer) -> bytes:
    """Stored blocks: 5 bytes more in 65,535."""
    parts = []
    for at in range(0, len(data), _STORED_BYTES):
        part = data[at : at + _STORED_BYTES]
        size = len(part)
        parts += [b"\0", size.to_bytes(2, "little"), (size ^ 0xFFFF).to_bytes(2, "little"), part]
    return b"".join(parts)
