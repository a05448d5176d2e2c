"""`jubako create`: a container that is not started yet."""

from __future__ import annotations

from jubako.cli import creating, run_options
from jubako.cli.flags import Command
from jubako.cli.run_flags import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]", FLAGS, minimum=1, maximum=None, interspersed=False
)


def run(session: Session, call: Call) -> int:
    session.out(creating.create(session, call, *run_options.build(call)))
    return 0
