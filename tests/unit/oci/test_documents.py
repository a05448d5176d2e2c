from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.oci.documents import parse_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": 1, "b": 2, "a": 1}', "the member 'a' is there twice"),
        (b'[{"x": {"b": 1, "b": 2}}]', "the member 'b' is there twice"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        (b'\xef\xbb\xbf{"a": 1}', "Expecting value|BOM"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'{"\\uDC00x": 1}', "half a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "integer string conversion"),
    ],
)
def test_what_readers_could_disagree_about_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=f"x.json: not valid JSON: .*({reason})"):
        parse_json(data, "x.json")


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_json(b'["\\ud83d\\ude00", "\\\\ud800"]', "x") == ["\U0001f600", "\\ud800"]


def test_the_message_is_short() -> None:
    with pytest.raises(InvalidArgument) as info:
        parse_json(b'{"%s": 1, "%s": 2}' % (b"a" * 9999, b"a" * 9999), "x.json")
    assert len(str(info.value)) < 300


def test_a_large_object_is_refused_as_fast_as_it_is_read() -> None:
    names = [f'"{number}": 0' for number in range(200_000)]
    with pytest.raises(InvalidArgument, match="'199999' is there twice"):
        parse_json(f"{{{', '.join([*names, names[-1]])}}}".encode(), "x")


@given(VALUES)
def test_good_json_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=False).encode(), "x") == value
    assert parse_json(json.dumps(value).encode(), "x") == value


@given(st.binary() | st.text(alphabet='{}[]",:\\ud8019a').map(str.encode))
def test_other_bytes_are_refused_in_words_or_make_printable_texts(data: bytes) -> None:
    try:
        value = parse_json(data, "x")
    except InvalidArgument as exc:
        str(exc).encode()
    else:
        json.dumps(value, ensure_ascii=False).encode()
