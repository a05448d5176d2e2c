"""Durations as Go's `time` reads them."""

from __future__ import annotations

from jubako.golang.quote import quote

_INT64_MAX = (1 << 63) - 1

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = r"(\d*)(?:\.(\d*))?([^\d.]*)"


def parse_duration(text: str) -> int:
    """Go's `time.ParseDuration`: `1h30m`, `1.5s`, `-2ms`; nanoseconds."""
    import re

    bad = f"time: invalid duration {quote(text)}"
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(bad)
    total = 0
    while rest:
        match = re.match(_DURATION_PART, rest, re.ASCII)
        if match is None or not (match[1] or match[2]):
            raise ValueError(bad)
        if not match[3]:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        scale = _NANOSECONDS.get(match[3])
        if scale is None:
            raise ValueError(f"time: unknown unit {quote(match[3])} in duration {quote(text)}")
        fraction = match[2] or ""
        total += int(match[1] or 0) * scale + int(fraction or 0) * scale // 10 ** len(fraction)
        if total > _INT64_MAX:
            raise ValueError(bad)
        rest = rest[match.end() :]
    return -total if text[0] == "-" else total
