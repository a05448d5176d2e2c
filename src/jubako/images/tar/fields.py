"""Numbers and records in tar headers."""

from __future__ import annotations

from jubako.errors import InvalidArgument

_MAX_NUMBER = (1 << 63) - 1

# What every file system can store; times outside are moved to the nearest.
_MIN_TIME_NS = -(1 << 31) * 1_000_000_000
_MAX_TIME_NS = (1 << 33) * 1_000_000_000


def number(field: bytes, what: str) -> int:
    """A numeric header field: octal digits, or base-256 when the first bit is set (GNU, star)."""
    text = field.rstrip(b" \0")
    if text.isdigit() and not text.translate(None, b"01234567"):
        return int(text, 8)
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big")
        bits = len(field) * 8
        if first & 0x40:
            value -= 1 << bits  # negative, two's complement
        else:
            value &= (1 << (bits - 1)) - 1
        if not -_MAX_NUMBER - 1 <= value <= _MAX_NUMBER:
            raise InvalidArgument(f"{what} is out of range")
        return value
    text = field.strip(b" \0")
    if not text:
        return 0
    end = text.find(b"\0")
    if end >= 0:
        text = text[:end].rstrip(b" ")
    try:
        # int() would take a sign, underscores and "0o" as well
        if text.strip(b"01234567"):
            raise ValueError
        return int(text, 8)
    except ValueError:
        raise InvalidArgument(f"{what} is not a number: {field[:24]!r}") from None


def decimal(text: bytes, what: str) -> int:
    """A non-negative decimal number of a pax record."""
    if not text.isdigit() or len(text) > 19 or (value := int(text)) > _MAX_NUMBER:
        raise InvalidArgument(f"{what} is not a number: {text[:24]!r}")
    return value


def time_ns(text: bytes, what: str) -> int:
    """A pax time, `[-]seconds[.fraction]`, to nanoseconds, clamped to what can be stored."""
    negative = text.startswith(b"-")
    whole, dot, fraction = text[negative:].partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) > 30:
        raise InvalidArgument(f"{what} is not a time: {text[:40]!r}")
    value = int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return clamp_time(-value if negative else value)


def clamp_time(time_ns: int) -> int:
    """The nearest time that a file can have."""
    return max(_MIN_TIME_NS, min(time_ns, _MAX_TIME_NS))


def pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header, in their order.

    Raises InvalidArgument for anything malformed.
    """
    records = []
    at = 0
    end = len(data)
    while at < end:
        space = data.find(b" ", at, at + 21)
        digits = data[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise InvalidArgument("extended header: a record has no length")
        stop = at + int(digits)
        if stop > end or stop <= space + 1 or data[stop - 1] != 0x0A:
            raise InvalidArgument("extended header: a record has a wrong length")
        equals = data.find(b"=", space + 1, stop)
        if equals <= space + 1:
            raise InvalidArgument("extended header: a record has no key")
        records.append((data[space + 1 : equals], data[equals + 1 : stop - 1]))
        at = stop
    return records
