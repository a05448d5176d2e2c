"""How a layer's blob is made of the layer's tar, to the byte.

A recipe is a line of text that is kept with the blob's digest:

    plain                                              the tar itself
    gzip library=zlib level=6 memory=8 header=1f8b...  one member, deflated in one go
    gzip library=isal level=1 segment=1048576 header=1f8b...
                                                       one member, deflated in segments: each ends
                                                       on a byte boundary and looks at none of the
                                                       others, so that threads make them
    zstd level=3 threads=0 checksum=1 size=0           one frame; threads: of libzstd, whose number
                                                       changes the bytes; size: it says how long
                                                       the tar is

header: the member's first bytes as they are, in hex, up to the deflated data (RFC 1952).
memory: zlib's memLevel.  The same recipe and tar give the same bytes with the same version of the
library; with another they may differ, so whoever makes a blob again checks its digest.
"""

from __future__ import annotations

import functools
import itertools
import os
import zlib
from collections import deque

from jubako.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from typing import Any

    Buffer = bytes | memoryview

PLAIN = "plain"
SEGMENT_BYTES = 1 << 20  # smaller ones cost ratio, larger ones memory
# No time and no name, so that equal tars give equal blobs; 255: the file system is unknown.
HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
FEED_BYTES = 1 << 20  # isal's bytes depend on how much it sees at once
_MEMORY = 8  # zlib's default
_FEW_SEGMENTS = 8  # are made sooner without threads
_MAX_THREADS = 8  # of one blob; several are made at a time


def segmented_gzip(level: int = 1) -> str:
    """The recipe by which this engine compresses, with isal or, where that is missing, zlib."""
    library = "zlib" if best_module() is zlib else "isal"
    return gzip(library, level, segment=SEGMENT_BYTES)


def gzip(
    library: str, level: int, *, memory: int = _MEMORY, segment: int = 0, header: bytes = HEADER
) -> str:
    """The text of a recipe.  segment: bytes; 0 is one go."""
    how = f"segment={segment}" if segment else f"memory={memory}"
    return f"gzip library={library} level={level} {how} header={header.hex()}"


def zstd(level: int, *, threads: int = 0, checksum: bool = False, size: bool = False) -> str:
    """The text of a recipe."""
    return f"zstd level={level} threads={threads} checksum={checksum:d} size={size:d}"


def compress(
    recipe: str, chunks: Iterable[Buffer], *, tar_bytes: int | None = None
) -> Iterator[bytes]:
    """The blob, in pieces of a few MiB at most, of a tar that comes in any pieces.

    tar_bytes: how long the tar is; needed where the blob says it (zstd with `size=1`).
    Threads that are used end with the iterator; close it when it is not read to its end.
    Raises Unsupported at once: the recipe is of a newer engine, or its library is missing.
    """
    kind, options = _parse(recipe)
    if kind == PLAIN:
        return (bytes(chunk) for chunk in chunks)
    try:
        return _KINDS[kind](options, chunks, tar_bytes)
    except (KeyError, ValueError) as exc:
        raise Unsupported(f"unknown recipe of a layer's blob: {recipe[:200]!r}") from exc


def _parse(recipe: str) -> tuple[str, dict[str, str]]:
    kind, *words = recipe.split(" ")
    return kind, dict(word.split("=", 1) for word in words if "=" in word)


# --- gzip ----------------------------------------------------------------------------------------


def _gzip(
    options: Mapping[str, str], chunks: Iterable[Buffer], tar_bytes: int | None
) -> Iterator[bytes]:
    level, segment = int(options["level"]), int(options.get("segment", 0))
    module = _library(options["library"])
    header = bytes.fromhex(options["header"])
    if segment:
        deflate = functools.partial(deflate_segment, module, level)
        return segmented(chunks, deflate, header=header, segment=segment, crc32=module.crc32)
    counted = _Counted(chunks, module.crc32)
    compressor = module.compressobj(
        level, module.DEFLATED, -module.MAX_WBITS, int(options["memory"])
    )
    return _member(header, counted, _in_one_go(compressor, counted))


