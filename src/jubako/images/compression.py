"""Compressed streams: which format it is, and its bytes inflated in bounded pieces.

isal inflates gzip some four times faster than zlib and, like it, releases the interpreter lock.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from io import BufferedReader, RawIOBase

from jubako.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Buffer = bytes | memoryview

PLAIN, GZIP, BZIP2, XZ, ZSTD = "plain", "gzip", "bzip2", "xz", "zstd"
MAGIC_BYTES = 6  # what `detect` needs to see
HEADER_BYTES = 18  # what `window_bytes` needs to see

OUTPUT_BYTES = 1 << 20  # at most so much at a time; to hand on smaller pieces costs threads more
_ZSTD_INPUT_BYTES = 1 << 17
_XZ_MEMORY_BYTES = 256 << 20  # xz -9 needs 65 MiB
_ZSTD_WINDOW_BYTES = 128 << 20  # what the zstd command accepts by default

# A bomb inflates thousandfold (gzip's format allows 1032:1, the others far more); file systems,
# even with large empty areas, stay far below this.  Small archives may do what they like.
MAX_RATIO = 250
RATIO_FLOOR_BYTES = 256 << 20


def detect(start: bytes) -> str:
    """The format of a stream by its first bytes; PLAIN when none is recognised."""
    if start.startswith(b"\x1f\x8b\x08"):
        return GZIP
    if start.startswith(b"BZh"):
        return BZIP2
    if start.startswith(b"\xfd7zXZ\0"):
        return XZ
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return ZSTD
    if len(start) >= 4 and 0x50 <= start[0] <= 0x5F and start[1:4] == b"\x2a\x4d\x18":
        return ZSTD  # a skippable frame comes first
    return PLAIN


def inflate(
    name: str,
    buffers: Iterable[Buffer],
    *,
    max_ratio: int = MAX_RATIO,
    floor_bytes: int = RATIO_FLOOR_BYTES,
) -> Iterator[bytes]:
    """The inflated bytes of a stream of format `name`, at most OUTPUT_BYTES at a time.

    Streams that were put one after another count as one.  Raises InvalidArgument for a damaged or
    truncated stream, and for one that grows more than `max_ratio` times beyond `floor_bytes`.
    """
    taken = 0
    given = 0

    def counted() -> Iterator[Buffer]:
        nonlocal taken
        for buffer in buffers:
            taken += len(buffer)
            yield buffer

    for piece in _INFLATE[name](counted()):
        given += len(piece)
        if given > floor_bytes and given > max_ratio * taken:
            raise InvalidArgument(
                f"{name} stream grows from {taken} to more than {given} bytes: "
                f"more than {max_ratio} times",
                hint="if this is meant, decompress it first",
            )
        yield piece


def _inflate_gzip(buffers: Iterator[Buffer]) -> Iterator[bytes]:
    stream, damage = _gzip_file(_Readable(buffers))
    try:
        while piece := stream.read(OUTPUT_BYTES):
            yield piece
    except EOFError as exc:
        raise InvalidArgument("gzip stream ends too early: it is truncated") from exc
    except damage as exc:
        raise InvalidArgument(f"gzip stream is damaged: {exc}") from exc


def _gzip_file(source: _Readable) -> tuple[Any, tuple[Any, ...]]:
    """The stream as an inflated file, and what that raises for damage."""
    import gzip

    try:
        from isal import igzip, isal_zlib
    except ImportError:
        return gzip.GzipFile(fileobj=BufferedReader(source)), (gzip.BadGzipFile, zlib.error)
    opened: Any = igzip.IGzipFile
    return opened(fileobj=source, mode="rb"), (gzip.BadGzipFile, isal_zlib.error)


def _inflate_stdlib(
    name: str, make: Callable[[], Any], buffers: Iterator[Buffer]
) -> Iterator[bytes]:
    """bz2 and lzma share an interface; a new decompressor for each concatenated stream."""
    inflater = make()
    started = False
    streams = 0
    try:
        for buffer in buffers:
            data = bytes(buffer)
            while data or not inflater.needs_input:
                if not started and streams:
                    data = data.lstrip(b"\0")  # xz pads streams with zeros
                    if not data:
                        break
                started = True
                piece = inflater.decompress(data, OUTPUT_BYTES)
                data = b""
                if piece:
                    yield piece
                if inflater.eof:
                    data = inflater.unused_data
                    inflater = make()
                    started = False
                    streams += 1
    except (lzma.LZMAError, OSError, EOFError) as exc:
        raise InvalidArgument(f"{name} stream is damaged: {exc}") from exc
    if started:
        raise InvalidArgument(f"{name} stream ends too early: it is truncated")


def _inflate_bzip2(buffers: Iterator[Buffer]) -> Iterator[bytes]:
    return _inflate_stdlib(BZIP2, bz2.BZ2Decompressor, buffers)


def _inflate_xz(buffers: Iterator[Buffer]) -> Iterator[bytes]:
    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)

    return _inflate_stdlib(XZ, make, buffers)


def _inflate_zstd(buffers: Iterator[Buffer]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as exc:
        raise Unsupported(
            "zstd stream: the Python package zstandard is missing",
            hint="pip install zstandard, or recompress with gzip",
        ) from exc
    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    frames = _ZstdFrames()

    def followed() -> Iterator[Buffer]:
        for buffer in buffers:
            frames.feed(buffer)
            yield buffer

    source: Any = _Readable(followed())
    try:
        with context.stream_reader(source, _ZSTD_INPUT_BYTES, read_across_frames=True) as reader:
            while piece := reader.read(OUTPUT_BYTES):
                yield piece
    except zstandard.ZstdError as exc:
        raise InvalidArgument(f"zstd stream is damaged: {exc}") from exc
    if not frames.complete:
        raise InvalidArgument("zstd stream ends too early: it is truncated")


def window_bytes(start: bytes) -> int:
    """How much memory inflating a stream takes beyond what all formats take, by its first bytes.

    start: HEADER_BYTES of it.  That of zstd's first frame; the other formats have small windows.
    """
    if not start.startswith(b"\x28\xb5\x2f\xfd") or len(start) < HEADER_BYTES:
        return 0
    descriptor, window = start[4], start[5]  # RFC 8878, section 3.1.1.1
    if not descriptor & 0x20:
        base = 1 << (10 + (window >> 3))
        return base + base // 8 * (window & 7)
    at = 5 + (0, 1, 2, 4)[descriptor & 3]  # a single segment: the window is the whole content
    size = (1, 2, 4, 8)[descriptor >> 6]
    return int.from_bytes(start[at : at + size], "little") + (256 if size == 2 else 0)


class _Readable(RawIOBase):
    """A file over buffers, as the libraries want one."""

    def __init__(self, buffers: Iterator[Buffer]):
        self._buffers = buffers
        self._view = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._view:
            buffer = next(self._buffers, None)
            if buffer is None:
                return 0
            self._view = memoryview(buffer)
        size = min(len(target), len(self._view))
        target[:size] = self._view[:size]
        self._view = self._view[size:]
        return size


class _ZstdFrames:
    """Whether a stream of zstd frames is complete: the library's reader does not tell.

    Format: RFC 8878, section 3.1: a frame header, blocks with their sizes, maybe a checksum.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = 0
        self._in_frame = False
        self._checksum = False

    @property
    def complete(self) -> bool:
        return not (self._in_frame or self._skip or self._buffer)

    def feed(self, data: Buffer) -> None:
        if self._skip >= len(data) and not self._buffer:
            self._skip -= len(data)
            return
        self._buffer += data
        while True:
            if self._skip:
                step = min(self._skip, len(self._buffer))
                del self._buffer[:step]
                self._skip -= step
                if self._skip:
                    return
            if not (self._block() if self._in_frame else self._header()):
                return

    def _header(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 8:
            if len(buffer) < 5 or buffer[1:4] == b"\x2a\x4d\x18":
                return False
        if buffer[1:4] == b"\x2a\x4d\x18" and 0x50 <= buffer[0] <= 0x5F:
            self._skip = int.from_bytes(buffer[4:8], "little")
            del buffer[:8]
            return True
        descriptor = buffer[4]
        single = bool(descriptor & 0x20)
        content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
        size = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content
        if len(buffer) < size:
            return False
        self._checksum = bool(descriptor & 4)
        self._in_frame = True
        del buffer[:size]
        return True

    def _block(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 3:
            return False
        header = int.from_bytes(buffer[:3], "little")
        del buffer[:3]
        self._skip = 1 if header >> 1 & 3 == 1 else header >> 3  # RLE stores one byte
        if header & 1:  # the last block
            self._in_frame = False
            self._skip += 4 * self._checksum
        return True


_INFLATE: dict[str, Callable[[Iterator[Buffer]], Iterator[bytes]]] = {
    GZIP: _inflate_gzip,
    BZIP2: _inflate_bzip2,
    XZ: _inflate_xz,
    ZSTD: _inflate_zstd,
}
