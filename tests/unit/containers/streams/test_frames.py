"""The attach protocol: whatever way the bytes are cut, the same frames come out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.streams import frames
from jubako.errors import Unavailable

_FRAMES = st.lists(st.tuples(st.integers(0, 7), st.binary(max_size=300)), max_size=8)


@given(_FRAMES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_survive_any_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(frames.encode(kind, payload) for kind, payload in sent)
    decoder = frames.Decoder()
    received: list[tuple[int, bytes]] = []
    at = turn = 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        received += decoder.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert received == sent


def test_a_frame_of_impossible_length_is_refused() -> None:
    with pytest.raises(Unavailable, match="exceeds"):
        list(frames.Decoder().feed(b"\x01\xff\xff\xff\xff"))


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_resize_round_trip(rows: int, columns: int) -> None:
    ((kind, payload),) = frames.Decoder().feed(frames.encode_resize(rows, columns))
    assert (kind, frames.decode_resize(payload)) == (frames.RESIZE, (rows, columns))


def test_a_malformed_resize_is_no_size() -> None:
    assert frames.decode_resize(b"\x00") == (0, 0)
