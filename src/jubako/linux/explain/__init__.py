"""What was done to the kernel, for a reader: the trace's events, collected and told in chapters.

    with Explanation() as explanation:
        engine.containers.run("base", ["true"])
    print(explanation.text())

The words come from the events themselves (`jubako.linux.trace`): the reason that each caller gave,
the command that does the same, how long it took.  Only the introductions of the chapters are
written here.
"""

from __future__ import annotations

import fcntl
import json
import os

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux.explain.chapters import chapter_of
from jubako.linux.trace import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Explanation", "to_dict"]

_F_SETPIPE_SZ = 1031
# A start makes some 150 events of 400 bytes, before anybody reads them.  What does not fit is lost
# (`Explanation.lost`): the container must not wait for its description.
_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
# Of the numbers that a container's process gets; below 64, where its table of them would grow.
_OUT_OF_THE_WAY = 50


class Explanation:
    """Collects the events of this process and of those that it starts, inside a `with` block.

    events: in the order in which they were done.  lost: how many could not be kept.
    Forked processes write to a pipe that they inherit, and that no program gets.  Not for several
    threads, nor one in another: the inner one takes the events.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lost = 0
        self._fd = -1
        self._rest = b""
        self._previous: Any = None

    def __enter__(self) -> Explanation:
        self._fd = _open_pipe()
        self._previous = trace.set_sink(trace.to_pipe(self._fd))
        return self

    def __exit__(self, *exc: object) -> None:
        trace.set_sink(self._previous)
        self.collect()
        os.close(self._fd)
        self._fd = -1

    def collect(self) -> list[Event]:
        """Take what has come since the last time; also in `events` from here on."""
        new: list[Event] = []
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                break
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    new.append(trace.from_values(json.loads(line)))
                except (ValueError, TypeError):
                    self.lost += 1  # cut off: the pipe was full
        self.events += new
        return new

    def text(
        self, events: list[Event] | None = None, *, bold: bool = False, head: bool = True
    ) -> str:
        """The events (by default all) in chapters, for a person; head: with what to know first."""
        from jubako.linux.explain.text import render

        if events is None:
            self.collect()
            events = self.events
        return render(events, bold=bold, head=head)


def to_dict(event: Event) -> dict[str, Any]:
    """An event as `--explain=json` prints it; docs/explain.md has the fields."""
    return {
        "chapter": chapter_of(event),
        "role": event.role or "command",
        "pid": event.pid,
        "op": event.op,
        "arguments": event.facts,
        "shell": event.shell,
        "why": event.why,
        "time_s": round(event.started_s, 6),
        "duration_s": round(event.duration_s, 6),
        "error": event.error,
    }


def _open_pipe() -> int:
    """One descriptor for both ends, which never blocks and is closed by exec."""
    try:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
            both = os.open(f"/proc/self/fd/{writer}", flags)
        finally:
            os.close(reader)
            os.close(writer)
    except OSError as error:
        raise KernelError.from_oserror("open a pipe for the explanation", error) from error
    try:
        fcntl.fcntl(both, _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # a smaller one may do
    try:
        high = fcntl.fcntl(both, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    except OSError:
        return both  # a low limit of descriptors
    os.close(both)
    return high
