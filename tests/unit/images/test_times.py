from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images.times import ZERO, format_ns, parse_ns, parse_until


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T19:00:00-05:00", 0),
        ("1970-01-02", 86400 * 10**9),
        ("1970-01-01T00:00:00.123456789123Z", 123_456_789),
        (ZERO, -62135596800 * 10**9),
        ("", -62135596800 * 10**9),
    ],
)
def test_rfc3339(text: str, expected: int) -> None:
    assert parse_ns(text) == expected


@given(st.integers(0, 1 << 62))
def test_formatting_and_parsing_are_inverse(time_ns: int) -> None:
    assert parse_ns(format_ns(time_ns)) == time_ns


@pytest.mark.parametrize("text", ["soon", "2024-13-01", "2024-01-01T25:00:00Z", "1e9", "²"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_ns(text)
    with pytest.raises(InvalidArgument):
        parse_until(text)


def test_until_takes_ages_moments_and_unix_time() -> None:
    now = time.time_ns()
    assert abs(parse_until("1h30m") - (now - 5400 * 10**9)) < 10**9
    assert abs(parse_until("-1.5s") - (now + 1_500_000_000)) < 10**9
    assert parse_until("1700000000.25") == 1_700_000_000_250_000_000
    assert parse_until("1970-01-01T00:00:10") == 10 * 10**9
    with pytest.raises(InvalidArgument):
        parse_until("")
