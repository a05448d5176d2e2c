"""`why`: what happened to a container, told from events, samples and the row.

    events, samples, row ──history.find──> History ──> findings, each with a sentence and its facts

It also works for what was removed, for as long as the recorder keeps it.
"""

from __future__ import annotations

from jubako.system.why import condition, endings, network, words
from jubako.system.why.findings import NOTE, OK, PROBLEM
from jubako.system.why.history import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.services import Services
    from jubako.store.events import Event
    from jubako.system.why.findings import Finding
    from jubako.system.why.history import History

__all__ = ["NOTE", "OK", "PROBLEM", "why"]
_TIMELINE = 20  # events at the end
_CHATTER = ("exec_", "top")


def why(services: Services, reference: str) -> dict[str, Any]:
    """See `SystemService.why`."""
    history = find(services, reference)
    findings: list[Finding] = [*condition.state(history), *endings.start_failure(history)]
    running = history.row is not None and history.row.running
    if not running or (history.row is not None and history.row.restart_count):
        findings += endings.last_end(history)
    findings += condition.restarts(history)
    findings += condition.health(history)
    findings += condition.log(history)
    findings += condition.resources(history)
    findings += network.ports(services, history)
    findings += network.names(history)
    return {
        "Id": history.id,
        "Name": history.name,
        "Image": history.image,
        "Removed": history.row is None,
        "Status": "removed" if history.row is None else history.row.status,
        "EarlierOfThisName": history.earlier,
        "Findings": findings,
        "Timeline": _timeline(history),
    }


def _timeline(history: History) -> list[dict[str, Any]]:
    """The last events, without what was only looked at or run beside."""
    told = [event for event in history.events if not event.action.startswith(_CHATTER)]
    return [_line(event) for event in told[-_TIMELINE:]]


def _line(event: Event) -> dict[str, Any]:
    attributes = event.attributes
    keys = ("exitCode", "execDuration", "signal", "oldName", "error")
    line: dict[str, Any] = {
        "At": words.rfc3339(event.at_ns),
        "Action": event.action,
        "Attributes": {key: attributes[key] for key in keys if key in attributes},
    }
    if event.notes.get("by"):
        line["By"] = words.who(event.notes["by"])
    return line
