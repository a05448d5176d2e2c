"""The bytes of an archive as they come: buffers of any size, read strictly forward."""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Buffer = bytes | memoryview

_EMPTY = memoryview(b"")


class Source:
    """A cursor over an iterable of buffers.

    position: bytes consumed.  ended: the stream ended where the archive must not.
    A view that was handed out stays valid only until the next call.
    """

    def __init__(self, buffers: Iterable[Buffer]):
        self._buffers: Iterator[Buffer] = iter(buffers)
        self._view = _EMPTY
        self._at = 0
        self._size = 0
        self._before = 0  # bytes of the buffers that are used up
        self.ended = False

    @property
    def position(self) -> int:
        return self._before + self._at

    def _refill(self) -> bool:
        """Go on to the next non-empty buffer; False at the end of the stream."""
        for buffer in self._buffers:
            if buffer:
                self._before += self._size
                self._view = memoryview(buffer)
                self._at = 0
                self._size = len(buffer)
                return True
        return False

    def piece(self, limit: int) -> memoryview:
        """Between 1 and `limit` bytes, or an empty view at the end of the stream."""
        if self._at == self._size and not self._refill():
            return _EMPTY
        start = self._at
        self._at = end = min(start + limit, self._size)
        return self._view[start:end]

    def read(self, size: int, what: str) -> bytes:
        """Exactly `size` bytes.  Raises InvalidArgument naming `what` when the stream ends."""
        start = self._at
        end = start + size
        if end <= self._size:
            self._at = end
            return bytes(self._view[start:end])
        parts = []
        left = size
        while left:
            part = self.piece(left)
            if not part:
                raise self.truncated(what)
            parts.append(bytes(part))
            left -= len(part)
        return b"".join(parts)

    def block(self) -> bytes:
        """The next 512 bytes, or b"" at the end of the stream."""
        start = self._at
        end = start + 512
        if end <= self._size:
            self._at = end
            return bytes(self._view[start:end])
        if start == self._size and not self._refill():
            return b""
        return self.read(512, "a header")

    def pass_over(self, size: int, what: str, sink: Callable[[Buffer], None] | None) -> None:
        """Consume `size` bytes; `sink` sees them."""
        if sink is None and self._at + size <= self._size:
            self._at += size
            return
        while size:
            part = self.piece(size)
            if not part:
                raise self.truncated(what)
            if sink is not None:
                sink(part)
            size -= len(part)

    def truncated(self, what: str) -> InvalidArgument:
        """The error for a stream that ends too early."""
        self.ended = True
        return InvalidArgument(
            f"archive ends within {what}, at byte {self.position}: it is truncated"
        )
