"""The question before something is deleted in bulk."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.session import Session


def confirm(session: Session, warning: str) -> bool:
    """Ask on stdout and read the answer from stdin; anything but `y` is no.

    No is not an error: the command then ends with exit code 0, as Docker's does.
    """
    session.out(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() == "y"
