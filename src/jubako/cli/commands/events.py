"""`jubako events`: what happens to containers, images, networks and volumes, as it happens."""

from __future__ import annotations

import re
import time

from jubako.cli import filters
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.inspecting import BAD_TEMPLATE
from jubako.cli.listing import escape_html, to_json
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        filters.filter_flag(),
        Flag("format", "", STRING),
        Flag("since", "", STRING),
        Flag("until", "", STRING),
    ),
)


def run(session: Session, call: Call) -> int:
    from jubako.golang.template import TemplateError

    try:
        to_line = _formatter(call.text("format"))
    except TemplateError as exc:
        session.report(InvalidArgument(f"Error parsing format: {exc}"))
        return BAD_TEMPLATE
    messages = session.engine.system.events(
        since=_moment(call.text("since")),
        until=_moment(call.text("until")),
        filters=filters.collect(call),
    )
    for message in messages:
        try:
            session.out(to_line(message))
        except TemplateError as exc:
            session.report(InvalidArgument(f"Error parsing format: {exc}"))
            return BAD_TEMPLATE
    return 0


def _formatter(layout: str) -> Callable[[Any], str]:
    if not layout:
        return _line
    if layout == "json":
        return lambda message: escape_html(to_json(message))
    from jubako.golang.template import parse, render

    template = parse(layout)
    return lambda message: render(template, _Message(message))


def _line(message: Any) -> str:
    actor = message["Actor"]
    line = f"{_time(message['timeNano'])} {message['Type']} {message['Action']} {actor['ID']}"
    attributes = actor["Attributes"]
    if attributes:
        line += " (" + ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes)) + ")"
    return line


def _time(at_ns: int) -> str:
    """RFC 3339 in the local time zone with all nine digits."""
    seconds, fraction = divmod(at_ns, 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09}{shown}"


class _Message:
    """An event seen from a template: Go's names of the fields, which its JSON does not have."""

    go_type = "*events.Message"

    def __init__(self, message: Any):
        from jubako.golang.template.values import Map

        actor = message["Actor"]
        self._message = message
        self._fields = {
            "Action": message["Action"],
            "Actor": {"ID": actor["ID"], "Attributes": Map(actor["Attributes"], "")},
            "From": message.get("from", ""),
            "ID": message.get("id", ""),
            "Scope": message["scope"],
            "Status": message.get("status", ""),
            "Time": message["time"],
            "TimeNano": message["timeNano"],
            "Type": message["Type"],
        }

    def lookup(self, name: str) -> Any:
        return self._fields[name]

    def to_json(self) -> Any:
        return self._message


def _moment(text: str) -> float | Decimal | None:
    """A time of the command line, exact to the nanosecond where it is a number."""
    if not text:
        return None
    from decimal import Decimal

    from jubako.cli.units import parse_moment

    if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text, re.ASCII):
        return Decimal(text)
    try:
        return parse_moment(text)
    except ValueError as exc:
        raise InvalidArgument(str(exc)) from None
