"""`--filter name=value`, which may be repeated."""

from __future__ import annotations

from jubako.cli.flags import Flag, Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call


def parse_filter(text: str) -> tuple[str, str] | None:
    """One filter; None for the empty text, which Docker ignores.  Raises ValueError."""
    if not text:
        return None
    name, found, value = text.partition("=")
    if not found:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


FILTER = Kind("filter", parse_filter, many=True, zero=())


def filter_flag(short: str = "f") -> Flag:
    return Flag("filter", short, FILTER)


def collect(call: Call) -> dict[str, list[str]]:
    """The filters of a call by name, each with its values in order and once."""
    found: dict[str, list[str]] = {}
    for pair in call.many("filter"):
        if pair is not None:
            values = found.setdefault(pair[0], [])
            if pair[1] not in values:
                values.append(pair[1])
    return found
