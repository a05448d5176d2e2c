"""`jubako container inspect`: everything about containers."""

from __future__ import annotations

from jubako.cli import inspecting
from jubako.cli.flags import STRING, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (Flag("as", "", STRING), Flag("format", "f", STRING), Flag("size", "s")),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    if call.given("as"):
        inspecting.check_as(call)
        return inspecting.write_as(session, call.args, call.text("as"))
    size = call.flag("size")
    containers = session.engine.containers
    return inspecting.write(
        session, call.args, call.text("format"), lambda ref: containers.inspect(ref, size=size)
    )
