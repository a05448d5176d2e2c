"""`jubako volume inspect`: everything about volumes."""

from __future__ import annotations

from jubako.cli import inspecting
from jubako.cli.flags import STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] VOLUME [VOLUME...]", (Flag("format", "f", STRING),), minimum=1, maximum=None
)


def run(session: Session, call: Call) -> int:
    return inspecting.write(session, call.args, call.text("format"), session.engine.volumes.inspect)
