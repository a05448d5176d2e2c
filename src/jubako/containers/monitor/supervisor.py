"""What a monitor does while its container runs, and when the container's init has ended.

The supervisor needs little: descriptors, an event loop, the container's ID.  What is needed to take
a container down is imported when that happens, so that a monitor that serves stays small; see
`jubako.containers.monitor.slim`.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from jubako.containers import interpreter
from jubako.containers.monitor import slim
from jubako.containers.streams import frames
from jubako.errors import KernelError
from jubako.linux.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from jubako.containers.monitor.checks import Checks
    from jubako.containers.monitor.recorder import Recorder
    from jubako.containers.services import Services
    from jubako.containers.streams.stdio import Stdio
    from jubako.containers.table import Container
    from jubako.linux.loop import EventLoop
    from jubako.networks.serving import Serving

    T = TypeVar("T")

_RETRY_S = 0.5
_END_PATH = ("jubako.containers.monitor.ending", "jubako.containers.monitor.explaining")


def import_end_path() -> None:
    """Import what is needed when the container ends."""
    for name in _END_PATH:
        __import__(name)


class Supervisor:
    """Serves one running container.

    pid, pidfd: of its init, a child of this process.  listener: the attach socket.  host_mounts:
    a descriptor of the host's mount namespace, to which the process returns at the end.
    layer_mounts: of that in which the container's layers are mounted, -1 without; it stays open as
    long as the process lives.  lock_fd: of the monitor's lock.  started_s: when it was started, on
    the monotonic clock.  delay_s: how long its restart policy waited before that, 0 if a user
    started it.
    services: opens the services of the root; called when they are needed.  root: of the store.
    """

    def __init__(
        self,
        loop: EventLoop,
        streams: Stdio,
        services: Callable[[], Services],
        *,
        root: str,
        container_id: str,
        pid: int,
        pidfd: int,
        listener: socket.socket,
        host_mounts: int,
        layer_mounts: int,
        lock_fd: int,
        started_s: float,
        delay_s: float,
    ):
        self.loop = loop
        self.streams = streams
        self.services = services
        self.root = root
        self.container_id = container_id
        self.pid = pid
        self.pidfd = pidfd
        self.listener = listener
        self.host_mounts = host_mounts
        self.layer_mounts = layer_mounts
        self.lock_fd = lock_fd
        self.started_s = started_s
        self.delay_s = delay_s
        self.network: Serving | None = None
        self.checks: Checks | None = None
        self.recorder: Recorder | None = None
        self._version = interpreter.Version()

    def serve(self) -> None:
        """Until init ends; then everything is taken down, recorded and told."""
        self.loop.add(self.listener.fileno(), READ, self._accept)
        self.loop.add(self.pidfd, READ, lambda events: self.loop.stop())
        self.loop.run()
        if self._version.replaced:
            slim.renew(self)
        self._finish()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        self.streams.add(connection)

    def _finish(self) -> None:
        """Drain, take down, record, tell, remove or restart, in this order."""
        ran_s = time.monotonic() - self.started_s
        if self.checks is not None:
            self.checks.close()
        from jubako.containers.monitor import ending, explaining, samples
        from jubako.containers.takedown import free, run_all
        from jubako.store import point

        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        self.loop.remove(self.listener.fileno())
        self.listener.close()
        self.streams.drain()
        services, container = self._eventually(self._find, code)
        explaining.accept(services, container.id)
        oom = ending.oom_killed(services, container)
        sample, oom_due = self.recorder.close() if self.recorder is not None else ("", oom)
        point("containers.exit.drained")
        errors = run_all([self._leave_mounts, lambda: free(services, container)])
        self.streams.drain()  # processes that outlived init (`--pid host`) are gone now as well
        end = ending.End(code, oom, errors, ran_s, self.delay_s, sample, oom_due)
        outcome = self._eventually(lambda: ending.record(services, container.id, end), code)
        samples.forget_file(services, container.id)
        point("containers.exit.recorded")
        self.streams.broadcast(frames.encode(frames.EXITED, f"{code} {end.error}".encode()))
        if outcome.remove:
            run_all([lambda: _remove(services, container)])
        self.streams.broadcast(frames.encode(frames.GONE))
        self.streams.close()
        ending.note_lost_records(services, container, self.streams.lost)
        if outcome.restart_s is not None:
            from jubako.containers.monitor import restarting

            restarting.become(services, container.id, self.lock_fd, outcome.restart_s)

    def _leave_mounts(self) -> None:
        from jubako.linux import ns

        if self.network is not None:
            self.network.close()
        why = "the last who held the container's mounts lets go"
        ns.setns(self.host_mounts, ns.CLONE_NEWNS, why=why)

    def _find(self) -> tuple[Services, Container]:
        services = self.services()
        container = services.table.find(self.container_id)
        assert container is not None  # only its monitor removes the row of a running container
        return services, container

    def _eventually(self, action: Callable[[], T], code: int) -> T:
        """The result of `action`, tried again for as long as the disk is full.

        Nobody else knows how the container ended.  Who is attached is told and need not wait.
        """
        while True:
            try:
                return action()
            except KernelError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
            self.streams.broadcast(frames.encode(frames.EXITED, f"{code} ".encode()))
            self.streams.broadcast(frames.encode(frames.GONE))
            self.streams.close()
            time.sleep(_RETRY_S)


def _remove(services: Services, container: Container) -> None:
    """`--rm`: the container, and the anonymous volumes that were made for it."""
    from jubako.containers.remove import remove_container

    remove_container(services, container, volumes=True)
