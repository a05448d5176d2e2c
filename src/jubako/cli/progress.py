"""How far a transfer has come: a line for each layer on a terminal, plain lines elsewhere.

    e0781bc8667f: Downloading [=======================>                  ]  44.04MB/80.4MB
    8d3ac3489996: Pull complete
    1/2 layers  56.2MB/92.4MB  88.2MB/s  1s left             only while something is on its way

On a terminal the lines stand below what was printed before, and those that change are written
again.  Elsewhere each change of a status is a line, as Docker prints it, and counts are left out.
"""

from __future__ import annotations

import os
import time

from jubako.cli.session import is_terminal, write_all
from jubako.cli.transfers import Transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jubako.cli.session import Session
    from jubako.images.progress import Event

_REDRAW_S = 0.1
_NARROWEST = 20  # columns; a terminal that says less does not know
_UP, _ERASE_LINE, _ERASE_BELOW = "\x1b[{}A", "\r\x1b[2K", "\x1b[J"


class ProgressDisplay:
    """Prints events; a context manager that leaves the last state standing.

        with ProgressDisplay(session) as show:
            engine.images.pull(name, progress=show)

    quiet: print nothing.  errors: to stderr, where stdout belongs to something else.  One thread at
    a time.
    """

    def __init__(
        self,
        session: Session,
        *,
        quiet: bool = False,
        errors: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._print = session.err if errors else session.out
        self._quiet = quiet
        self._clock = clock
        self._transfers = Transfers(clock)
        self._screen: _Screen | None = None
        fd = 2 if errors else 1
        if not quiet and is_terminal(fd) and os.environ.get("TERM") != "dumb":
            self._screen = _Screen(fd)
        self._drawn_at = float("-inf")

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *exc: object) -> None:
        self._settle()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if self._screen is None:
            self._plain(event)
        elif not event.id or event.status.startswith("Pulling from "):
            self._between(self._screen, event)
        elif self._transfers.take(event) or self._clock() - self._drawn_at >= _REDRAW_S:
            self._draw(self._screen)

    def _plain(self, event: Event) -> None:
        if event.current is None:
            self._print(f"{event.id}: {event.status}" if event.id else event.status)

    def _between(self, screen: _Screen, event: Event) -> None:
        """A line that is not a layer's: below the layers when they are done, else above them."""
        if self._transfers.done:
            self._settle()
        screen.clear()
        self._plain(event)
        if self._transfers:
            self._draw(screen)

    def _draw(self, screen: _Screen) -> None:
        columns, rows = screen.size()
        screen.draw(self._transfers.lines(columns - 1, rows - 2))
        self._drawn_at = self._clock()

    def _settle(self) -> None:
        """Leave the lines as they are; later ones come below."""
        if self._screen is not None and self._transfers:
            columns, _ = self._screen.size()
            self._screen.draw(self._transfers.final_lines(columns - 1))
            self._screen.leave()
            self._transfers = Transfers(self._clock)


class _Screen:
    """Lines at the bottom of a terminal; the cursor stands below them."""

    def __init__(self, fd: int):
        self._fd = fd
        self._lines: list[str] = []

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        size = os.get_terminal_size(self._fd)
        return max(size.columns or 80, _NARROWEST), size.lines or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Show these instead of the last ones; what stays the same is not sent again."""
        if list(lines) == self._lines:
            return
        text = _UP.format(len(self._lines)) if self._lines else ""
        for number, line in enumerate(lines):
            if number >= len(self._lines) or self._lines[number] != line:
                text += _ERASE_LINE + line
            text += "\r\n"
        self._write(text + _ERASE_BELOW)
        self._lines = list(lines)

    def clear(self) -> None:
        """Take the lines away."""
        if self._lines:
            self._write(_UP.format(len(self._lines)) + "\r" + _ERASE_BELOW)
            self._lines = []

    def leave(self) -> None:
        """Let the lines be: the next ones come below."""
        self._lines = []

    def _write(self, text: str) -> None:
        write_all(self._fd, text.encode(errors="surrogateescape"))
