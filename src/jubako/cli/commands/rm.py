"""`jubako rm`: containers and what belongs to them disappear."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import Command, Flag
from jubako.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (Flag("force", "f"), Flag("link", "l"), Flag("volumes", "v")),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    force, volumes = call.flag("force"), call.flag("volumes")

    if call.flag("link"):
        return many.each(session, call.args, session.engine.containers.unlink)

    def remove(name: str) -> None:
        ref = name.strip("/")
        if not ref:
            raise InvalidArgument("container name cannot be empty")
        session.engine.containers.remove(ref, force=force, volumes=volumes)

    if not force:
        return many.each_at_once(session, call.args, remove)
    return many.each_at_once(session, call.args, remove, forgive=NotFound)
