"""How far a pull or a push has come: a line for each layer on a terminal, plain lines elsewhere.

    e0781bc8667f: Pushing [=======================>                  ]  44.04MB/80.4MB
    8d3ac3489996: Pushed
    156MB / 301MB  88.2MB/s                                  only while something is on its way

On a terminal the lines stand below what was printed before and are written again when they change.
Elsewhere each change of a status is a line, as Docker prints it, and counts are left out.
"""

from __future__ import annotations

import time

from jubako.cli.session import is_terminal, terminal_size
from jubako.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.cli.session import Session
    from jubako.images.progress import Event

_REDRAW_S = 0.05
_BAR = 50  # as long as Docker's
_WIDE = 110  # columns of a terminal that gets a bar
_UP, _ERASE_LINE, _ERASE_BELOW = "\x1b[{}A", "\x1b[2K\r", "\x1b[J"


class ProgressDisplay:
    """Prints events to stdout; a context manager that leaves the last state standing.

        with ProgressDisplay(session) as show:
            engine.images.pull(name, progress=show)

    quiet: print nothing.  One thread at a time.
    """

    def __init__(
        self,
        session: Session,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._session = session
        self._quiet = quiet
        self._lines = _Lines(clock) if is_terminal(1) and not quiet else None
        self._clock = clock
        self._drawn = 0  # lines that stand below where the cursor was before
        self._drawn_at = float("-inf")

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *exc: object) -> None:
        self._settle()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if not event.id:
            self._settle()
            self._session.out(event.status)
        elif self._lines is not None:
            changed = self._lines.take(event)
            if changed or self._clock() - self._drawn_at >= _REDRAW_S:
                self._draw(last=False)
        elif event.current is None:
            self._session.out(f"{event.id}: {event.status}")

    def _settle(self) -> None:
        """Leave the lines as they are; later ones come below."""
        if self._lines is not None and self._lines:
            self._draw(last=True)
            self._lines.clear()
            self._drawn = 0

    def _draw(self, *, last: bool) -> None:
        assert self._lines is not None
        rows, columns = terminal_size() or (24, 80)
        lines = self._lines.render(columns, None if last else max(rows - 2, 1))
        up = _UP.format(self._drawn) if self._drawn else ""
        text = "".join(f"{_ERASE_LINE}{line}\n" for line in lines)
        self._session.out(up + text + _ERASE_BELOW, end="")
        self._drawn = len(lines)
        self._drawn_at = self._clock()


class _Lines:
    """The latest event of each layer."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._events: dict[str, Event] = {}
        self._started: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def clear(self) -> None:
        self._events.clear()
        self._started.clear()

    def take(self, event: Event) -> bool:
        """Returns whether more than a count has changed."""
        before = self._events.get(event.id)
        self._events[event.id] = event
        if event.current is not None:
            self._started.setdefault(event.id, self._clock())
        return before is None or before.status != event.status

    def render(self, columns: int, limit: int | None) -> list[str]:
        """One line for each layer, or those on their way if there are more than `limit`."""
        events = list(self._events.values())
        moving = [event for event in events if event.current is not None]
        hidden = 0
        if limit is not None and len(events) > limit:
            shown = (moving or events)[: max(limit - 1, 0)]
            hidden = len(events) - len(shown)
            events = shown
        lines = [_line(event, columns) for event in events]
        if hidden:
            lines.append(f"and {hidden} more layers")
        if limit is not None and moving:
            lines.append(self._total(moving))
        return [line[: max(columns - 1, 1)] for line in lines]

    def _total(self, moving: list[Event]) -> str:
        """What is on its way now, of how much, and how fast."""
        current = sum(event.current or 0 for event in moving)
        total = sum(event.total or 0 for event in moving)
        began = min(self._started[event.id] for event in moving)
        elapsed = self._clock() - began
        text = f"{human_size(current)} / {human_size(total)}"
        return text + (f"  {human_size(current / elapsed)}/s" if elapsed > 0 else "")


def _line(event: Event, columns: int) -> str:
    text = f"{event.id}: {event.status}"
    if event.current is None:
        return text
    if not event.total:
        return f"{text} {human_size(event.current):>8}"
    filled = min(event.current * _BAR // event.total, _BAR)
    bar = f"[{'=' * filled}>{' ' * (_BAR - filled)}] " if columns > _WIDE else ""
    return f"{text} {bar}{human_size(event.current):>8}/{human_size(event.total)}"
