"""Times in image configs and filters."""

from __future__ import annotations

import calendar
import re
import time

from jubako.errors import InvalidArgument

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,9})\d*)?)?)?)?"
    r"([Zz]|[+-]\d\d:?\d\d)?\Z",
    re.ASCII,
)
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s|us|µs|ns))+\Z", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)", re.ASCII)
_UNIX = re.compile(r"(\d{1,11})(?:\.(\d+))?\Z", re.ASCII)
_UNIT_NS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}
ZERO = "0001-01-01T00:00:00Z"  # Go's zero time, which Docker prints for an unknown one


def format_ns(time_ns: int) -> str:
    """RFC 3339 in UTC, as Go prints it: no trailing zeros of the fraction."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    text = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + "Z"


def parse_ns(text: str) -> int:
    """RFC 3339, also shortened and without a zone (UTC then), to nanoseconds since 1970.

    An empty text is Go's zero time.  Raises InvalidArgument.
    """
    match = _RFC3339.match(text or ZERO)
    if match is None:
        raise InvalidArgument(f"not a time: {text[:80]!r}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    possible = hour < 24 and minute < 60 and second <= 60
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and possible):
        raise InvalidArgument(f"not a time: {text[:80]!r}")
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    zone = match[8]
    if zone and zone not in "Zz":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 1_000_000_000 + int((match[7] or "").ljust(9, "0"))


def parse_until(text: str) -> int:
    """A filter's moment in nanoseconds since 1970: a time, Unix seconds, or how long ago (`24h`).

    Raises InvalidArgument.
    """
    if _DURATION.match(text):
        ago = sum(int(float(number) * _UNIT_NS[unit]) for number, unit in _PART.findall(text))
        return time.time_ns() - (-ago if text.startswith("-") else ago)
    unix = _UNIX.match(text)
    if unix is not None:
        return int(unix[1]) * 1_000_000_000 + int((unix[2] or "")[:9].ljust(9, "0"))
    try:
        return parse_ns(text) if text else _refuse(text)
    except InvalidArgument:
        return _refuse(text)


def _refuse(text: str) -> int:
    raise InvalidArgument(
        f'failed to parse value as time or duration: "{text[:80]}"',
        hint="give an age such as 24h, a time such as 2006-01-02T15:04:05, or Unix seconds",
    )
