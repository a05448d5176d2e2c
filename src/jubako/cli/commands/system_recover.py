"""`jubako system recover`: put state and kernel back in step, as every command does by itself."""

from __future__ import annotations

from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("")


def run(session: Session, call: Call) -> int:
    session.engine.recover()
    return 0
