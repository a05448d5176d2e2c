"""`jubako network prune`: remove networks that no container uses."""

from __future__ import annotations

from jubako.cli import filters
from jubako.cli.confirm import confirm
from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (filters.filter_flag(""), Flag("force", "f")))
_WARNING = "This will remove all custom networks not used by at least one container."


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    if not call.flag("force") and not confirm(session, _WARNING):
        return 0
    removed = session.engine.system.prune_networks(wanted)
    if removed:
        session.out("Deleted Networks:\n" + "\n".join(removed) + "\n")
    return 0
