"""`jubako completion SHELL`: the script that makes the shell complete our commands."""

from __future__ import annotations

from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("")


def run(session: Session, call: Call) -> int:
    from jubako.cli.completion import script

    session.out(script(session.path.rpartition(" ")[2]), end="")
    return 0
