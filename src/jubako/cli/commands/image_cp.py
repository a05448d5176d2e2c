"""`jubako image cp`: images to another machine, from it, or into a file."""

from __future__ import annotations

from jubako.cli.flags import LIST, STRING, Command, Flag, OptionError
from jubako.cli.output_file import Output
from jubako.cli.progress import ProgressDisplay
from jubako.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session
    from jubako.images.copying.sending import Copied

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...] ssh://[USER@]HOST[:PORT][/ROOT]|FILE|-\n"
    "\tjubako image cp [OPTIONS] ssh://[USER@]HOST[:PORT][/ROOT] IMAGE [IMAGE...]",
    (
        Flag("program", "", STRING, default="jubako"),
        Flag("quiet", "q"),
        Flag("rsh", "e", STRING),
        Flag("since", "", LIST),
    ),
    minimum=2,
    maximum=None,
)


def run(session: Session, call: Call) -> int:
    from jubako.images.copying.shell import is_address

    images = session.engine.images
    first, *between, last = call.args
    if not is_address(first) and not is_address(last):
        with Output("" if last == "-" else last, "copy image") as stream:
            images.save([first, *between], stream, since=call.many("since"))
        return 0
    if call.given("since"):
        raise OptionError("--since is for files: another machine says itself which layers it has")
    with ProgressDisplay(session, quiet=call.flag("quiet")) as show:
        if is_address(first):
            lines = images.copy_from(first, [*between, last], progress=show, **_reached_by(call))
        else:
            copied = images.copy_to(last, [first, *between], progress=show, **_reached_by(call))
            lines = [*copied.loaded, _sent(copied)]
    if not call.flag("quiet"):
        for line in lines:
            session.out(line)
    return 0


def _sent(copied: Copied) -> str:
    text = f"Sent {copied.missing} of {copied.layers} layers"
    if copied.missing:
        text += f": {human_size(copied.tar_bytes)} as {human_size(copied.sent_bytes)}"
    return text


def _reached_by(call: Call) -> dict[str, str]:
    found = {"program": call.text("program")}
    if call.given("rsh"):
        found["shell"] = call.text("rsh")
    return found
