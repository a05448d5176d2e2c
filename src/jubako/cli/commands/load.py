"""`jubako load`: images from an archive that `save` made, here or elsewhere."""

from __future__ import annotations

from jubako.cli.flags import STRING, Command, Flag, Refused
from jubako.cli.session import is_terminal
from jubako.errors import JubakoError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command(
    "[OPTIONS]",
    (
        Flag("input", "i", STRING),
        Flag("platform", "", STRING),
        Flag("quiet", "q"),
    ),
)


def run(session: Session, call: Call) -> int:
    with open_input(call.text("input")) as stream:
        lines = session.engine.images.load(stream, platform=call.text("platform") or None)
    for line in lines:
        session.out(line)
    return 0


def open_input(path: str) -> BinaryIO:
    """The archive: a file, or stdin for "".  Raises Refused for a terminal, KernelError."""
    if not path:
        if is_terminal(0):
            raise Refused("requested load from stdin, but stdin is empty")
        return open(0, "rb", closefd=False)
    try:
        return open(path, "rb")
    except FileNotFoundError as exc:
        raise JubakoError(f"open {path}: no such file or directory", subject=path) from exc
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
