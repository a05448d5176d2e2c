from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.registry.error_body import parse


def body(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (
            {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {}}]},
            ("MANIFEST_UNKNOWN", "manifest unknown"),
        ),
        ({"errors": [{"code": "DENIED"}, {"code": "OTHER"}]}, ("DENIED", "")),
        ({"message": "not here"}, ("", "not here")),
        ({"details": "incorrect username or password"}, ("", "incorrect username or password")),
        ({"error": "invalid_grant", "error_description": "it is over"}, ("", "it is over")),
        ({"errors": []}, ("", "")),
        ({"errors": [3]}, ("", "")),
        ({"errors": [{"code": 7, "message": ["x"]}]}, ("", "")),
        ({"errors": [{"code": "A B\x1b[0m", "message": "x"}]}, ("", "x")),
        (["x"], ("", "")),
        (None, ("", "")),
    ],
)
def test_bodies(document: object, found: tuple[str, str]) -> None:
    assert parse(body(document)) == found


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_says_nothing(data: bytes) -> None:
    assert parse(data) == ("", "")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["errors", "code", "message", "error", "details"]), x)
        ),
    )
)
def test_no_document_breaks_it(document: object) -> None:
    code, message = parse(body(document))
    assert isinstance(code, str) and isinstance(message, str)
