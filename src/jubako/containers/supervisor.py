"""What a monitor does while its container runs, and when the container's init has ended.

The supervisor needs little: descriptors, an event loop, the container's ID.  What is needed to take
a container down is imported when that happens, so that a monitor that serves stays small; see
`jubako.containers.slim`.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from jubako.containers import frames
from jubako.errors import KernelError
from jubako.linux.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from jubako.containers.services import Services
    from jubako.containers.stdio import Stdio
    from jubako.containers.table import Container
    from jubako.errors import JubakoError
    from jubako.linux.loop import EventLoop
    from jubako.networks.serving import Serving

    T = TypeVar("T")

_RETRY_S = 0.5


class Supervisor:
    """Serves one running container.

    pid, pidfd: of its init, a child of this process.  listener: the attach socket.  host_mounts:
    a descriptor of the host's mount namespace, to which the process returns at the end.
    services: opens the services of the root; called when they are needed.
    """

    def __init__(
        self,
        loop: EventLoop,
        streams: Stdio,
        services: Callable[[], Services],
        *,
        container_id: str,
        pid: int,
        pidfd: int,
        listener: socket.socket,
        host_mounts: int,
    ):
        self.loop = loop
        self.streams = streams
        self.services = services
        self.container_id = container_id
        self.pid = pid
        self.pidfd = pidfd
        self.listener = listener
        self.host_mounts = host_mounts
        self.network: Serving | None = None

    def serve(self) -> None:
        """Until init ends; then everything is taken down, recorded and told."""
        self.loop.add(self.listener.fileno(), READ, self._accept)
        self.loop.add(self.pidfd, READ, lambda events: self.loop.stop())
        self.loop.run()
        self._finish()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        self.streams.add(connection)

    def _finish(self) -> None:
        """Drain, take down, record, tell, remove, in this order."""
        from jubako.containers.takedown import free, run_all
        from jubako.store import point

        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        self.loop.remove(self.listener.fileno())
        self.listener.close()
        self.streams.drain()
        services, container = self._eventually(self._find, code)
        oom = _oom_killed(services, container)
        point("containers.exit.drained")
        errors = run_all([self._leave_mounts, lambda: free(services, container)])
        self.streams.drain()  # processes that outlived init (`--pid host`) are gone now as well
        error = "; ".join(str(exc) for exc in errors)
        columns = self._columns(container, errors)
        columns.update(exit_code=code, oom_killed=int(oom), error=error)
        services.store.use_reserve()
        self._eventually(lambda: _record_end(services, container, columns), code)
        point("containers.exit.recorded")
        self.streams.broadcast(frames.encode(frames.EXITED, f"{code} {error}".encode()))
        if container.record["HostConfig"].get("AutoRemove"):
            run_all([lambda: _remove(services, container)])
        self.streams.broadcast(frames.encode(frames.GONE))
        self.streams.close()

    def _leave_mounts(self) -> None:
        from jubako.linux import ns

        if self.network is not None:
            self.network.close()
        ns.setns(self.host_mounts, ns.CLONE_NEWNS, why="let go of the container's mounts")

    def _find(self) -> tuple[Services, Container]:
        services = self.services()
        container = services.table.find(self.container_id)
        assert container is not None  # only its monitor removes the row of a running container
        return services, container

    def _columns(self, container: Container, errors: list[JubakoError]) -> dict[str, object]:
        """What the end changes in the row, in one transaction: who finds `exited` need not ask
        what is left.

        `boot_id` stays, and lets `recover` go on here if we die, when something could not be taken
        down, and while `--rm` is still to be done.
        """
        from jubako.containers.takedown import NOTHING_LEFT
        from jubako.containers.times import now

        columns: dict[str, object] = {"pid": 0, "status": "exited", "finished": now()}
        if not errors and not container.record["HostConfig"].get("AutoRemove"):
            columns.update(NOTHING_LEFT)
        return columns

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


def _record_end(services: Services, container: Container, columns: dict[str, object]) -> None:
    from jubako.containers import events
    from jubako.containers.times import seconds

    lasted_s = max(0, int(time.time() - seconds(container.started)))
    with services.store.transaction():
        services.table.update(container.id, **columns)
        events.network(services, container, "disconnect")
        if columns["oom_killed"]:
            events.emit(services.store, container.record, "oom")
        events.emit(
            services.store,
            container.record,
            "die",
            exitCode=columns["exit_code"],
            execDuration=lasted_s,
            notes={"error": columns["error"]} if columns["error"] else None,
        )


def _oom_killed(services: Services, container: Container) -> bool:
    from jubako.errors import JubakoError
    from jubako.linux.cgroups import Cgroup

    parent = container.record["HostConfig"].get("CgroupParent", "")
    try:
        return Cgroup(services.cgroup_path(container.id, parent)).oom_kills() > 0
    except JubakoError:
        return False


def _remove(services: Services, container: Container) -> None:
    """`--rm`: the container, and the anonymous volumes that were made for it."""
    from jubako.containers.remove import remove_container

    remove_container(services, container, volumes=True)
