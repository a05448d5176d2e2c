from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images import compression

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    compression.GZIP: gzip.compress,
    compression.BZIP2: bz2.compress,
    compression.XZ: lzma.compress,
    compression.ZSTD: zstandard.ZstdCompressor().compress,
}
FORMATS = sorted(COMPRESS)


def inflate(data: bytes, step: int = 1000, **limits: int) -> bytes:
    pieces = (data[at : at + step] for at in range(0, len(data), step))
    name = compression.detect(data[: compression.MAGIC_BYTES])
    return b"".join(compression.inflate(name, pieces, **limits))


@pytest.fixture(params=["isal", "zlib"])
def gzip_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both libraries that can inflate gzip; the second is forced by hiding the first."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    return str(request.param)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_recognised(name: str) -> None:
    assert compression.detect(COMPRESS[name](b"x")[:6]) == name
    assert compression.detect(b"") == compression.detect(b"\x1f") == compression.PLAIN
    assert compression.detect(b"etc/\0\0") == compression.PLAIN


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("step", [1, 777, 1 << 20])
def test_round_trip(gzip_library: str, name: str, step: int) -> None:
    data = random.Random(1).randbytes(20_000) + bytes(30_000)
    assert inflate(COMPRESS[name](data), step) == data
    assert inflate(COMPRESS[name](b""), step) == b""


@pytest.mark.parametrize("name", FORMATS)
def test_streams_after_one_another_are_one(gzip_library: str, name: str) -> None:
    compress = COMPRESS[name]
    for step in (1, 50, 1 << 20):
        assert inflate(compress(b"one") + compress(b"") + compress(b"two"), step) == b"onetwo"


def test_large_output_comes_in_bounded_pieces(gzip_library: str) -> None:
    data = bytes(5 << 20)
    for name in FORMATS:
        pieces = list(compression.inflate(name, [COMPRESS[name](data)]))
        assert max(map(len, pieces)) <= compression.OUTPUT_BYTES
        assert b"".join(pieces) == data


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_streams_are_refused(gzip_library: str, name: str) -> None:
    data = COMPRESS[name](random.Random(2).randbytes(3000))
    for cut in (len(data) - 1, len(data) - 5, len(data) // 2, 7):
        with pytest.raises(InvalidArgument, match="truncated|damaged"):
            inflate(data[:cut])


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_streams_are_refused(gzip_library: str, name: str) -> None:
    data = bytearray(COMPRESS[name](random.Random(3).randbytes(3000)))
    if name == compression.ZSTD:
        data = bytearray(
            zstandard.ZstdCompressor(write_checksum=True).compress(random.Random(3).randbytes(3000))
        )
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InvalidArgument, match="damaged|truncated"):
        inflate(bytes(data))


def test_zeros_after_gzip_are_padding_and_anything_else_is_damage(gzip_library: str) -> None:
    data = gzip.compress(b"content")
    for step in (1, 1 << 20):
        assert inflate(data + bytes(1000), step) == b"content"
        with pytest.raises(InvalidArgument, match="damaged"):
            inflate(data + b"garbage garbage garbage", step)


def test_zstd_frames_of_every_kind() -> None:
    data = random.Random(4).randbytes(300_000)
    compressor = zstandard.ZstdCompressor(
        level=3, write_content_size=False, write_checksum=True
    ).compressobj()
    frame = compressor.compress(data) + compressor.flush()
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    for stream in (frame, skippable + frame, frame + skippable, frame + frame):
        for step in (3, 1000, 1 << 20):
            assert inflate(stream, step) in (data, data + data)
    with pytest.raises(InvalidArgument, match="truncated"):
        inflate(frame + skippable[:-1])


def test_a_bomb_is_stopped() -> None:
    for name in (compression.GZIP, compression.ZSTD, compression.XZ):
        bomb = COMPRESS[name](bytes(8 << 20))
        with pytest.raises(InvalidArgument, match="more than 100 times"):
            inflate(bomb, max_ratio=100, floor_bytes=1 << 20)
        assert len(inflate(bomb, max_ratio=100, floor_bytes=8 << 20)) == 8 << 20


def test_a_bomb_is_stopped_by_default() -> None:
    compressor = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)

    def pieces() -> Iterator[bytes]:
        for _ in range(1 << 20):  # a terabyte, of which only a start is ever made
            yield compressor.compress(zeros)

    total = 0
    with pytest.raises(InvalidArgument, match="grows from"):
        for piece in compression.inflate(compression.GZIP, pieces()):
            total += len(piece)
    assert total <= compression.RATIO_FLOOR_BYTES + compression.OUTPUT_BYTES


def test_an_xz_stream_that_wants_too_much_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20, "mode": lzma.MODE_FAST}]
    data = lzma.compress(b"x", filters=filters)
    with pytest.raises(InvalidArgument, match="damaged|[Mm]emory"):
        inflate(data)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), st.binary(max_size=300), st.integers(1, 64))
def test_garbage_after_a_magic_number_is_an_error_or_content(
    name: str, garbage: bytes, step: int
) -> None:
    try:
        inflate(COMPRESS[name](b"")[:6] + garbage, step)
    except InvalidArgument:
        return


@pytest.mark.parametrize("log", [10, 17, 21, 23, 27])
@pytest.mark.parametrize("size_is_known", [False, True])
def test_the_window_of_a_zstd_stream(log: int, size_is_known: bool) -> None:
    parameters = zstandard.ZstdCompressionParameters(
        window_log=log, compression_level=1, write_content_size=size_is_known
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    data = os.urandom(300_000)
    if size_is_known:
        packed = compressor.compress(data)
        expected = {1 << log, len(data)}  # a single segment, if the window holds it all
    else:
        stream = compressor.compressobj()
        packed = stream.compress(data) + stream.flush()
        expected = {1 << log}
    assert compression.window_bytes(packed[: compression.HEADER_BYTES]) in expected
    for size in range(compression.HEADER_BYTES):
        assert compression.window_bytes(packed[:size]) == 0
    assert compression.window_bytes(gzip.compress(data)) == 0
