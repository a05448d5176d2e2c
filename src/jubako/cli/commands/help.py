"""`jubako help COMMAND`: the same as `jubako COMMAND --help`."""

from __future__ import annotations

from jubako.cli import tree
from jubako.cli.flags import Command, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[COMMAND]", maximum=None)


def run(session: Session, call: Call) -> int:
    from jubako.cli import help

    path, _, rest = tree.find(call.args)
    if rest:
        raise Refused(f"unknown help topic: {' '.join(call.args)}")
    session.out(help.render(path), end="")
    return 0
