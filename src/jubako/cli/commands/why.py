"""`jubako why`: what happened to a container, in plain words."""

from __future__ import annotations

import textwrap

from jubako.cli import inspecting
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.listing import short_id
from jubako.cli.session import colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS] CONTAINER", (Flag("format", "f", STRING),), minimum=1, maximum=1)
_MARKS = {"ok": "+", "note": "-", "problem": "!"}
_COLOURS = {"ok": "32", "note": "0", "problem": "31"}
_WIDTH = 100


def run(session: Session, call: Call) -> int:
    layout = call.text("format")
    answer = session.engine.system.why(call.args[0])
    if not layout:
        for line in _page(answer, colour()):
            session.out(line)
        return 0
    return inspecting.write_one(session, answer, layout)


def _page(answer: Any, coloured: bool) -> Iterator[str]:
    yield f"{answer['Name']} ({short_id(answer['Id'])}, image {answer['Image']})"
    for found in answer["Findings"]:
        mark = _MARKS[found["Level"]]
        if coloured:
            mark = f"\x1b[{_COLOURS[found['Level']]}m{mark}\x1b[0m"
        first, *rest = textwrap.wrap(found["Text"], _WIDTH - 2) or [""]
        yield f"{mark} {first}"
        yield from (f"  {line}" for line in rest)
    if answer["EarlierOfThisName"]:
        count = answer["EarlierOfThisName"]
        others = "another container" if count == 1 else f"{count} other containers"
        yield f"  {others} of this name came before; `why` takes their IDs, too."
    if answer["Timeline"]:
        yield ""
        yield "What happened last:"
        yield from map(_event, answer["Timeline"])


def _event(event: Any) -> str:
    details = ", ".join(f"{key}={value}" for key, value in event["Attributes"].items())
    line = f"  {event['At'][:19].replace('T', ' ')}Z  {event['Action']}"
    if details:
        line += f" ({details})"
    if event.get("By"):
        line += f" by {event['By']}"
    return line if len(line) <= 3 * _WIDTH else line[: 3 * _WIDTH] + "..."
