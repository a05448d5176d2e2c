"""`jubako diff`: what a container has changed in its image's files."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("CONTAINER", minimum=1, maximum=1)

_LETTERS = "CAD"  # by Kind


def run(session: Session, call: Call) -> int:
    if not call.args[0]:
        raise InvalidArgument("Container name cannot be empty")
    changes = session.engine.containers.changes(call.args[0])
    session.out("".join(f"{_LETTERS[one['Kind']]} {one['Path']}\n" for one in changes), end="")
    return 0
