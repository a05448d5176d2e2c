"""`jubako save`: images as an archive."""

from __future__ import annotations

from jubako.cli.flags import LIST, STRING, Command, Flag
from jubako.cli.output_file import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Flag("output", "o", STRING),
        Flag("platform", "", STRING),
        Flag("since", "", LIST),
    ),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    with Output(call.text("output"), "save image") as stream:
        session.engine.images.save(
            call.args,
            stream,
            since=call.many("since"),
            platform=call.text("platform") or None,
        )
    return 0
