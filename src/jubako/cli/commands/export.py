"""`jubako export`: a container's whole file system as a tar archive."""

from __future__ import annotations

from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.output_file import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS] CONTAINER", (Flag("output", "o", STRING),), minimum=1, maximum=1)


def run(session: Session, call: Call) -> int:
    with Output(call.text("output"), "export container") as stream:
        session.engine.containers.export(call.args[0], stream)
    return 0
