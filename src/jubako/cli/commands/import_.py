"""`jubako import`: an image from the tar archive of a file system."""

from __future__ import annotations

from jubako.cli.commands.load import open_input
from jubako.cli.flags import LIST, STRING, Command, Flag
from jubako.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    (
        Flag("change", "c", LIST),
        Flag("message", "m", STRING),
        Flag("platform", "", STRING),
    ),
    minimum=1,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    source = call.args[0]
    if source.startswith(("http://", "https://")):
        raise Unsupported(
            f"import {source}: reading from a URL is not supported yet",
            hint=f"curl -L {source} | jubako import -",
        )
    with open_input("" if source == "-" else source) as stream:
        image_id = session.engine.images.import_tar(
            stream,
            call.args[1] if len(call.args) > 1 else None,
            changes=call.many("change"),
            message=call.text("message"),
            platform=call.text("platform") or None,
        )
    session.out(image_id)
    return 0
