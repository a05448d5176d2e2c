"""`jubako top`: the processes of a container."""

from __future__ import annotations

from jubako.cli import table
from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("CONTAINER [ps OPTIONS]", minimum=1, maximum=None, interspersed=False)


def run(session: Session, call: Call) -> int:
    found = session.engine.containers.top(call.args[0], call.args[1:])
    lines = ["\t".join(row) for row in (found["Titles"], *found["Processes"])]
    session.out(table.align("\n".join(lines), minimum=20))
    return 0
