"""The health checks of one container in its monitor: timers, and a process for each check.

A monitor that serves knows no rows.  A `probe` reads and writes them, and tells the new status with
its exit code.  All times are on the monotonic clock: nobody sets it.
"""

from __future__ import annotations

import os
import signal
import time

from jubako.containers import interpreter
from jubako.containers.monitor import health
from jubako.errors import KernelError
from jubako.linux.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.model import HealthConfig
    from jubako.linux.loop import EventLoop, Timer


class Checks:
    """Checks a running container until it is closed.

    root: of the store.  pid: of the container's init.  started_s: when it was started.
    host_mounts: a descriptor of the host's mount namespace.  status, due_s, probe (the PID of the
    check under way, a child of this process): where an earlier object has left off (`hand_over`).
    """

    def __init__(
        self,
        loop: EventLoop,
        check: HealthConfig,
        *,
        root: str,
        container_id: str,
        pid: int,
        started_s: float,
        host_mounts: int,
        status: str = health.STARTING,
        due_s: float | None = None,
        probe: int = 0,
    ):
        self._loop = loop
        self._check = check
        self._root = root
        self._container_id = container_id
        self._pid = pid
        self._started_s = started_s
        self._host_mounts = host_mounts
        self._status = status
        self._probe = probe
        self._probe_fd = -1
        self._due_s = self._next() if due_s is None else due_s
        self._timer: Timer | None = None
        if probe:
            self._watch()
        else:
            self._schedule()

    def _next(self) -> float:
        now = time.monotonic()
        return now + health.pause_s(self._check, self._status, now - self._started_s)

    def _schedule(self) -> None:
        left_s = max(0.0, self._due_s - time.monotonic())
        self._timer = self._loop.call_later(left_s, self._start)

    def _start(self) -> None:
        mounts = f"/proc/{os.getpid()}/fd/{self._host_mounts}"
        who = (self._root, self._container_id, self._pid, self._started_s)
        try:
            self._probe = interpreter.spawn("monitor.probe", *who, os.getpid(), mounts)
        except KernelError:  # no memory, no process: the next time
            self._again()
            return
        self._watch()

    def _watch(self) -> None:
        self._probe_fd = os.pidfd_open(self._probe)
        self._loop.add(self._probe_fd, READ, self._done)

    def _done(self, events: int) -> None:
        self._loop.remove(self._probe_fd)
        code = self._reap()
        self._status = health.EXIT_CODES.get(code, self._status)
        self._again()

    def _again(self) -> None:
        self._due_s = self._next()
        self._schedule()

    def _reap(self) -> int:
        os.close(self._probe_fd)
        _, status = os.waitpid(self._probe, 0)
        self._probe = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """The container has ended: so does a check that is under way."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probe:
            self._loop.remove(self._probe_fd)
            os.kill(self._probe, signal.SIGKILL)
            self._reap()

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of after an exec."""
        return {
            "check": self._check,
            "root": self._root,
            "container_id": self._container_id,
            "pid": self._pid,
            "started_s": self._started_s,
            "host_mounts": self._host_mounts,
            "status": self._status,
            "due_s": self._due_s,
            "probe": self._probe,
        }

    @classmethod
    def take_over(cls, loop: EventLoop, state: dict[str, Any]) -> Checks:
        """Go on with what `hand_over` described."""
        return cls(loop, **state)
