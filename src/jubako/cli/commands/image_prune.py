"""`jubako image prune`: remove images that have no name, or that nobody uses."""

from __future__ import annotations

from jubako.cli import filters, units
from jubako.cli.confirm import confirm
from jubako.cli.flags import UINT, Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("all", "a"),
        Flag("dry-run"),
        filters.filter_flag(""),
        Flag("force", "f"),
        Flag("keep", "", UINT),
    ),
)


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    everything, dry_run = call.flag("all"), call.flag("dry-run")
    keep = call.number("keep") if call.given("keep") else None
    if not (dry_run or call.flag("force")) and not confirm(
        session, _warning(wanted, everything, keep)
    ):
        return 0
    removed, freed_bytes = session.engine.images.prune(
        wanted, all_unused=everything, keep=keep, dry_run=dry_run
    )
    if removed:
        lines = [f"{what.lower()}: {name}" for item in removed for what, name in item.items()]
        title = "Images That Would Be Deleted" if dry_run else "Deleted Images"
        session.out(f"{title}:\n" + "\n".join(lines) + "\n")
    size = units.human_size(freed_bytes)
    session.out(f"Total {'reclaimable' if dry_run else 'reclaimed'} space: {size}")
    return 0


def _warning(wanted: Mapping[str, Sequence[str]], everything: bool, keep: int | None) -> str:
    """Docker's words, and what its filters do not have."""
    if not everything and "reference" not in wanted and keep is None:
        return "This will remove all dangling images."
    text = "This will remove all images without at least one container associated to them"
    if keep is not None:
        text += f", except for the {keep} newest of each repository"
    return text + "."
