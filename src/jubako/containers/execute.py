"""`exec`: another process in a running container, as the caller sees it.

The process is a child of its holder (`jubako.containers.holder`); the caller has the other ends of
its streams.
"""

from __future__ import annotations

import os

from jubako.containers.exec_table import EXIT_NOT_STARTED, ExecTable, check_running
from jubako.containers.execution import Execution
from jubako.containers.terminal import parse_detach_keys
from jubako.errors import InvalidArgument, StartError, WrongState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.exec_table import Exec
    from jubako.containers.holder import Started
    from jubako.containers.model import ExecProcess, ExecRecord
    from jubako.containers.services import Services
    from jubako.containers.table import Container

_NOT_ABSOLUTE = "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown"


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
    return _start(services, container, record, {"record": record}, detach=detach)


def start_created(
    services: Services, container: Container, row: Exec, *, detach: bool
) -> Execution | None:
    """Start an exec that was created before; see ExecService.start."""
    try:
        return _start(services, container, row.record, {"exec": row.id}, detach=detach)
    except StartError as exc:
        if ExecTable(services.store).get(row.id).status == "created":
            ExecTable(services.store).failed(row.id, exc.exit_code)
        raise


def _start(
    services: Services,
    container: Container,
    record: ExecRecord,
    which: dict[str, Any],
    *,
    detach: bool,
) -> Execution | None:
    check_running(container.id, container.status)
    order = {
        "container": container.id,
        "pid": container.pid,
        "process": _process(container, record),
        **which,
    }
    holder = services.take_holder()
    streams = Streams(record, detach=detach)
    try:
        started = holder.start({**order, "streams": list(streams.theirs)}, streams.passed)
    except BaseException:
        streams.close()
        raise
    finally:
        streams.close_theirs()
    if detach:
        streams.close()
        _let_go(started)
        return None
    return Execution(started, streams)


def _let_go(started: Started) -> None:
    started.channel.close()
    os.close(started.pidfd)
    if started.console >= 0:
        os.close(started.console)


def _process(container: Container, record: ExecRecord) -> dict[str, Any]:
    """The OCI process object.  Raises WrongState, StartError (user, directory)."""
    from jubako.containers import spec

    config = record["ProcessConfig"]
    if record["WorkingDir"] and not record["WorkingDir"].startswith("/"):
        raise StartError(_NOT_ABSOLUTE, exit_code=EXIT_NOT_STARTED, subject=record["WorkingDir"])
    try:
        root = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise WrongState(f"container {container.id} is not running") from exc
    try:
        return spec.exec_process(
            container.record,
            [config["entrypoint"], *config["arguments"]],
            rootfs_fd=root,
            user=config.get("user", ""),
            env=record["Env"],
            workdir=record["WorkingDir"],
            tty=config["tty"],
            privileged=config["privileged"],
            console_size=record["ConsoleSize"] or None,
        )
    except InvalidArgument as exc:  # no such user: as if the runtime had found out
        raise StartError(exc.message, exit_code=EXIT_NOT_STARTED, hint=exc.hint) from exc
    finally:
        os.close(root)


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
