"""A trace of everything that changes the kernel's state.

A function that does so is decorated with `traced`, whose argument renders the call the way a shell
tool would have written it.  With no sink installed the cost is one test of a global:

    @traced(lambda target, flags=0, why="": f"umount {target}")
    def umount2(target: str, flags: int = 0, why: str = "") -> None: ...

    with to(print_event):
        umount2("/mnt", why="the container has ended")

`why` is the reason of the caller, in plain words.  A forked child inherits the sink, so a sink that
writes to a descriptor collects the events of the monitor and of the container's init as well.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class Event:
    """One operation on the kernel.

    op: the function's name.  shell: the equivalent command line.  why: the caller's reason or "".
    pid: who did it.  started_s: time.monotonic().  duration_s: how long.  error: None on success.
    """

    __slots__ = __match_args__ = ("op", "shell", "why", "pid", "started_s", "duration_s", "error")

    def __init__(
        self,
        op: str,
        shell: str,
        why: str,
        started_s: float,
        duration_s: float,
        error: str | None = None,
    ):
        self.op = op
        self.shell = shell
        self.why = why
        self.pid = os.getpid()
        self.started_s = started_s
        self.duration_s = duration_s
        self.error = error

    def line(self) -> str:
        """One line for a person: duration, command, reason."""
        text = f"{self.duration_s * 1000:8.3f} ms  {self.shell}"
        if self.why:
            text += f"  # {self.why}"
        if self.error:
            text += f"  -> {self.error}"
        return text


_sink: Callable[[Event], None] | None = None


def set_sink(sink: Callable[[Event], None] | None) -> Callable[[Event], None] | None:
    """Send the events of this process and its future children to `sink`; returns the last one."""
    global _sink
    previous, _sink = _sink, sink
    return previous


def descriptor() -> int:
    """The descriptor that the sink writes to, -1 without: who closes all others keeps it."""
    return getattr(_sink, "descriptor", -1)


class to:
    """Context manager: events go to `sink` inside the block."""

    def __init__(self, sink: Callable[[Event], None]):
        self._new = sink
        self._old: Callable[[Event], None] | None = None

    def __enter__(self) -> None:
        self._old = set_sink(self._new)

    def __exit__(self, *exc: object) -> None:
        set_sink(self._old)


def to_descriptor(fd: int) -> Callable[[Event], None]:
    """A sink that writes one line for each event to `fd`, which it does not own."""

    def write(event: Event) -> None:
        try:
            os.write(fd, f"[{event.pid}] {event.line()}\n".encode(errors="surrogateescape"))
        except OSError:
            pass  # a trace that nobody reads any more must not stop what it describes

    write.descriptor = fd  # type: ignore[attr-defined]  # a function may have attributes
    return write


def listening() -> bool:
    """Whether anybody would see an event: for callers whose rendering alone is expensive."""
    return _sink is not None


def traced(shell: Callable[..., str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record calls of the decorated function; `shell` takes the same arguments."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if _sink is None:
                return function(*args, **kwargs)
            started = time.monotonic()
            error: str | None = None
            try:
                return function(*args, **kwargs)
            except Exception as exc:
                error = str(exc)
                raise
            finally:
                sink = _sink
                if sink is not None:
                    why = kwargs.get("why", "")
                    duration = time.monotonic() - started
                    line = shell(*args, **kwargs)
                    sink(Event(function.__name__, line, str(why), started, duration, error))

        call.__name__ = function.__name__
        call.__qualname__ = function.__qualname__
        call.__doc__ = function.__doc__
        call.__module__ = function.__module__
        call.__wrapped__ = function  # type: ignore[attr-defined]  # as functools.wraps does
        return call

    return decorate
