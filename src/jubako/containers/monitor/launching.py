"""How a command starts a monitor: what it does beside `jubako.containers.monitor.process`.

Apart from that module, because a command whose launcher stands by needs nothing of a monitor.
"""

from __future__ import annotations

import os
import socket

from jubako.containers import events, report
from jubako.errors import JubakoError, KernelError
from jubako.linux import trace
from jubako.store import boot_id, point
from jubako.store.lock import Lock, wait_released

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container


def launch(services: Services, container: Container, client: socket.socket | None) -> int:
    """Fork a monitor that starts `container`, and wait for its report; returns init's pid.

    client: the monitor's end of the first attached client.  The caller holds the container's lock.
    Raises the error of the start, whose traces are gone by then.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs, Lock(services.monitor_lock(container.id), timeout_s=30) as lock:
            # the last monitor has ended: the lock was free
            with services.store.transaction():
                services.table.update(
                    container.id,
                    boot_id=boot_id(),
                    error="",
                    oom_killed=0,
                    restart_count=0,
                    stop_requested=0,
                )
                if client is not None:
                    events.emit(services.store, container.record, "attach")
            point("containers.start.marked")
            try:
                child = _spawn(services, container, lock, theirs, client)
            except OSError as exc:
                services.table.update(container.id, boot_id="")
                raise KernelError.from_oserror(f"start {container.name}: fork", exc) from exc
        os.waitpid(child, 0)
        answer = report.receive(ours)
    if answer is None:
        _clear_after_crash(services, container)
        raise JubakoError(f"start {container.name}: the monitor died", subject=container.id)
    if "error" in answer:
        raise report.unpack_error(answer["error"])
    return int(answer["pid"])


def _clear_after_crash(services: Services, container: Container) -> None:
    """The monitor was killed before it could report; what it made goes now."""
    from jubako.containers.repair import repair_and_tidy

    point("containers.start.unreported")
    wait_released(services.monitor_lock(container.id), timeout_s=10)
    repair_and_tidy(services, container.id)


def _spawn(
    services: Services,
    container: Container,
    lock: Lock,
    channel: socket.socket,
    client: socket.socket | None,
) -> int:
    """Make the process that becomes the monitor's parent; its PID.

    A process with threads must not fork and go on in Python (fork(2)): there a new interpreter
    does the same, with the descriptors named on its command line.
    """
    descriptors = [lock.fd, channel.fileno()]
    if client is not None:
        descriptors.append(client.fileno())
    launcher, services.launcher = services.launcher, None
    if launcher is not None and launcher.launch(container.id, descriptors):
        return launcher.pid
    if len(os.listdir("/proc/self/task")) > 1:
        from jubako.containers import interpreter

        root = services.store.path
        return interpreter.spawn(
            "monitor.process",
            root,
            container.id,
            *descriptors,
            descriptors=descriptors,
            variables=trace.environment(),
        )
    from jubako.containers.monitor.process import detach

    services.close()  # the child would close numbers of descriptors that it has lost
    child = os.fork()
    if child == 0:
        detach(services.store.path, container.id, descriptors)
    return child
