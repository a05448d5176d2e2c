"""Compression that stops where it costs more time than it saves."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from jubako.images.content.recipes import segmented
from jubako.images.copying.adaptive import compress, store

_TEXT = b"words that compress well, " * 400_000  # ten segments


class Clock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def read(reader_s_per_byte: float, deflating_s: float) -> bytes:
    """What a reader gets who takes so long for each byte; deflating a segment costs so much."""
    clock, work = Clock(), Clock()

    def cost() -> float:
        work.now += deflating_s / 2  # asked before and after each segment
        return work.now

    parts = []
    for piece in compress(iter([_TEXT]), clock=clock, cost=cost):
        parts.append(piece)
        clock.now += len(piece) * reader_s_per_byte
    return b"".join(parts)


def test_a_slow_reader_gets_it_compressed() -> None:
    data = read(1e-3, 0.01)
    assert gzip.decompress(data) == _TEXT
    assert len(data) < len(_TEXT) / 20


def test_a_fast_reader_gets_it_as_it_is() -> None:
    data = read(0.0, 0.01)
    assert gzip.decompress(data) == _TEXT
    assert len(data) > len(_TEXT) * 0.5


@given(st.binary(max_size=200_000))
def test_stored_blocks_are_read_by_everybody(data: bytes) -> None:
    def chunks() -> Iterator[bytes]:
        yield data

    assert gzip.decompress(b"".join(segmented(chunks(), store))) == data
