"""Times as text, the way Docker writes them."""

from __future__ import annotations

import time

NEVER = "0001-01-01T00:00:00Z"  # how Docker writes the time of what has not happened


def now() -> str:
    """The present in RFC 3339 with nanoseconds, UTC."""
    return timestamp(time.time_ns())


def timestamp(at_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 text with nine digits, UTC."""
    seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"


def seconds(text: str) -> float:
    """RFC 3339 UTC text, as `timestamp` and Docker write it, to seconds since 1970."""
    # not time.strptime and calendar, which cost `ps` and the monitor milliseconds
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    fraction = text[19:].rstrip("Z")
    whole = ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
    return whole + (float(f"0{fraction}") if fraction else 0.0)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; the year is taken to begin in March, so that the leap day is last."""
    year -= month < 3
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719468
