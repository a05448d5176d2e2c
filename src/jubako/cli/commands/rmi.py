"""`jubako rmi`: names of images disappear, and images without a name."""

from __future__ import annotations

from jubako.cli import values
from jubako.cli.flags import LATER, Command, Flag
from jubako.errors import JubakoError, NotFound, raise_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    (Flag("force", "f"), Flag("no-prune"), Flag("platform", "", values.STRINGS, refused=LATER)),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    force, prune = call.flag("force"), not call.flag("no-prune")
    failed: list[JubakoError] = []
    for ref in call.args:
        try:
            removed = session.engine.images.remove(ref, force=force, prune=prune)
        except JubakoError as exc:
            failed.append(exc)
            continue
        for item in removed:
            for what, name in item.items():
                session.out(f"{what}: {name}")
    if force and all(isinstance(error, NotFound) for error in failed):
        for error in failed:
            session.report(error)
        return 0
    raise_all(failed)
    return 0
