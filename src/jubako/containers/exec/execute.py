"""`exec`: another process in a running container, as the caller sees it.

The process is a child of its holder (`jubako.containers.exec.holder`); the caller has the other
ends of its streams.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager

from jubako.containers.exec.execution import Execution
from jubako.containers.exec.holder import EXIT_NOT_STARTED, take
from jubako.containers.exec.table import ExecTable, new_id
from jubako.containers.streams.terminal import parse_detach_keys
from jubako.errors import InvalidArgument, KernelError, StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jubako.containers.exec.holder import Holder
    from jubako.containers.exec.table import Exec
    from jubako.containers.model import ExecProcess, ExecRecord
    from jubako.containers.services import Services
    from jubako.containers.table import Container


_MOMENT_S = 0.003  # most commands end sooner: their row changes once less


def new_record(config: Mapping[str, Any]) -> ExecRecord:
    """What is kept of an exec, from the Engine API's ExecConfig; missing keys get its defaults.

    Raises InvalidArgument (no command, bad detach keys).
    """
    argv = list(config.get("Cmd") or ())
    if not argv:
        raise InvalidArgument("No exec command specified")
    keys = config.get("DetachKeys") or ""
    process: ExecProcess = {
        "tty": bool(config.get("Tty")),
        "entrypoint": argv[0],
        "arguments": argv[1:],
        "privileged": bool(config.get("Privileged")),
    }
    if config.get("User"):
        process["user"] = config["User"]
    return {
        "ProcessConfig": process,
        "OpenStdin": bool(config.get("AttachStdin")),
        "OpenStdout": bool(config.get("AttachStdout")),
        "OpenStderr": bool(config.get("AttachStderr")),
        "DetachKeys": _encoded_keys(keys),
        "Env": list(config.get("Env") or ()),
        "WorkingDir": config.get("WorkingDir") or "",
        "ConsoleSize": list(config.get("ConsoleSize") or ()),
    }


def _encoded_keys(keys: str) -> str:
    """As the API shows them: the bytes in base64."""
    if not keys:
        return ""
    import binascii

    try:
        return binascii.b2a_base64(parse_detach_keys(keys), newline=False).decode()
    except InvalidArgument as exc:
        raise InvalidArgument(f"Invalid escape keys ({keys}) provided") from exc


def start_new(
    services: Services, container: Container, record: ExecRecord, *, detach: bool
) -> Execution | None:
    """Start a process in a running container; see ContainerService.exec."""
    holder = take(services.store)
    exec_id = new_id()
    try:
        with _even_on_a_full_disk():
            ExecTable(services.store).create_running(container, exec_id, record, holder.pid)
    except BaseException:
        holder.close()
        raise
    return _start(services, container, exec_id, record, holder, detach=detach)


def start_created(
    services: Services, container: Container, row: Exec, *, detach: bool
) -> Execution | None:
    """Start an exec that was created before; see ExecService.start."""
    holder = take(services.store)
    try:
        ExecTable(services.store).claim(container, row.id, row.record, holder.pid)
    except BaseException:
        holder.close()
        raise
    return _start(services, container, row.id, row.record, holder, detach=detach)


def _start(
    services: Services,
    container: Container,
    exec_id: str,
    record: ExecRecord,
    holder: Holder,
    *,
    detach: bool,
) -> Execution | None:
    table = ExecTable(services.store)
    streams = Streams(record, detach=detach)
    order = {
        "root": services.store.path,
        "state_dir": services.store.run_directory("runtime"),
        "cache_dir": services.store.run_directory("seccomp"),
        "container": {"id": container.id, "pid": container.pid, "record": container.record},
        "exec": exec_id,
        "record": record,
        "sizes": size_socket(services, container.id, exec_id),
        "streams": list(streams.theirs),
    }
    try:
        started = holder.start(order, streams.passed)
    except BaseException as exc:
        streams.close()
        code = exc.exit_code if isinstance(exc, StartError) else EXIT_NOT_STARTED
        with _even_on_a_full_disk():
            table.failed(exec_id, code)
            holder.recorded()
        holder.close()
        raise
    finally:
        streams.close_theirs()
    if detach:
        with _even_on_a_full_disk():
            table.started(exec_id, started.pid, record)
        streams.close()
        started.close()
        return None

    def record_end(status: int) -> None:
        with _even_on_a_full_disk():  # then the holder does it when there is space
            table.ended(container.record, exec_id, status, started.pid)
            started.recorded()

    execution = Execution(exec_id, started, streams, record_end)
    if not execution.ends_within(_MOMENT_S):
        with _even_on_a_full_disk():
            table.started(exec_id, started.pid, record)
    return execution


@contextmanager
def _even_on_a_full_disk() -> Iterator[None]:
    """Who looks for what fills the disk must be able to, also when it cannot be recorded."""
    try:
        yield
    except KernelError as exc:
        if exc.errno != errno.ENOSPC:
            raise


def size_socket(services: Services, container_id: str, exec_id: str) -> str:
    """Where the holder of an exec with a terminal takes sizes; short, as sun_path is."""
    return f"{services.run_directory(container_id)}/e-{exec_id[:12]}"


class Streams:
    """The pipes of a process without a terminal, by the names of the holder's order.

    stdin, stdout, stderr: the caller's ends, -1 for a stream that is not attached.
    """

    __slots__ = ("stderr", "stdin", "stdout", "theirs")

    def __init__(self, record: ExecRecord, *, detach: bool):
        self.stdin = self.stdout = self.stderr = -1
        self.theirs: dict[str, int] = {}
        if detach or record["ProcessConfig"]["tty"]:
            return
        if record["OpenStdin"]:
            self.theirs["stdin"], self.stdin = os.pipe2(os.O_CLOEXEC)
        if record["OpenStdout"]:
            self.stdout, self.theirs["stdout"] = os.pipe2(os.O_CLOEXEC)
        if record["OpenStderr"]:
            self.stderr, self.theirs["stderr"] = os.pipe2(os.O_CLOEXEC)
        for name in ("stdout", "stderr"):
            if name in self.theirs:
                self.theirs[f"drain_{name}"] = getattr(self, name)

    @property
    def passed(self) -> list[int]:
        return list(self.theirs.values())

    def close_theirs(self) -> None:
        for name, fd in self.theirs.items():
            if not name.startswith("drain_"):
                os.close(fd)
        self.theirs = {}

    def close(self) -> None:
        for fd in {self.stdin, self.stdout, self.stderr} - {-1}:
            os.close(fd)
        self.stdin = self.stdout = self.stderr = -1
