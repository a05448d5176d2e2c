"""`jubako image prune`: remove images that have no name, or that nobody uses."""

from __future__ import annotations

from jubako.cli import filters, units
from jubako.cli.confirm import confirm
from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("all", "a"), filters.filter_flag(""), Flag("force", "f")))
_ALL = "This will remove all images without at least one container associated to them."


def run(session: Session, call: Call) -> int:
    everything = call.flag("all")
    warning = _ALL if everything else "This will remove all dangling images."
    if not call.flag("force") and not confirm(session, warning):
        return 0
    removed, freed_bytes = session.engine.images.prune(filters.collect(call), all_unused=everything)
    if removed:
        lines = [f"{what.lower()}: {name}" for item in removed for what, name in item.items()]
        session.out("Deleted Images:\n" + "\n".join(lines) + "\n")
    session.out(f"Total reclaimed space: {units.human_size(freed_bytes)}")
    return 0
