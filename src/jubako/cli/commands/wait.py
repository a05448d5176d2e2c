"""`jubako wait`: block until containers have ended, and print their exit codes."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("CONTAINER [CONTAINER...]", minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    failed: list[JubakoError] = []
    for name in call.args:
        try:
            session.out(str(session.engine.containers.wait(name)))
        except JubakoError as exc:
            failed.append(exc)
    raise_all(failed)
    return 0
