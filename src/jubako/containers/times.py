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
    import calendar

    whole, _, fraction = text.rstrip("Z").partition(".")
    parsed = time.strptime(whole, "%Y-%m-%dT%H:%M:%S")
    return calendar.timegm(parsed) + (float(f"0.{fraction}") if fraction else 0.0)
