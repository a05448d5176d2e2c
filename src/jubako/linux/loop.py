"""A small event loop over epoll(7), for the monitor and everything that lives in it.

Callbacks run one after another in the process's only thread and must not block.  asyncio would
cost 57 ms to import and several megabytes for each running container.
"""

from __future__ import annotations

import heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
PRIORITY = select.EPOLLPRI  # a file of the kernel has changed
HANGUP = select.EPOLLHUP | select.EPOLLERR


class Timer:
    """A callback due at a time; `cancel` makes it void."""

    __slots__ = ("callback", "due_s")

    def __init__(self, due_s: float, callback: Callable[[], None]):
        self.due_s = due_s
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.due_s < other.due_s


class EventLoop:
    """Descriptors with callbacks, and timers on the monotonic clock.

    A callback of a descriptor gets the epoll events that occurred.  The loop ends when `stop` is
    called, or when nothing is left to wait for.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._stopped = False

    def add(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` when `fd` is ready; the loop does not own the descriptor."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def modify(self, fd: int, events: int) -> None:
        """Wait for other events on a descriptor that was added (0: only for hang-up)."""
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Forget a descriptor; call it before closing.  Nothing happens if it is not known."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once after `delay_s` seconds."""
        timer = Timer(time.monotonic() + delay_s, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Leave `run` after the callbacks of this round."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stopped or until nothing is left."""
        self._stopped = False
        while not self._stopped and (self._callbacks or self._timers):
            self.run_once()

    def run_once(self, timeout_s: float | None = None) -> None:
        """Wait for the next event or timer, at most `timeout_s`, and serve what is due."""
        wait_s = self._next_due(timeout_s)
        for fd, events in self._epoll.poll(wait_s):
            callback = self._callbacks.get(fd)
            if callback is not None:  # an earlier callback of this round may have removed it
                callback(events)
        now = time.monotonic()
        while self._timers and self._timers[0].due_s <= now:
            timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()

    def _next_due(self, timeout_s: float | None) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return timeout_s
        due = max(0.0, self._timers[0].due_s - time.monotonic())
        return due if timeout_s is None else min(due, timeout_s)

    def close(self) -> None:
        self._epoll.close()
