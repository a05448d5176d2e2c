"""Work that would block the monitor's loop, in a forked child."""

from __future__ import annotations

import os

from jubako.linux.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.linux.loop import EventLoop

_MAX_FD = 1 << 20
_READ_BYTES = 1 << 16


class Background:
    """One child at its work.

    work: runs in the child and returns what is told; an exception is told as b"".  It holds only
    the descriptors `kept`: no lock, no pipe of the container.
    done: called with that, in the loop, once the child has ended and is reaped.
    Raises OSError when no process can be had.
    """

    def __init__(
        self,
        loop: EventLoop,
        work: Callable[[], bytes],
        done: Callable[[bytes], None],
        kept: tuple[int, ...] = (),
    ):
        self._loop = loop
        self._done = done
        self._answer = b""
        self._fd, answer_fd = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.fork()
        except OSError:
            os.close(self._fd)
            os.close(answer_fd)
            raise
        if self._pid == 0:
            _work(work, answer_fd, kept)
        os.close(answer_fd)
        loop.add(self._fd, READ, self._ready)

    def _ready(self, events: int) -> None:
        data = os.read(self._fd, _READ_BYTES)
        if data:
            self._answer += data
            return
        self._forget()
        self._done(self._answer)

    def _forget(self) -> None:
        self._loop.remove(self._fd)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def cancel(self) -> None:
        """Kill the child; `done` is not called."""
        import signal

        os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so it is ours
        self._forget()


def _work(work: Callable[[], bytes], answer_fd: int, kept: tuple[int, ...]) -> None:
    """The child.  Never returns."""
    try:
        low = 3
        for fd in sorted((answer_fd, *kept)):
            os.closerange(low, fd)
            low = fd + 1
        os.closerange(low, _MAX_FD)
        os.write(answer_fd, work())
    finally:
        os._exit(0)
