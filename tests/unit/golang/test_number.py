"""Numbers and truth values as Go's strconv reads them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from jubako.golang.number import atoi, parse_bool, parse_uint


def test_what_is_a_number() -> None:
    assert [atoi(text) for text in ("0", "-5", "+7", "007")] == [0, -5, 7, 7]
    assert parse_uint("70000") == 70000
    assert parse_bool("T") and not parse_bool("FALSE")


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (atoi, "", 'strconv.Atoi: parsing "": invalid syntax'),
        (atoi, "1_0", 'strconv.Atoi: parsing "1_0": invalid syntax'),
        (atoi, "٣", 'strconv.Atoi: parsing "٣": invalid syntax'),
        (atoi, "9" * 50, f'strconv.Atoi: parsing "{"9" * 50}": value out of range'),
        (parse_uint, "-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        (
            lambda text: parse_uint(text, 65535),
            "65536",
            'strconv.ParseUint: parsing "65536": value out of range',
        ),
        (parse_bool, "yes", 'strconv.ParseBool: parsing "yes": invalid syntax'),
    ],
)
def test_what_is_none(parse: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        parse(text)
