"""`jubako manifest rm`: remove local lists of manifests."""

from __future__ import annotations

from jubako.cli import many
from jubako.cli.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("MANIFEST_LIST [MANIFEST_LIST...]", minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    return many.each(session, call.args, session.engine.registries.manifest_remove, silent=True)
