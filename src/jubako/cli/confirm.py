"""The question before something is deleted in bulk."""

from __future__ import annotations

import sys

from jubako.cli.flags import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.session import Session


def confirm(session: Session, what: str, warning: str) -> None:
    """Ask on stdout and read the answer from stdin; anything but `y` ends the command.

    what: for the error, `container prune`.  Raises Refused.
    """
    session.out(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() != "y":
        raise Refused(f"{what} has been cancelled")
