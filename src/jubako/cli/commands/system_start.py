"""`jubako system start`: after a boot, start what has a restart policy."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("")


def run(session: Session, call: Call) -> int:
    containers = session.engine.containers

    def start(name: str) -> None:
        containers.start(name)

    return many.each(session, containers.to_start_at_boot(), start)
