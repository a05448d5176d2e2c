"""Questions to who sits at the terminal."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.cli.session import Session


def ask(session: Session, question: str) -> str:
    """Print a question on stdout and read the answer, a line of stdin without its end."""
    session.out(question, end="")
    line = sys.stdin.buffer.readline()
    return line.decode(errors="surrogateescape").rstrip("\r\n")


def ask_hidden(session: Session, question: str) -> str:
    """The same for a secret: the terminal on stdin does not show what is typed.

    Ctrl-C raises KeyboardInterrupt; the terminal then shows again what is typed, too.
    """
    import termios

    before = termios.tcgetattr(0)
    hidden = list(before)
    hidden[3] &= ~termios.ECHO
    # TCSADRAIN, not TCSAFLUSH: what was pasted or typed ahead counts.
    termios.tcsetattr(0, termios.TCSADRAIN, hidden)
    try:
        return ask(session, question)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        session.out("")  # the end of the line was not shown either
