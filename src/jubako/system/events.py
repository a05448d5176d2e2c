"""`events`: what happened in a root, as the Engine API tells it, past and to come."""

from __future__ import annotations

import time

from jubako.errors import InvalidArgument
from jubako.store import events
from jubako.system.event_filter import EventFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from jubako.store import Store
    from jubako.store.events import Event

_SECOND_NS = 1_000_000_000
_BATCH = 1000  # rows read at once


def stream(
    store: Store,
    *,
    since_ns: int | None,
    until_ns: int | None,
    filters: Mapping[str, Sequence[str]],
    follow: bool,
) -> Iterator[dict[str, Any]]:
    """See `SystemService.events`; what is to come begins with this call, not with the first item.

    Raises InvalidArgument: `until_ns` is before `since_ns`.
    """
    if since_ns is not None and until_ns is not None and until_ns < since_ns:
        since, until = since_ns // _SECOND_NS, until_ns // _SECOND_NS
        raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
    only_new = since_ns is None and until_ns is None and follow
    last_id = events.last_id(store) if only_new else 0
    return _stream(store, last_id, since_ns or 0, until_ns, EventFilter(filters), follow)


def _stream(
    store: Store,
    last_id: int,
    since_ns: int,
    until_ns: int | None,
    chosen: EventFilter,
    follow: bool,
) -> Iterator[dict[str, Any]]:
    from jubako.store.following import Changes

    with Changes(store) as changes:
        while True:
            # asked before looking, so that nothing which happened in time is left out
            over = not follow or (until_ns is not None and time.time_ns() > until_ns)
            first_id = last_id
            while batch := events.after(store, last_id, since_ns=since_ns, limit=_BATCH):
                last_id = batch[-1].id
                for event in batch:
                    if until_ns is not None and event.at_ns > until_ns:
                        continue
                    if event.kind != events.RECORDER:
                        message = to_message(event)
                        if chosen.includes(message):
                            yield message
            if over:
                return
            left_s = None if until_ns is None else (until_ns - time.time_ns()) / _SECOND_NS + 0.001
            changes.wait(left_s, found=last_id > first_id)


def to_message(event: Event) -> dict[str, Any]:
    """The API's EventMessage, with the three members of its first versions where Docker has them:
    `status` and `id` for containers and images, `from` for containers."""
    message: dict[str, Any] = {}
    if event.kind in ("container", "image"):
        message["status"] = event.action
        if event.actor:
            message["id"] = event.actor
    if event.kind == "container" and event.attributes.get("image"):
        message["from"] = event.attributes["image"]
    message["Type"] = event.kind
    message["Action"] = event.action
    attributes = dict(sorted(event.attributes.items()))
    message["Actor"] = {"ID": event.actor, "Attributes": attributes}
    message["scope"] = "local"
    message["time"] = event.at_ns // _SECOND_NS
    message["timeNano"] = event.at_ns
    return message
