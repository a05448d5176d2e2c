"""Finding out by which recipe a blob was made, by trying.

Who compressed a blob left its library and level nowhere, but few are in use.  Each one makes the
blob again, and is given up at the first byte that differs: for most that is within the first
kilobytes.  Only equality to the last byte counts.  What Go's compress/gzip and GNU gzip deflate is
in general not what zlib makes of the same, and such blobs are not found.
"""

from __future__ import annotations

import itertools
import os
import time

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.images import compression
from jubako.images.content import recipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET_S = 60.0  # for one blob: some 2 GB of tar at zlib's usual level here
_READ_BYTES = 1 << 20
_START_BYTES = 1024  # holds the header of a gzip member or of a zstd frame; names in it are short
_MIN_BYTES = 18  # the longest header of a frame; no tar is as short as that, compressed
# The usual first.  From 13 on it takes seconds, and a hundred megabytes, to see the first bytes.
_ZSTD_LEVELS = (3, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12)


def find_recipe(fd: int, *, budget_s: float = BUDGET_S) -> str:
    """The recipe that makes the blob in an open file of the layer's tar again; "" if none does.

    fd: a regular file, whose position does not matter; a layer that has been checked.
    budget_s: after about so many seconds it gives up.  Raises KernelError.
    """
    deadline = time.monotonic() + budget_s
    start = _read(fd, _START_BYTES, 0)
    name = compression.detect(start)
    if name == compression.PLAIN:
        return recipes.PLAIN
    tar_bytes = _content_bytes(start) if name == compression.ZSTD else None
    for recipe in _candidates(name, start, tar_bytes):
        if _makes(recipe, name, fd, tar_bytes, deadline):
            return recipe
    return ""


def is_plain(fd: int) -> bool:
    """Whether the blob in an open file is not compressed."""
    return compression.detect(_read(fd, compression.MAGIC_BYTES, 0)) == compression.PLAIN


def _makes(recipe: str, name: str, fd: int, tar_bytes: int | None, deadline: float) -> bool:
    """Whether the recipe gives exactly what is in the file."""
    at = 0
    tar = compression.inflate(name, _pieces(fd))
    try:
        for piece in recipes.compress(recipe, tar, tar_bytes=tar_bytes):
            if time.monotonic() > deadline or piece != _read(fd, len(piece), at):
                return False
            at += len(piece)
    except (InvalidArgument, Unsupported):  # several streams in one; a library that is missing
        return False
    return at == os.fstat(fd).st_size


def _pieces(fd: int) -> Iterator[bytes]:
    for number in itertools.count():
        piece = _read(fd, _READ_BYTES, number * _READ_BYTES)
        if not piece:
            return
        yield piece


def _read(fd: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(fd, size, offset)
    except OSError as exc:
        raise KernelError.from_oserror("read blob", exc) from exc


def _candidates(name: str, start: bytes, tar_bytes: int | None) -> Iterator[str]:
    if name == compression.GZIP:
        yield from _gzip_candidates(_gzip_header(start))
    elif name == compression.ZSTD:
        yield from _zstd_candidates(start, tar_bytes)


# --- gzip (RFC 1952) -----------------------------------------------------------------------------


def _gzip_candidates(header: bytes) -> Iterator[str]:
    if not header:
        return
    if header == recipes.HEADER:  # ours, most likely
        for library, level in itertools.product(("isal", "zlib"), (1, 2, 3)):
            yield recipes.gzip(library, level, segment=recipes.SEGMENT_BYTES, header=header)
    # XFL tells when the level was the fastest or the best, if the writer cared.
    levels = sorted(range(1, 10), key=lambda level: level != {4: 1, 2: 9}.get(header[8], 6))
    for memory, level in itertools.product((8, 9), levels):
        yield recipes.gzip("zlib", level, memory=memory, header=header)
    for level in (0, 1, 2, 3):
        yield recipes.gzip("isal", level, header=header)


def _gzip_header(start: bytes) -> bytes:
    """All before the deflated data; b"" if it does not end within `start`."""
    if len(start) < _MIN_BYTES:
        return b""
    flags, at = start[3], 10
    if flags & 4:  # FEXTRA
        at += 2 + int.from_bytes(start[at : at + 2], "little")
    for flag in (8, 16):  # FNAME, FCOMMENT
        if flags & flag:
            end = start.find(b"\0", at)
            if end < 0:
                return b""
            at = end + 1
    at += 2 * bool(flags & 2)  # FHCRC
    return start[:at] if at <= len(start) else b""


# --- zstd (RFC 8878, 3.1.1.1) --------------------------------------------------------------------


def _zstd_candidates(start: bytes, tar_bytes: int | None) -> Iterator[str]:
    try:
        import zstandard
    except ImportError:
        return
    if len(start) < _MIN_BYTES:
        return
    wanted = _window_log(start)
    checksum, size = bool(start[4] & 4), tar_bytes is not None
    for level in _ZSTD_LEVELS:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, source_size=tar_bytes or 0
        )
        if wanted in (None, parameters.window_log):
            for threads in (0, 1):
                yield recipes.zstd(level, threads=threads, checksum=checksum, size=size)


def _window_log(start: bytes) -> int | None:
    """None: the frame is one segment and has no window of its own."""
    return None if start[4] & 0x20 else 10 + (start[5] >> 3)


def _content_bytes(start: bytes) -> int | None:
    """How long the frame says its content is; None if it does not."""
    if len(start) < _MIN_BYTES or start[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = start[4]
    single = bool(descriptor & 0x20)
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    found = int.from_bytes(start[at : at + width], "little")
    return found + 256 * (width == 2) if width else None
