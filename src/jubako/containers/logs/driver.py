"""Where a container's output goes: the interface of log drivers, and how one is opened.

    record of the container ──plan()──> plan ──open_driver()──> LogDriver, in the monitor
                                          │                        │ hand_over()
                                          └────── JSON ────────────┴──> take_over(), after its exec

A plan is JSON and complete: tags are evaluated, options are checked and have their defaults.  So
the monitor's small program imports the one driver that it uses, and nothing that reads options.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from jubako.linux.loop import EventLoop

    class LogDriver(Protocol):
        """Takes what a container writes; lives in its monitor's event loop and never blocks it.

        `write` takes everything at any time.  While `full` the caller should read no more from the
        container; `on_room` is called when that is over.  While `idle` `hand_over` may be called,
        after which this object is not used any more.

            driver = open_driver(plan, loop)
            driver.on_room = streams.throttle
            driver.write("stdout", b"hello\\n")
            driver.flush()
            driver.close()
        """

        on_room: Callable[[], None]

        @property
        def lost(self) -> int:
            """Records that were given up: a full disk, a server that is down."""

        @property
        def full(self) -> bool:
            """Whether there is no room for more."""

        @property
        def idle(self) -> bool:
            """Whether nothing is under way that only this process can finish."""

        def write(self, stream: str, data: bytes) -> None:
            """Output of `stream` ("stdout" or "stderr") as it came, cut anywhere."""

        def flush(self) -> None:
            """Record lines that have not ended yet: the container has."""

        def hand_over(self) -> dict[str, Any]:
            """JSON that `take_over` makes the same of; descriptors in it are inheritable."""

        def close(self) -> None:
            """Bring everything home, for a bounded time, and let go."""


class Discard:
    """The driver `none`: keeps nothing."""

    full = False
    idle = True
    lost = 0

    def __init__(self) -> None:
        self.on_room: Callable[[], None] = _nothing

    def write(self, stream: str, data: bytes) -> None:
        pass

    def flush(self) -> None:
        pass

    def hand_over(self) -> dict[str, Any]:
        return {"driver": "none"}

    def close(self) -> None:
        pass


def open_driver(plan: dict[str, Any], loop: EventLoop) -> LogDriver:
    """The driver of a plan, for a container that is about to start.

    Raises StartError when a server that has to be there does not answer, KernelError (the file).
    """
    if plan["driver"] == "none":
        return Discard()
    if plan["driver"] == "file":
        from jubako.containers.logs.writer import LogWriter

        return LogWriter(plan["file"], loop)
    from jubako.containers.logs.remote import RemoteLog

    return RemoteLog.open(plan, loop)


def take_over(state: dict[str, Any], loop: EventLoop) -> LogDriver:
    """The driver that `hand_over` described, in the process that inherited the descriptors."""
    if state["driver"] == "none":
        return Discard()
    if state["driver"] == "file":
        from jubako.containers.logs.writer import LogWriter

        return LogWriter.take_over(state, loop)
    from jubako.containers.logs.remote import RemoteLog

    return RemoteLog.take_over(state, loop)


def _nothing() -> None:
    """What `on_room` is until somebody asks to be told."""
