"""Detach keys: parsing, and finding them in what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.streams.terminal import DetachFilter, parse_detach_keys
from jubako.errors import Detached, InvalidArgument


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (None, b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-@,a,ctrl-_", b"\x00a\x1f"),
        ("", b""),
    ],
)
def test_parse(text: str | None, keys: bytes) -> None:
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-p,,ctrl-q", "enter", "ctrl-1", "CTRL-A"])
def test_unknown_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid detach keys"):
        parse_detach_keys(text)


@given(st.binary(), st.integers(1, 5))
def test_without_the_sequence_everything_passes(data: bytes, step: int) -> None:
    keys = b"\x10\x11"
    data = data.replace(keys, b"")
    if keys in data or data.endswith(keys[:1]):
        return
    passed = b""
    keys_filter = DetachFilter(keys)
    for at in range(0, len(data), step):
        passed += keys_filter.feed(data[at : at + step])
    assert passed == data


@given(st.binary(max_size=20).filter(lambda data: b"\x10" not in data), st.integers(1, 5))
def test_the_sequence_detaches_however_it_arrives(before: bytes, step: int) -> None:
    data = before + b"\x10\x11"
    keys_filter = DetachFilter(b"\x10\x11")
    with pytest.raises(Detached):
        for at in range(0, len(data), step):
            keys_filter.feed(data[at : at + step])


def test_a_started_sequence_is_delivered_when_it_breaks_off() -> None:
    keys_filter = DetachFilter(b"\x10\x11")
    assert keys_filter.feed(b"a\x10") == b"a"
    assert keys_filter.feed(b"b") == b"\x10b"
    assert keys_filter.feed(b"\x10\x10") == b"\x10"
