"""`jubako image cp`: images to another machine, from it, or into a file."""

from __future__ import annotations

from jubako.cli.flags import LIST, STRING, Command, Flag, OptionError
from jubako.cli.output_file import Output
from jubako.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.flags import Call
    from jubako.cli.session import Session

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

    first, *between, last = call.args
    if is_address(first):
        _no_since(call)
        lines = session.engine.images.copy_from(first, [*between, last], **_reached_by(call))
    elif is_address(last):
        _no_since(call)
        lines = _send(session, call, [first, *between], last)
    else:
        with Output("" if last == "-" else last, "copy image") as stream:
            session.engine.images.save([first, *between], stream, since=call.many("since"))
        return 0
    if not call.flag("quiet"):
        for line in lines:
            session.out(line)
    return 0


def _send(session: Session, call: Call, references: list[str], address: str) -> list[str]:
    copied = session.engine.images.copy_to(address, references, **_reached_by(call))
    sent = f"Sent {copied.missing} of {copied.layers} layers"
    if copied.missing:
        sent += f": {human_size(copied.tar_bytes)} as {human_size(copied.sent_bytes)}"
    return [*copied.loaded, sent]


def _reached_by(call: Call) -> dict[str, str]:
    found = {"program": call.text("program")}
    if call.given("rsh"):
        found["shell"] = call.text("rsh")
    return found


def _no_since(call: Call) -> None:
    if call.given("since"):
        raise OptionError("--since is for files: another machine says itself which layers it has")
