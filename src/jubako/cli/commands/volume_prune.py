"""`jubako volume prune`: remove volumes that no container uses."""

from __future__ import annotations

from jubako.cli import filters, units
from jubako.cli.confirm import confirm
from jubako.cli.flags import Command, Flag, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("all", "a"), filters.filter_flag(""), Flag("force", "f")))


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    everything = call.flag("all")
    if everything and "all" in wanted:
        raise Refused("conflicting options: cannot specify both --all and --filter all=1")
    kind = "all local" if everything else "anonymous local"
    warning = f"This will remove {kind} volumes not used by at least one container."
    if not call.flag("force") and not confirm(session, warning):
        return 0
    removed, freed_bytes = session.engine.volumes.prune(wanted, all_unused=everything)
    if removed:
        session.out("Deleted Volumes:\n" + "\n".join(removed) + "\n")
    session.out(f"Total reclaimed space: {units.human_size(freed_bytes)}")
    return 0
