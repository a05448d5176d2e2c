from __future__ import annotations

import gzip
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from jubako.errors import InvalidArgument
from jubako.images.stream import (
    Channel,
    LayerStream,
    Prefetch,
    peek,
    plain_chunks,
    read_chunks,
)
from jubako.oci.digest import Digest

DATA = os.urandom(3 << 20)


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "stored", [DATA, gzip.compress(DATA, 1, mtime=0), zstandard.compress(DATA)]
)
def test_both_digests_of_a_layer(stored: bytes, nested: bool) -> None:
    pieces = [stored[at : at + 50_000] for at in range(0, len(stored), 50_000)]
    with LayerStream(pieces, nested=nested, want_blob_digest=True) as stream:
        assert b"".join(map(bytes, stream)) == DATA
        assert stream.diff_id() == Digest.of(DATA)
        assert stream.blob_digest() == Digest.of(stored)
        assert (stream.blob_bytes, stream.tar_bytes) == (len(stored), len(DATA))


def test_a_reader_that_stops_early_leaves_no_thread() -> None:
    with LayerStream(iter([gzip.compress(DATA, 1)])) as stream:
        next(iter(stream))


def test_errors_of_the_source_arrive_in_order() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise InvalidArgument("broken")

    prefetch = Prefetch(pieces())
    found = iter(prefetch)
    assert next(found) == b"first"
    with pytest.raises(InvalidArgument, match="broken"):
        next(found)
    prefetch.close()


def test_a_channel_is_bounded_by_bytes() -> None:
    channel = Channel(10)
    assert channel.put(bytes(6))
    assert channel.put(bytes(4))
    blocked = threading.Thread(target=channel.put, args=(b"x",))
    blocked.start()
    blocked.join(0.05)
    assert blocked.is_alive()
    found = iter(channel)
    assert len(next(found)) == 6
    blocked.join(5)
    channel.end()
    assert [len(buffer) for buffer in found] == [4, 1]


def test_a_buffer_larger_than_the_channel_passes_alone() -> None:
    channel = Channel(10)
    assert channel.put(bytes(100))
    channel.end(InvalidArgument("after it"))
    found = iter(channel)
    assert len(next(found)) == 100
    with pytest.raises(InvalidArgument, match="after it"):
        next(found)


def test_either_end_of_a_channel_can_break_off() -> None:
    channel = Channel(10)
    assert channel.put(bytes(10))
    writer = threading.Thread(target=channel.put, args=(b"x",))
    writer.start()
    channel.abort()
    writer.join(5)
    assert not writer.is_alive()
    assert not channel.put(b"nobody wants it")
    assert list(channel) == []
    never = Channel(10)
    waiting = Prefetch(iter(never))
    threading.Timer(0.05, waiting.abort, [InvalidArgument("given up")]).start()
    with pytest.raises(InvalidArgument, match="given up"):
        next(iter(waiting))
    never.end()
    waiting.close()


def test_peek_loses_nothing() -> None:
    for size in (0, 1, 3, 5, 9):
        start, rest = peek(iter([b"ab", b"", b"cde"]), size)
        assert start == b"abcde"[:size]
        assert b"".join(map(bytes, rest)) == b"abcde"


def test_files_and_pipes_are_read_from_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(3)
        assert b"".join(read_chunks(file)) == b"3456789"
    with path.open("rb") as file:
        file.read(2)  # the rest is now in Python's buffer
        assert b"".join(read_chunks(file)) == b"23456789"
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as pipe:
        os.write(write_end, b"abc")
        os.close(write_end)
        assert b"".join(read_chunks(pipe)) == b"abc"
    assert b"".join(read_chunks(io.BytesIO(b"xyz"))) == b"xyz"


def test_an_empty_stream_is_named() -> None:
    with pytest.raises(InvalidArgument, match="archive is empty"):
        plain_chunks(io.BytesIO(), "archive")
