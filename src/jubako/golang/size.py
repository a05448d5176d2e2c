"""Sizes as Docker's go-units reads them."""

from __future__ import annotations

from jubako.golang.quote import quote

_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_bytes(text: str, base: int = 1024) -> int:
    """`512m`, `1.5 GiB`, `100`: a size in bytes, units are powers of `base`, their case is free.

    Raises ValueError with Docker's sentence.
    """
    last = max((text.rfind(char) for char in "0123456789. "), default=-1)
    if last < 0:
        raise ValueError(f"invalid size: '{text}'")
    number = text[:last] if text[last] == " " else text[: last + 1]
    suffix = text[last + 1 :].lower()
    size = _parse_float(number)
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if suffix and suffix != "b":
        if suffix[0] not in _POWERS or suffix[1:] not in ("", "b", "ib"):
            raise ValueError(
                f"invalid suffix: '{suffix if len(suffix) <= 3 else text[last + 1 :]}'"
            )
        size *= base ** _POWERS[suffix[0]]
    if not size < float(1 << 63):
        raise ValueError(f"invalid size: '{text}': too large")
    return int(size)


def _parse_float(text: str) -> float:
    """A decimal number as Go's `strconv.ParseFloat` takes it; no other spelling of Python's."""
    try:
        if not text.isascii() or text != text.strip() or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax") from None
