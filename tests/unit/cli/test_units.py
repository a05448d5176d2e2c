"""Sizes, durations and moments: what go-units and Go's time accept and print."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.cli import units


def test_parse_swap() -> None:
    assert units.parse_swap("-1") == -1
    assert units.parse_swap("1m") == 1 << 20


@pytest.mark.parametrize(
    ("text", "nano"),
    [("1", 10**9), ("1.5", 15 * 10**8), ("3/2", 15 * 10**8), ("1e-3", 10**6), ("-1", -(10**9))],
)
def test_parse_cpus(text: str, nano: int) -> None:
    assert units.parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["x", "", ".", "1/0", "1/x", "0x1", "1 "])
def test_parse_cpus_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="as a rational number"):
        units.parse_cpus(text)


def test_parse_cpus_is_exact() -> None:
    with pytest.raises(ValueError, match="too precise"):
        units.parse_cpus("1/3")
    with pytest.raises(ValueError, match="too precise"):
        units.parse_cpus("0.0000000001")


@given(st.integers(0, 10**13))
def test_parse_cpus_round_trips(nano: int) -> None:
    assert units.parse_cpus(f"{nano // 10**9}.{nano % 10**9:09}") == nano


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("42m", 1_000_000 - 42 * 60),
        ("1700000000", 1_700_000_000),
        ("1700000000.25", 1_700_000_000.25),
        ("2013-01-02T13:23:37Z", 1_357_133_017),
        ("2013-01-02T13:23:37.5Z", 1_357_133_017.5),
        ("2013-01-02T13:23:37+02:00", 1_357_125_817),
        ("2013-01-02Z", 1_357_084_800),
        ("2013-01-02T13:23Z", 1_357_132_980),
    ],
)
def test_parse_moment(text: str, moment: float) -> None:
    assert units.parse_moment(text, now=1_000_000) == moment


def test_parse_moment_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC+3")
    time.tzset()
    try:
        assert units.parse_moment("2013-01-02T13:23:37") == 1_357_133_017 + 3 * 3600
        assert units.go_time(0) == "1969-12-31 21:00:00 -0300 UTC"
        assert units.rfc3339(0) == "1969-12-31T21:00:00-03:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["yesterday", "2013-13-01", "2013-02-30", "2013-01-01T25", "12:00"]
)
def test_parse_moment_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="failed to parse value as time or duration"):
        units.parse_moment(text)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1024, "1.02kB"),
        (1982319, "1.98MB"),
        (123456789, "123MB"),
        (10**12, "1TB"),
    ],
)
def test_human_size(size_bytes: int, shown: str) -> None:
    assert units.human_size(size_bytes, 3) == shown


def test_sizes_with_four_digits() -> None:
    assert units.human_size(2746000) == "2.746MB"
    assert units.binary_size(8 << 30) == "8GiB"
    assert units.binary_size(1536) == "1.5KiB"
