"""Sizes, durations and moments, read and written as Docker does (go-units and Go's `time`)."""

from __future__ import annotations

import time

from jubako.golang.duration import parse_duration
from jubako.golang.quote import quote
from jubako.golang.size import parse_bytes

# Unix seconds of Go's zero time, in year 1, by which Docker's API says that a time is unknown.
UNKNOWN_TIME = -62_135_596_800
NOT_KNOWN = "N/A"
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def parse_swap(text: str) -> int:
    """Like `parse_bytes`, and -1 for unlimited."""
    return -1 if text == "-1" else parse_bytes(text)


_RATIONAL = r"([+-]?)(?:(\d+)/(\d+)|(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?)"


def parse_cpus(text: str) -> int:
    """`1.5` or `3/2` processors, in units of 1e-9."""
    import re  # not at the top: `run` without such a flag does not need it

    match = re.fullmatch(_RATIONAL, text, re.ASCII)
    if match is None or not (match[2] or match[4] or match[5]) or match[3] == "0":
        raise ValueError(f"failed to parse {text} as a rational number")
    if match[2]:
        top, bottom = int(match[2]) * 10**9, int(match[3])
        if bottom == 0:
            raise ValueError(f"failed to parse {text} as a rational number")
    else:
        fraction = match[5] or ""
        exponent = 9 - len(fraction) + int(match[6] or 0)
        top = int((match[4] or "") + fraction) * 10 ** max(exponent, 0)
        bottom = 10 ** max(-exponent, 0)
    if top % bottom:
        raise ValueError("value is too precise")
    nano = top // bottom
    return -nano if match[1] == "-" else nano


_MOMENT = (
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?"
    r"(Z|[+-]\d\d:\d\d)?"
)


def parse_moment(text: str, now: float | None = None) -> float:
    """A point in time as `logs --since` takes it; returns Unix seconds.

    text: Unix seconds with an optional fraction, a duration ago (`42m`), or a date and time, in
    the local time zone when it names none.  now: the reference of durations.
    """
    import re

    try:
        return (time.time() if now is None else now) - parse_duration(text) / 1e9
    except ValueError:
        pass
    if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    match = re.fullmatch(_MOMENT, text, re.ASCII)
    if match is None:
        raise ValueError(f"failed to parse value as time or duration: {quote(text)}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    import calendar

    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]) or not (
        hour < 24 and minute < 60 and second < 60
    ):
        raise ValueError(f"failed to parse value as time or duration: {quote(text)}")
    fraction = float(f"0.{match[7] or 0}")
    fields = (year, month, day, hour, minute, second, 0, 0, -1)
    if match[8] is None:
        return time.mktime(fields) + fraction
    zone = 0
    if match[8] != "Z":
        sign = -1 if match[8][0] == "-" else 1
        zone = sign * (int(match[8][1:3]) * 3600 + int(match[8][4:6]) * 60)
    return calendar.timegm(fields) - zone + fraction


def human_size(size_bytes: float, digits: int = 4) -> str:
    """`1.23kB`: powers of 1000 with that many significant digits."""
    return _scaled(size_bytes, 1000.0, _DECIMAL, digits)


def binary_size(size_bytes: float) -> str:
    """`1.5GiB`: powers of 1024."""
    return _scaled(size_bytes, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    size = float(size)
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{names[index]}"


def ago(unix_seconds: float) -> str:
    """How long since a moment: `2 hours ago`; `N/A` if it is not known."""
    if unix_seconds == UNKNOWN_TIME:
        return NOT_KNOWN
    from jubako.containers.listing import human_duration

    return human_duration(time.time() - unix_seconds) + " ago"


def go_time(unix_seconds: float) -> str:
    """A moment as Go prints a `time.Time`: `2024-05-06 07:08:09 +0200 CEST`; `N/A` as in `ago`."""
    if unix_seconds == UNKNOWN_TIME:
        return NOT_KNOWN
    local = time.localtime(unix_seconds)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", local)


def rfc3339(unix_seconds: float) -> str:
    """A moment in the local time zone: `2024-05-06T07:08:09+02:00`; `N/A` as in `ago`."""
    if unix_seconds == UNKNOWN_TIME:
        return NOT_KNOWN
    local = time.localtime(unix_seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + shown
