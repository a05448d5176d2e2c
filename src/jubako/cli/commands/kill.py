"""`jubako kill`: a signal to the first process of containers."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import BOOL, STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Flag("exec", "", BOOL),
        Flag("signal", "s", STRING),
    ),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    signal = call.text("signal") or "KILL"
    containers = session.engine.containers
    if call.flag("exec"):
        return many.each(session, call.args, lambda name: containers.execs.signal(name, signal))
    return many.each(session, call.args, lambda name: containers.kill(name, signal=signal))
