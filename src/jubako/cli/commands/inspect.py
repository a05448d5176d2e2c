"""`jubako inspect`: everything about whatever answers to a name."""

from __future__ import annotations

from jubako.cli import inspecting
from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.errors import InvalidReference, NotFound
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (
        Flag("as", "", STRING),
        Flag("format", "f", STRING),
        Flag("size", "s"),
        Flag("type", "", STRING),
    ),
    minimum=1,
    maximum=None,
)
_TYPES = ("container", "image", "network", "volume")


def run(session: Session, call: Call) -> int:
    kind, size = call.text("type"), call.flag("size")
    allowed = '", "'.join(_TYPES)
    if call.given("type") and not kind:
        raise Refused(f'type is empty: must be one of "{allowed}"')
    if kind and kind not in _TYPES:
        raise Refused(f'unknown type: {quote(kind)}: must be one of "{allowed}"')
    if call.given("as"):
        if kind not in ("", "container"):
            raise Refused(f"--as is for containers, not for {kind}s")
        inspecting.check_as(call)
        return inspecting.write_as(session, call.args, call.text("as"))
    engine = session.engine
    finders: dict[str, Callable[[str], Any]] = {
        "container": lambda ref: engine.containers.inspect(ref, size=size),
        "image": lambda ref: engine.images.inspect(ref),
        "network": lambda ref: engine.networks.inspect(ref),
        "volume": lambda ref: engine.volumes.inspect(ref),
    }

    def get(ref: str) -> Any:
        for name in (kind,) if kind else _TYPES:
            try:
                found = finders[name](ref)
            except (NotFound, InvalidReference):
                if kind:
                    raise
                continue
            if size and name != "container":
                session.err(f"WARNING: --size ignored for {name}")
            return found
        raise NotFound(f"No such object: {ref}", subject=ref)

    return inspecting.write(session, call.args, call.text("format"), get)
