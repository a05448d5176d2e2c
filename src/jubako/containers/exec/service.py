"""The execs of containers: what `Engine.containers.execs` is.

An exec is a process in a running container beside the first.  `ContainerService.exec` starts one in
a single step; here are the two steps of the Engine API, and what can be done with one that runs.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import time

from jubako.containers.exec.table import ExecTable, check_running, start_ticks, to_inspect
from jubako.errors import Conflict, InvalidArgument, KernelError, Unavailable, WrongState
from jubako.linux import pidfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jubako.containers.exec.execution import Execution
    from jubako.containers.exec.table import Exec
    from jubako.containers.services import Services
    from jubako.containers.table import Container

DEFAULT_STOP_TIMEOUT_S = 10
_KILL_PATIENCE_S = 10.0  # a killed process that does not die hangs in the kernel
_POLL_S = 0.005


class ExecService:
    """The execs of one root.

    An exec is named by its ID or an unambiguous prefix of it; every method that takes such a
    reference raises NotFound when there is none.  One that has ended is known for five minutes.
    """

    def __init__(self, services: Services, find: Callable[[str], Container]):
        """find: the container of a name or ID; it raises NotFound."""
        self._services = services
        self._find = find
        self._table = ExecTable(services.store)

    def create(self, container: str, config: Mapping[str, Any]) -> str:
        """Prepare a process in a running container, to be started later; returns the exec's ID.

        config: the Engine API's ExecConfig: Cmd, Env, User, WorkingDir, Tty, Privileged,
        AttachStdin, AttachStdout, AttachStderr, DetachKeys, ConsoleSize.
        Raises WrongState, InvalidArgument.
        """
        from jubako.containers.exec.execute import new_record

        found = self._find(container)
        check_running(found.id, found.name, found.status)
        return self._table.create(found, new_record(config))

    def start(
        self,
        exec_id: str,
        *,
        detach: bool = False,
        console_size: tuple[int, int] | None = None,
    ) -> Execution | None:
        """Start what was created, once; returns its streams, None with `detach`.

        console_size: rows and columns of its terminal.
        Raises Conflict (it was started before), WrongState, StartError (126, 127).
        """
        from jubako.containers.exec.execute import start_created

        row = self._table.get(exec_id)
        if row.status != "created":
            word = "is already running" if row.running else "has already run"
            raise Conflict(f"Error: Exec command {row.id} {word}", subject=row.id)
        if console_size is not None:
            row.record["ConsoleSize"] = list(console_size)
        container = self._find(row.container_id)
        return start_created(self._services, container, row, detach=detach)

    def list(self, container: str) -> list[dict[str, Any]]:
        """Those of a container, the oldest first: each as `inspect` shows it, and when it was
        created and has ended (`Created`, `Finished`: RFC 3339)."""
        from jubako.containers.times import NEVER, timestamp

        return [
            {
                **to_inspect(row),
                "Created": timestamp(row.created_ns),
                "Finished": timestamp(row.finished_ns) if row.finished_ns else NEVER,
            }
            for row in self._table.of(self._find(container).id)
        ]

    def inspect(self, exec_id: str) -> dict[str, Any]:
        """The Engine API's ExecInspect object.  ExitCode is None until it has ended."""
        return to_inspect(self._table.get(exec_id))

    def signal(self, exec_id: str, number: str | int) -> None:
        """Send a signal, by name or number, to its process, and to no other that this started.

        Raises WrongState (it does not run, the container is paused), InvalidArgument.
        """
        from jubako.containers.signals import parse_signal

        try:
            parsed = parse_signal(str(number))
        except InvalidArgument as exc:
            raise InvalidArgument(f"cannot kill exec: {exec_id}: {exc}") from exc
        row = self._running(exec_id)
        handle = self._open(row)
        try:
            _send(handle, row, parsed)
        finally:
            os.close(handle)

    def stop(
        self, exec_id: str, *, timeout_s: int | None = None, signal_name: str | None = None
    ) -> int | None:
        """Ask it to end, kill it after `timeout_s` seconds (-1: never); returns its exit code.

        The signals go to the process group that it leads: to what it has started too, unless that
        is in a group of its own.  Nothing happens to one that has ended.
        Raises WrongState (it was not started, the container is paused), Unavailable (it does not
        even die of SIGKILL), InvalidArgument.
        """
        from jubako.containers.signals import parse_signal

        number = parse_signal(signal_name or "TERM")
        row = self._table.get(exec_id)
        if row.status == "exited":
            return row.exit_code
        row = self._running(row.id)
        grace_s = DEFAULT_STOP_TIMEOUT_S if timeout_s is None else timeout_s
        handle = self._open(row)
        try:
            if grace_s == 0 or not _ends(handle, row, number, grace_s):
                if not _ends(handle, row, signal.SIGKILL, _KILL_PATIENCE_S):
                    raise Unavailable(f"exec {row.id}: its process does not end", subject=row.id)
        finally:
            os.close(handle)
        return self._settled(row.id).exit_code

    def resize(self, exec_id: str, rows: int, columns: int) -> None:
        """Tell its terminal how large it is.  Raises WrongState: it does not run or has none."""
        from jubako.containers.exec.execute import size_socket
        from jubako.containers.streams.frames import encode_resize

        row = self._running(exec_id)
        if not row.record["ProcessConfig"]["tty"]:
            raise WrongState(f"exec {row.id} has no terminal", subject=row.id)
        if not (0 < rows < 1 << 16 and 0 < columns < 1 << 16):
            raise InvalidArgument(f"exec {row.id}: a terminal of {rows} rows, {columns} columns")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sizes:
            try:
                path = size_socket(self._services, row.container_id, row.id)
                sizes.sendto(encode_resize(rows, columns), path)
            except OSError as exc:
                raise _not_running(row.id) from exc

    # which process

    def _running(self, exec_id: str) -> Exec:
        """The exec, of which a process exists.  Raises WrongState."""
        deadline = time.monotonic() + _KILL_PATIENCE_S
        while True:
            row = self._table.get(exec_id)
            if not row.running:
                raise _not_running(row.id)
            if row.pid:
                break
            if time.monotonic() > deadline:
                raise Unavailable(f"exec {row.id}: it is being started", subject=row.id)
            time.sleep(_POLL_S)  # until its holder has noted the process
        status = self._find(row.container_id).status
        if status == "paused":
            raise WrongState(
                f"container {row.container_id} is paused: its processes take no signals",
                hint=f"jubako unpause {row.container_id[:12]}",
                subject=row.id,
            )
        return row

    def _open(self, row: Exec) -> int:
        """A pidfd of its process, and of no later one with the same number.  Raises WrongState."""
        try:
            handle = os.pidfd_open(row.pid)
        except OSError as exc:
            raise _not_running(row.id) from exc
        if start_ticks(row.pid) != row.record.get("PidTicks"):
            os.close(handle)
            raise _not_running(row.id)
        return handle

    def _settled(self, exec_id: str) -> Exec:
        """The exec once its holder has recorded the end."""
        row = self._table.get(exec_id)
        while row.running:
            time.sleep(_POLL_S)
            row = self._table.get(exec_id)
        return row


def _send(handle: int, row: Exec, number: int, *, group: bool = False) -> None:
    flags = pidfd.SIGNAL_PROCESS_GROUP if group else 0
    try:
        pidfd.send_signal(handle, number, flags=flags, why="for a program that exec has started")
    except KernelError as exc:
        if exc.errno == errno.ESRCH:
            raise _not_running(row.id) from exc
        if not group:
            raise
        _send(handle, row, number)  # before Linux 6.9: the process alone


def _ends(handle: int, row: Exec, number: int, timeout_s: float) -> bool:
    """Send a signal to the process group; whether the process ends in time (negative: for ever)."""
    try:
        _send(handle, row, number, group=True)
    except WrongState:
        return True
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if timeout_s < 0 else timeout_s * 1000))


def _not_running(exec_id: str) -> WrongState:
    return WrongState(f"exec {exec_id} is not running", subject=exec_id)
