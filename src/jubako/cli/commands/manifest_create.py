"""`jubako manifest create`: begin a local list of manifests."""

from __future__ import annotations

from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    (Flag("amend", "a"), Flag("insecure")),
    minimum=2,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    name, *manifests = call.args
    created = session.engine.registries.manifest_create(
        name, manifests, amend=call.flag("amend"), insecure=call.flag("insecure")
    )
    session.out(f"Created manifest list {created}")
    return 0
