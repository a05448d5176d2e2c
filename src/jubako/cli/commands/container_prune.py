"""`jubako container prune`: remove all containers that do not run."""

from __future__ import annotations

from jubako.cli import filters, units
from jubako.cli.confirm import confirm
from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (filters.filter_flag(""), Flag("force", "f")))


def run(session: Session, call: Call) -> int:
    if not call.flag("force") and not confirm(session, "This will remove all stopped containers."):
        return 0
    removed, freed_bytes = session.engine.containers.prune(filters.collect(call))
    if removed:
        session.out("Deleted Containers:\n" + "\n".join(removed) + "\n")
    session.out(f"Total reclaimed space: {units.human_size(freed_bytes)}")
    return 0
