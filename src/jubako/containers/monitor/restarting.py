"""A monitor whose container has ended and is to run again: it waits, and then starts it.

    monitor ── row `restarting`, execve ──> python -I -S ── waits ── takes the lock ── starts it
                                              ▲                                           │
        a command: the row says stop_requested │ connects                    monitor of it ┘
                                              └────> row `exited`, the process ends

The process stays the same, with its PID and the monitor's lock; but it is a fresh interpreter,
which is small while it waits and of the version that is installed now.  It starts the container
under the container's lock, like every command.  A container whose start fails stays `exited` with
the exit code that it had, as with Docker.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

from jubako.containers import interpreter
from jubako.containers.monitor import listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.containers.services import Services
    from jubako.store.lock import Lock

_BUSY_S = 0.02  # how often the container's lock is tried while a command holds it


def become(services: Services, container_id: str, lock_fd: int, delay_s: float) -> None:
    """Go on as the process that starts the container after `delay_s`.

    lock_fd: the monitor's lock.  The container is `restarting`.  Never returns.
    """
    os.set_inheritable(lock_fd, True)
    arguments = _arguments(services, container_id, lock_fd, delay_s)
    try:
        interpreter.replace("monitor.restarting", *arguments)
    except OSError:  # the interpreter was upgraded away, or memory is short: stay in this one
        os.set_inheritable(lock_fd, False)
        _Restart(*arguments).run()


def relaunch(services: Services, container_id: str) -> None:
    """Start such a process for a container whose monitor has died, and which is `restarting`.

    The caller holds the container's lock: the start begins when that is free.
    """
    from jubako.store.lock import Lock

    with Lock(services.monitor_lock(container_id), timeout_s=30) as lock:
        os.set_inheritable(lock.fd, True)
        arguments = _arguments(services, container_id, lock.fd, 0.0)
        pid = interpreter.spawn("monitor.restarting", *arguments, "detach")
    os.waitpid(pid, 0)


def _arguments(
    services: Services, container_id: str, lock_fd: int, delay_s: float
) -> tuple[str, str, str, int, float]:
    directory = services.run_directory(container_id)
    return services.store.path, container_id, directory, lock_fd, delay_s


def main() -> None:
    """The entry point of the interpreter.  Never returns."""
    root, container_id, directory, lock_fd, delay_s, *detach = sys.argv[1:]
    try:
        os.set_inheritable(int(lock_fd), False)
        if detach:
            _detach(int(lock_fd))
        _name_process()
        _Restart(root, container_id, directory, int(lock_fd), float(delay_s)).run()
    finally:
        os._exit(0)


def _detach(lock_fd: int) -> None:
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    from jubako.containers.monitor.process import leave_caller

    leave_caller([lock_fd])


def _name_process() -> None:
    with open("/proc/self/comm", "w") as file:
        file.write("jubako-monitor")


class _Restart:
    def __init__(self, root: str, container_id: str, directory: str, lock_fd: int, delay_s: float):
        self._root = root
        self._id = container_id
        self._directory = directory
        self._lock_fd = lock_fd
        self._delay_s = delay_s
        self._opened: Services | None = None

    def run(self) -> None:
        """Wait, start the container, and be its monitor until it has ended again."""
        due = time.monotonic() + self._delay_s
        with listener.listen(self._directory) as waker:
            _sleep(waker, due)
            while not self._is_over():
                if time.monotonic() >= due and (lock := self._try_lock()) is not None:
                    break
                _sleep(waker, max(due, time.monotonic() + _BUSY_S))
            else:
                return
        self._start(lock)

    def _services(self) -> Services:
        if self._opened is None:
            from jubako.containers.services import Services
            from jubako.store import Store

            self._opened = Services(Store(self._root))
        return self._opened

    def _is_over(self) -> bool:
        """Whether there is nothing to start any more; then the row says so."""
        from jubako.containers.takedown import NOTHING_LEFT
        from jubako.linux.removal import remove_tree

        services = self._services()
        container = services.table.find(self._id)
        if container is None or not container.restarting:
            return True
        if not container.stop_requested:
            return False
        remove_tree(self._directory)
        services.table.update(self._id, **{**NOTHING_LEFT, "status": "exited"})
        return True

    def _try_lock(self) -> Lock | None:
        """The container's lock, unless a command is at work on it."""
        from jubako.containers.monitor.launcher import import_start_path
        from jubako.errors import Unavailable

        import_start_path()
        lock = self._services().store.lock(self._id, timeout_s=0)
        try:
            lock.acquire()
        except Unavailable:
            return None
        return lock

    def _start(self, lock: Lock) -> None:
        from jubako.containers.monitor.process import Monitor

        if self._is_over():  # nobody changes that while we have the lock
            return
        _reap()
        services = self._services()
        container = services.table.get(self._id)
        restart = Restart(lock.release, self._delay_s)
        Monitor(services, container, self._lock_fd, restart=restart).main()


class Restart:
    """What a monitor knows about a start by the policy.

    done: called when the container runs, or cannot be started.  delay_s: how long it waited.
    """

    __slots__ = ("delay_s", "done")

    def __init__(self, done: Callable[[], None], delay_s: float):
        self.done = done
        self.delay_s = delay_s


def _sleep(waker: socket.socket, due: float) -> None:
    """Until `due`, or until somebody connects."""
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    if poll.poll(max(0.0, due - time.monotonic()) * 1000 + 1):
        waker.accept()[0].close()


def _reap() -> None:
    """Orphans of the last run that came to us and have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
