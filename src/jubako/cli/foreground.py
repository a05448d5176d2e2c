"""A program of a container in the foreground: its streams are ours until it ends."""

from __future__ import annotations

from jubako.cli import explain
from jubako.cli.flags import Refused
from jubako.cli.session import is_terminal
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.exec.execution import Execution
    from jubako.containers.streams.attach import Attachment


def check_terminal(attach_stdin: bool, tty: bool) -> None:
    """Refuse to give a container's terminal an input that is none.  Raises Refused."""
    if tty and attach_stdin and not is_terminal(0):
        raise Refused("the input device is not a TTY")


def check_detach_keys(keys: str) -> None:
    """Refuse keys that no terminal can send, before anything is started.  Raises Refused."""
    if not keys:
        return
    from jubako.containers.streams.terminal import parse_detach_keys

    try:
        parse_detach_keys(keys)
    except InvalidArgument as exc:
        raise Refused(exc.message) from exc


def pump(
    attachment: Attachment | Execution,
    *,
    stdin: bool,
    stdout: bool = True,
    stderr: bool = True,
    tty: bool,
    detach_keys: str = "",
    sig_proxy: bool = True,
) -> int:
    """Move the streams until the program ends; its exit code.

    detach_keys: "" for the default.  Raises `Detached` when the user leaves with them.
    """
    explain.tell()
    return attachment.pump(
        stdin=0 if stdin else None,
        stdout=1 if stdout else None,
        stderr=2 if stderr else None,
        tty=tty,
        detach_keys=detach_keys or None,
        sig_proxy=sig_proxy,
    )
