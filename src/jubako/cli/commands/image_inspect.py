"""`jubako image inspect`: everything about images."""

from __future__ import annotations

from jubako.cli import inspecting
from jubako.cli.flags import LATER, STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    (Flag("format", "f", STRING), Flag("platform", "", STRING, refused=LATER)),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    return inspecting.write(session, call.args, call.text("format"), session.engine.images.inspect)
