"""The layers that are on their way, as lines of text: what `progress` shows on a terminal."""

from __future__ import annotations

from collections import deque

from jubako.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.images.progress import Event

_BAR = 50  # as long as Docker's; shorter where the terminal is narrow
_SHORTEST_BAR = 8
_WINDOW_S = 5.0  # the rate is that of the last seconds
_UNPACKING = "Extracting"  # its counts are no bytes of the network
_DONE = frozenset(
    (
        *("Pull complete", "Already exists", "Received"),
        *("Pushed", "Layer already exists", "Skipped", "Sent"),
    )
)


class _Transfer:
    """One layer.  moved, size: bytes, as far as they are known."""

    __slots__ = ("event", "moved", "size")

    def __init__(self, event: Event):
        self.event = event
        self.moved = event.current or 0
        self.size = event.total or 0

    @property
    def done(self) -> bool:
        status = self.event.status
        return status in _DONE or status.startswith("Mounted from ")

    @property
    def counting(self) -> bool:
        return self.event.current is not None

    def take(self, event: Event) -> int:
        """Returns how many bytes have moved since the last count."""
        first = not self.counting and not self.moved
        before, self.event = self.moved, event
        self.size = event.total or self.size
        if event.current is None or event.status == _UNPACKING:
            self.moved = self.size if before or self.done else 0
        else:
            self.moved = event.current
        # What an interrupted pull had fetched is there at once, but says nothing of the rate.
        return 0 if first else max(0, self.moved - before)

    def line(self, columns: int) -> str:
        event = self.event
        text = f"{event.id}: {event.status}"
        if event.current is None:
            return text
        if not event.total:
            return f"{text} {human_size(event.current):>8}"
        numbers = f"{human_size(event.current):>8}/{human_size(event.total)}"
        room = min(_BAR, columns - len(text) - len(numbers) - len(" [>] "))
        if room < _SHORTEST_BAR:
            return f"{text} {numbers}"
        filled = min(event.current * room // event.total, room)
        return f"{text} [{'=' * filled}>{' ' * (room - filled)}] {numbers}"


class Transfers:
    """The layers of one image, in the order in which they were first heard of."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._transfers: dict[str, _Transfer] = {}
        self._moved: deque[tuple[float, int]] = deque()  # when, how many bytes

    def __bool__(self) -> bool:
        return bool(self._transfers)

    @property
    def done(self) -> bool:
        """Whether nothing is on its way."""
        return all(transfer.done for transfer in self._transfers.values())

    def take(self, event: Event) -> bool:
        """Note an event; whether more than a count has changed."""
        known = self._transfers.get(event.id)
        if known is None:
            self._transfers[event.id] = _Transfer(event)
            return True
        changed = known.event.status != event.status
        moved = known.take(event)
        if event.current is not None and event.status != _UNPACKING:
            self._moved.append((self._clock(), moved))
        return changed

    def final_lines(self, columns: int) -> list[str]:
        """One line for each layer."""
        return [transfer.line(columns)[:columns] for transfer in self._transfers.values()]

    def lines(self, columns: int, limit: int) -> list[str]:
        """At most `limit` lines: if not all fit, those on their way, and how many others there are.

        Below them a line about all, while something moves.
        """
        shown = list(self._transfers.values())
        limit = max(1, limit - 1)
        rest = ""
        if len(shown) > limit:
            moving = [transfer for transfer in shown if transfer.counting]
            others = [transfer for transfer in shown if not (transfer.counting or transfer.done)]
            shown = (moving + others)[: limit - 1]
            rest = f"and {len(self._transfers) - len(shown)} more layers"
        lines = [transfer.line(columns) for transfer in shown]
        lines += [line for line in (rest, self._summary()) if line]
        return [line[:columns] for line in lines]

    def _summary(self) -> str:
        """`3/5 layers  12.3MB/45.6MB  7.8MB/s  4s left`; "" when nothing is on its way."""
        transfers = self._transfers.values()
        if self.done or not any(transfer.moved for transfer in transfers):
            return ""
        size = sum(transfer.size for transfer in transfers)
        moved = sum(transfer.moved for transfer in transfers)
        done = sum(transfer.done for transfer in transfers)
        parts = [
            f"{done}/{len(transfers)} layers",
            f"{human_size(moved)}/{human_size(size)}",
        ]
        rate = self._rate()
        if rate and moved < size:
            parts += [f"{human_size(rate, 3)}/s", f"{_time((size - moved) / rate)} left"]
        return "  ".join(parts)

    def _rate(self) -> float:
        """Bytes per second."""
        now = self._clock()
        while self._moved and now - self._moved[0][0] > _WINDOW_S:
            self._moved.popleft()
        if not self._moved or now <= self._moved[0][0]:
            return 0.0
        # The first of them had come before the time that is measured.
        moved = sum(moved for _, moved in self._moved) - self._moved[0][1]
        return moved / (now - self._moved[0][0])


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02}s"
    return f"{minutes // 60}h{minutes % 60:02}m"
