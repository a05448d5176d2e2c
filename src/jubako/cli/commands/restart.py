"""`jubako restart`: stop and start again."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.commands.stop import FLAGS, seconds
from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS] CONTAINER [CONTAINER...]", FLAGS, minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    timeout_s, signal = seconds(session, call), call.text("signal") or None

    def restart(name: str) -> None:
        session.engine.containers.restart(name, timeout_s=timeout_s, signal=signal)

    return many.each_at_once(session, call.args, restart)
