"""`jubako manifest rm`: remove local lists of manifests."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("MANIFEST_LIST [MANIFEST_LIST...]", minimum=1, maximum=None)


def run(session: Session, call: Call) -> int:
    errors: list[JubakoError] = []
    for name in call.args:
        try:
            session.engine.registries.manifest_remove(name)
        except JubakoError as exc:
            errors.append(exc)
    raise_all(errors)
    return 0
