"""`jubako tag`: another name for an image."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import InvalidReference
from jubako.golang.quote import quote
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", minimum=2, maximum=2, interspersed=False)


def run(session: Session, call: Call) -> int:
    source, target = call.args
    try:
        parse(target)
    except InvalidReference as exc:
        message = f"Error parsing reference: {quote(target)} is not a valid repository/tag: {exc}"
        raise InvalidReference(message, subject=target) from exc
    session.engine.images.tag(source, target)
    return 0
