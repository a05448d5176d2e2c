"""Filters of lists and prunes as moby's package `api/types/filters` reads them, in its words."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.golang.number import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    Filters = Mapping[str, Sequence[str]]

_SHOWN = 40  # characters of a value, in an error


def check_names(filters: Filters, known: Collection[str]) -> None:
    """Raises InvalidArgument for a filter that is not `known`."""
    for name in filters:
        if name not in known:
            raise InvalidArgument(f"invalid filter '{name}'", subject=name)


def boolean(filters: Filters, name: str) -> bool | None:
    """The value of a filter that is true or false; None without it.  Raises InvalidArgument."""
    values = filters.get(name)
    if not values:
        return None
    try:
        (value,) = values
        return parse_bool(value)
    except ValueError:
        shown = " ".join(value[:_SHOWN] for value in values)
        raise InvalidArgument(f"invalid filter '{name}=[{shown}]'", subject=name) from None


def has_labels(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether all of `KEY` and `KEY=VALUE` are there."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
