"""`jubako rename`: another name for a container."""

from __future__ import annotations

from jubako.cli.flags import Command
from jubako.errors import InvalidArgument, JubakoError, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("CONTAINER NEW_NAME", minimum=2, maximum=2)


def run(session: Session, call: Call) -> int:
    old, new = call.args[0].strip(), call.args[1].strip()
    if not old or not new:
        raise InvalidArgument("Neither old nor new names may be empty")
    try:
        session.engine.containers.rename(old, new)
    except JubakoError as exc:
        raise_all([exc, JubakoError(f"failed to rename container named {old}")])
    return 0
