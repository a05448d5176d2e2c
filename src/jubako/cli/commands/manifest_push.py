"""`jubako manifest push`: a local list of manifests becomes an index in a registry."""

from __future__ import annotations

from jubako.cli.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] MANIFEST_LIST", (Flag("insecure"), Flag("purge", "p")), minimum=1, maximum=1
)


def run(session: Session, call: Call) -> int:
    pushed = session.engine.registries.manifest_push(
        call.args[0], purge=call.flag("purge"), insecure=call.flag("insecure")
    )
    for reference, digest in pushed.copied:
        session.out(f"Pushed ref {reference} with digest: {digest}")
    session.out(pushed.digest)
    return 0
