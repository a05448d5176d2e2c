"""`jubako volume rm`: volumes and their content disappear."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS] VOLUME [VOLUME...]", (Flag("force", "f"),), minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    force = call.flag("force")
    volumes = session.engine.volumes
    return many.each(session, call.args, lambda name: volumes.remove(name, force=force))
