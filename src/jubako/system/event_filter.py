"""`events --filter`: which events are wanted, by moby's rules (daemon/events/filter.go).

A filter that names an object (`container=web`) lets an event pass whose actor's ID or `name` begins
with the value, whatever the event's type; several values of one filter are alternatives, several
filters must all be met.  What is none of the known filters has no effect, as with Docker.
"""

from __future__ import annotations

from jubako.errors import InvalidReference
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_OBJECTS = (
    "daemon",
    "container",
    "plugin",
    "volume",
    "network",
    "node",
    "service",
    "secret",
    "config",
)
# These actions go on with a colon and what they are about, `exec_start: ls`.
_WITH_DETAIL = frozenset(("health_status", "exec_create", "exec_start"))


class EventFilter:
    """filters: by name, each with its values."""

    def __init__(self, filters: Mapping[str, Sequence[str]]):
        self._filters = {name: values for name, values in filters.items() if values}

    def includes(self, message: Mapping[str, Any]) -> bool:
        """Whether an EventMessage passes all filters."""
        actor = message["Actor"]
        attributes: Mapping[str, str] = actor["Attributes"]
        names = (actor["ID"], attributes.get("name", ""))
        return (
            self._has_action(message["Action"])
            and self._is_one("type", message["Type"])
            and self._is_one("scope", message["scope"])
            and all(self._begins(kind, names) for kind in _OBJECTS)
            and self._has_image(message)
            and all(_has_label(attributes, label) for label in self._filters.get("label", ()))
        )

    def _is_one(self, name: str, *texts: str) -> bool:
        wanted = self._filters.get(name)
        return wanted is None or any(text in wanted for text in texts)

    def _begins(self, name: str, texts: Sequence[str]) -> bool:
        wanted = self._filters.get(name)
        return wanted is None or any(text.startswith(value) for value in wanted for text in texts)

    def _has_action(self, action: str) -> bool:
        if _WITH_DETAIL.isdisjoint(self._filters.get("event", ())):
            return self._is_one("event", action)
        return self._begins("event", (action,))

    def _has_image(self, message: Mapping[str, Any]) -> bool:
        if "image" not in self._filters:
            return True
        actor = message["Actor"]
        key = "name" if message["Type"] == "image" else "image"
        name = actor["Attributes"].get(key, "")
        return self._is_one("image", actor["ID"], name, _untagged(actor["ID"]), _untagged(name))


def _has_label(attributes: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in attributes and (not equals or attributes[key] == value)


def _untagged(name: str) -> str:
    """A name without tag and digest, as users type it; what is no name stays as it is."""
    try:
        return parse(name).familiar_name()
    except InvalidReference:
        return name
