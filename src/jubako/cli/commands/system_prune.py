"""`jubako system prune`: remove what nobody uses."""

from __future__ import annotations

from jubako.cli import filters, units
from jubako.cli.confirm import confirm
from jubako.cli.flags import Command, Flag, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("all", "a"),
        filters.filter_flag(""),
        Flag("force", "f"),
        Flag("volumes"),
    ),
)


def run(session: Session, call: Call) -> int:
    wanted = filters.collect(call)
    everything, volumes = call.flag("all"), call.flag("volumes")
    if volumes and "until" in wanted:
        raise Refused('The "until" filter is not supported with "--volumes"')
    if not call.flag("force") and not confirm(session, _warning(wanted, everything, volumes)):
        return 0
    done = session.engine.system.prune(wanted, all_images=everything, volumes=volumes)
    images = [
        f"{what.lower()}: {name}" for one in done["ImagesDeleted"] for what, name in one.items()
    ]
    for title, lines in (
        ("Containers", done["ContainersDeleted"]),
        ("Networks", done["NetworksDeleted"]),
        ("Volumes", done["VolumesDeleted"]),
        ("Images", images),
    ):
        if lines:
            session.out(f"Deleted {title}:\n" + "\n".join(lines) + "\n")
    session.out(f"Total reclaimed space: {units.human_size(done['SpaceReclaimed'])}")
    return 0


def _warning(wanted: Mapping[str, Sequence[str]], everything: bool, volumes: bool) -> str:
    kinds = ["all stopped containers", "all networks not used by at least one container"]
    if volumes:
        kinds.append("all anonymous volumes not used by at least one container")
    by_name = everything or "reference" in wanted
    unused = "all images without at least one container associated to them"
    kinds.append(unused if by_name else "all dangling images")
    kinds.append("all build cache" if everything else "unused build cache")
    text = "This will remove:\n" + "".join(f"  - {kind}\n" for kind in kinds)
    if wanted:
        pairs = sorted(f"{name}={value}" for name, values in wanted.items() for value in values)
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {pair}\n" for pair in pairs)
    return text
