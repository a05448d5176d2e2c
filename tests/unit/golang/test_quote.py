"""Quoting as Go does it."""

from __future__ import annotations

import pytest

from jubako.golang.quote import quote, quote_rune


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", '""'),
        ("plain é 日", '"plain é 日"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x1b\x7f", '"\\x00\\x1b\\x7f"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quote(text: str, shown: str) -> None:
    assert quote(text) == shown


def test_quote_rune() -> None:
    assert [quote_rune(char) for char in "z'\"\n"] == ["'z'", "'\\''", "'\"'", "'\\n'"]