def segmented(
    chunks: Iterable[Buffer],
    deflate: Callable[[Buffer], bytes],
    *,
    header: bytes = HEADER,
    segment: int = SEGMENT_BYTES,
    crc32: Callable[[Buffer, int], int] = zlib.crc32,
) -> Iterator[bytes]:
    """One member whose segments are deflated on all processors.

    deflate: makes a segment into blocks that end on a byte boundary; called on threads.
    """
    counted = _Counted(chunks, crc32)
    return _member(header, counted, _segments(deflate, rechunk(counted, segment)))


def deflate_segment(module: Any, level: int, data: Buffer) -> bytes:
    """Blocks that end on a byte boundary and look at nothing before them.  module: as zlib."""
    compressor = module.compressobj(level, module.DEFLATED, -module.MAX_WBITS)
    return bytes(compressor.compress(data) + compressor.flush(module.Z_SYNC_FLUSH))


def _member(header: bytes, counted: _Counted, deflated: Iterator[bytes]) -> Iterator[bytes]:
    yield header
    yield from deflated
    size = counted.size & 0xFFFFFFFF  # RFC 1952: modulo 2^32
    yield counted.crc.to_bytes(4, "little") + size.to_bytes(4, "little")


class _Counted:
    """Passes a tar on, and knows its length and CRC-32 then."""

    def __init__(self, chunks: Iterable[Buffer], crc32: Callable[[Buffer, int], int]):
        self._chunks = chunks
        self._crc32 = crc32
        self.size = 0
        self.crc = 0

    def __iter__(self) -> Iterator[Buffer]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.crc = self._crc32(chunk, self.crc)
            yield chunk


def _in_one_go(compressor: Any, chunks: Iterable[Buffer]) -> Iterator[bytes]:
    for chunk in rechunk(chunks, FEED_BYTES):
        if piece := compressor.compress(chunk):
            yield piece
    yield compressor.flush()


def _segments(deflate: Callable[[Buffer], bytes], segments: Iterator[Buffer]) -> Iterator[bytes]:
    """Deflate segments, on all processors unless they are few; what comes out is in order."""
    few = itertools.islice(segments, _FEW_SEGMENTS)
    yield from map(deflate, few)
    first = next(segments, None)
    if first is not None:
        yield from _on_threads(deflate, itertools.chain((first,), segments))
    # An empty last block: whatever the segments were, none of them had to know that it is the last.
    yield b"\x03\x00"


def _on_threads(deflate: Callable[[Buffer], bytes], segments: Iterable[Buffer]) -> Iterator[bytes]:
    from concurrent.futures import ThreadPoolExecutor

    threads = min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(threads, "deflate") as pool:
        try:
            for segment in segments:
                waiting.append(pool.submit(deflate, segment))
                if len(waiting) > threads + 1:  # bounds the memory
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def rechunk(chunks: Iterable[Buffer], size: int) -> Iterator[Buffer]:
    """The same bytes in pieces of exactly `size`; the last may be shorter.

    chunks: which nobody changes any more.
    """
    buffer = bytearray()
    for chunk in chunks:
        if not buffer and len(chunk) == size:
            yield chunk
            continue
        buffer += chunk
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def _library(name: str) -> Any:
    if name == "zlib":
        return zlib
    if name != "isal":
        raise ValueError(name)
    module = _isal()
    if module is None:
        raise Unsupported(
            "make a layer's blob again: the Python package isal is missing",
            hint="pip install isal",
        )
    return module


def best_module() -> Any:
    """isal where it is installed, else zlib, whose interface it has."""
    return _isal() or zlib


def _isal() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib


# --- zstd ----------------------------------------------------------------------------------------


def _zstd(
    options: Mapping[str, str], chunks: Iterable[Buffer], tar_bytes: int | None
) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as exc:
        raise Unsupported(
            "make a layer's blob again: the Python package zstandard is missing",
            hint="pip install zstandard",
        ) from exc
    size = tar_bytes if options["size"] == "1" else None
    if options["size"] == "1" and size is None:
        raise ValueError("the length of the tar is needed")
    parameters = zstandard.ZstdCompressionParameters.from_level(
        int(options["level"]),
        source_size=size or 0,
        threads=int(options["threads"]),
        write_checksum=options["checksum"] == "1",
        write_content_size=size is not None,
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return _in_one_go(compressor.compressobj(size=-1 if size is None else size), chunks)


_KINDS: dict[str, Callable[[Mapping[str, str], Iterable[Buffer], int | None], Iterator[bytes]]] = {
    "gzip": _gzip,
    "zstd": _zstd,
}
