"""`jubako logs`: what a container has written."""

from __future__ import annotations

from jubako.cli.flags import STRING, Command, Flag, parse_int
from jubako.cli.session import write_all
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER",
    (
        Flag("details"),
        Flag("follow", "f"),
        Flag("since", "", STRING),
        Flag("tail", "n", STRING, default="all"),
        Flag("timestamps", "t"),
        Flag("until", "", STRING),
    ),
    minimum=1,
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    lines = session.engine.containers.logs(
        call.args[0],
        follow=call.flag("follow"),
        tail=_tail(call.text("tail")),
        since=_moment(call, "since"),
        until=_moment(call, "until"),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
    )
    for stream, data in lines:
        write_all(2 if stream == "stderr" else 1, data)
    return 0


def _tail(text: str) -> int | None:
    """A number of lines; anything else is all of them, as for Docker."""
    try:
        number = parse_int(text, base=10)
    except ValueError:
        return None
    return number if number >= 0 else None


def _moment(call: Call, flag: str) -> float | None:
    if not call.text(flag):
        return None
    from jubako.cli.units import parse_moment

    try:
        return parse_moment(call.text(flag))
    except ValueError as exc:
        raise InvalidArgument(f'invalid value for "{flag}": {exc}') from None
