"""Sizes as go-units reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.golang.size import parse_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("100", 100),
        ("100b", 100),
        ("1k", 1024),
        ("1K", 1024),
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("1.5 GiB", 3 << 29),
        ("2TB", 2 << 40),
        ("1p", 1 << 50),
        ("1e3", 1000),
        (".5k", 512),
    ],
)
def test_parse_bytes(text: str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "invalid size: 'abc'"),
        ("", "invalid size: ''"),
        ("-1", "invalid size: '-1'"),
        ("1x", "invalid suffix: 'x'"),
        ("1kx", "invalid suffix: 'kx'"),
        ("1 mega", "invalid suffix: 'mega'"),
        ("1  m", 'strconv.ParseFloat: parsing "1 ": invalid syntax'),
        ("1.2.3m", 'strconv.ParseFloat: parsing "1.2.3": invalid syntax'),
        ("m5", 'strconv.ParseFloat: parsing "m5": invalid syntax'),
        ("9e30", "invalid size: '9e30': too large"),
    ],
)
def test_parse_bytes_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_bytes(text)
    assert str(caught.value) == message


@given(st.text(max_size=12))
def test_parse_bytes_gives_a_size_or_an_error(text: str) -> None:
    try:
        assert 0 <= parse_bytes(text) < 1 << 63
    except ValueError:
        pass


@given(st.integers(0, 1 << 32), st.sampled_from(["", "b", "k", "kb", "KiB", "m", "g"]))
def test_parse_bytes_scales(number: int, unit: str) -> None:
    power = {"k": 1, "m": 2, "g": 3}.get(unit[:1].lower(), 0)
    assert parse_bytes(f"{number}{unit}") == number * 1024**power
