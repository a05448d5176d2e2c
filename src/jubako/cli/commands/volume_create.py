"""`jubako volume create`: an empty volume."""

from __future__ import annotations

from jubako.cli import values
from jubako.cli.flags import LIST, STRING, Command, Flag, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] [VOLUME]",
    (
        Flag("driver", "d", STRING, default="local"),
        Flag("label", "", LIST, parse=values.label),
        Flag("name", "", STRING, hidden=True),
        Flag("opt", "o", values.MAP),
    ),
    maximum=1,
)


def run(session: Session, call: Call) -> int:
    name = call.text("name")
    if call.args:
        if name:
            raise Refused(
                "conflicting options: cannot specify a volume-name through both --name and as a "
                "positional arg"
            )
        name = call.args[0]
    volume = session.engine.volumes.create(
        name or None,
        driver=call.text("driver"),
        labels=dict(values.key_value(text) for text in call.many("label")),
        options=dict(call.many("opt")),
    )
    session.out(volume["Name"])
    return 0
