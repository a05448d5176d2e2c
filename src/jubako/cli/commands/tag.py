"""`jubako tag`: another name for an image."""

from __future__ import annotations

from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", minimum=2, maximum=2, interspersed=False)


def run(session: Session, call: Call) -> int:
    session.engine.images.tag(call.args[0], call.args[1])
    return 0
