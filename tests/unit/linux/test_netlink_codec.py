"""The bytes of netlink messages."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import KernelError
from jubako.linux.netlink import codec

KINDS = st.integers(min_value=0, max_value=codec.NLA_TYPE_MASK)
ATTRIBUTES = st.lists(st.tuples(KINDS, st.binary(max_size=300)), max_size=12)


def encode(items: list[tuple[int, bytes]]) -> bytes:
    return b"".join(codec.attribute(kind, value) for kind, value in items)


@given(ATTRIBUTES)
def test_attributes_survive_a_round_trip(items: list[tuple[int, bytes]]) -> None:
    data = encode(items)
    assert len(data) % 4 == 0
    assert list(codec.attributes(data)) == items
    assert codec.mapping(data) == dict(items)


@given(KINDS, ATTRIBUTES)
def test_nested_attributes_survive_a_round_trip(kind: int, items: list[tuple[int, bytes]]) -> None:
    parts = [codec.attribute(inner, value) for inner, value in items]
    ((outer, value),) = codec.attributes(codec.nested(kind, *parts))
    assert outer == kind
    assert list(codec.attributes(value)) == items


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFF),
            st.integers(0, 0xFFFFFFFF),
            st.binary(max_size=200),
        ),
        max_size=8,
    )
)
def test_messages_survive_a_round_trip(items: list[tuple[int, int, int, bytes]]) -> None:
    data = b"".join(codec.pack_message(*item) for item in items)
    found = [
        (message.kind, message.flags, message.sequence, message.body)
        for message in codec.messages(data)
    ]
    assert found == items


@given(st.binary(max_size=400))
def test_any_bytes_are_read_to_an_end(data: bytes) -> None:
    """What no kernel sends gives attributes or EBADMSG, never another error or an endless loop."""
    for read in (codec.attributes, codec.messages):
        try:
            assert len(list(read(data))) <= len(data)
        except KernelError as exc:
            assert exc.errno == errno.EBADMSG


@given(st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_numbers(small: int, middle: int, large: int) -> None:
    def value(data: bytes) -> bytes:
        ((_, found),) = codec.attributes(data)
        return found

    assert codec.integer(value(codec.u8(1, small))) == small
    assert codec.integer(value(codec.u16(1, middle))) == middle
    assert codec.integer(value(codec.u32(1, large))) == large
    assert int.from_bytes(value(codec.be16(1, middle)), "big") == middle
    assert int.from_bytes(value(codec.be32(1, large)), "big") == large
    assert codec.integer(None, 7) == 7


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])))
def test_strings_end_with_a_nul(text: str) -> None:
    ((_, value),) = codec.attributes(codec.text(3, text))
    assert value.endswith(b"\0")
    assert codec.string(value) == text


def test_a_missing_string_is_empty() -> None:
    assert codec.string(None) == ""


def test_an_attribute_as_iproute2_writes_it() -> None:
    assert codec.text(3, "br0") == struct.pack("=HH", 8, 3) + b"br0\0"
    assert codec.u8(4, 1) == struct.pack("=HHBxxx", 5, 4, 1)
    assert codec.nested(2, codec.u8(4, 1))[:4] == struct.pack("=HH", 12, 2 | codec.NLA_F_NESTED)


def test_a_value_that_is_too_long_is_refused() -> None:
    with pytest.raises(KernelError) as caught:
        codec.attribute(1, bytes(70_000))
    assert caught.value.errno == errno.EMSGSIZE
