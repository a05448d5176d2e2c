"""Numbers and truth values as Go's `strconv` reads them, with its sentences."""

from __future__ import annotations

from jubako.golang.quote import quote

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_INT64_MAX = (1 << 63) - 1


def parse_bool(text: str) -> bool:
    """`strconv.ParseBool`.  Raises ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def atoi(text: str) -> int:
    """`strconv.Atoi`: a signed decimal number.  Raises ValueError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    return _in_range("Atoi", text, -_INT64_MAX - 1, _INT64_MAX)


def parse_uint(text: str, largest: int = _INT64_MAX * 2 + 1) -> int:
    """`strconv.ParseUint`, decimal.  Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    return _in_range("ParseUint", text, 0, largest)


def _in_range(function: str, text: str, least: int, largest: int) -> int:
    number = int(text) if len(text) <= 32 else largest + 1
    if not least <= number <= largest:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return number
