"""Another OCI runtime as a program: crun, runc, youki, or a `jubako-runtime` of another version.

Its command line is that of runc, which all of them share.  The process that it makes outlives it
and becomes our child, because we are a subreaper (prctl(2)) from the first `create` on.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket

from jubako.errors import (
    JubakoError,
    KernelError,
    NotFound,
    StartError,
    Unavailable,
    WrongState,
)
from jubako.linux import atomic, pidfd, prctl, process
from jubako.linux.shell import join
from jubako.linux.trace import traced
from jubako.runtime import words
from jubako.runtime.interface import OpenStdio, Process, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

TIMEOUT_S = 120.0  # of one command of the program; the engines that use it wait as long


class ExternalRuntime:
    """A `Runtime` that runs `program` for each operation.

    program: a name in PATH or a path.  state_dir: its `--root`.  `die_with_parent` has no meaning
    here: the program decides what its containers depend on.
    """

    def __init__(self, program: str, state_dir: str):
        self._program = process.find_program(program)
        self._name = os.path.basename(program)
        self._state_dir = state_dir
        if not os.access(self._program, os.X_OK):
            raise Unavailable(f"{program} is not installed", subject=program)

    # --- processes ---------------------------------------------------------------------------

    def create(
        self,
        container_id: str,
        bundle: str,
        stdio: Stdio,
        *,
        spec: dict[str, Any] | None = None,
        die_with_parent: bool = False,
    ) -> Process:
        """See `Runtime.create`.  A `spec` is written to `bundle`/config.json first."""
        if spec is not None:
            path = f"{bundle}/config.json"
            # crun before 1.9 knows no later version; what later ones added is optional in them.
            spec = {**spec, "ociVersion": "1.0.2"}
            atomic.write_file(path, json.dumps(spec).encode(), durable=False)
        else:
            from jubako.runtime.spec import load

            spec = load(bundle)
        terminal = bool(spec["process"].get("terminal"))
        return self._make(["create", "--bundle", bundle], container_id, stdio, terminal)

    def exec(
        self,
        container_id: str,
        process: dict[str, Any],
        stdio: Stdio,
        *,
        die_with_parent: bool = False,
    ) -> Process:
        """See `Runtime.exec`."""
        path = self._scratch(container_id, "process.json")
        atomic.write_file(path, json.dumps(process).encode(), durable=False)
        terminal = bool(process.get("terminal"))
        command = ["exec", "--detach", "--process", path]
        try:
            return self._make(command, container_id, stdio, terminal)
        finally:
            os.unlink(path)

    def _make(self, command: list[str], container_id: str, stdio: Stdio, terminal: bool) -> Process:
        why = "the runtime ends, and leaves the container's first process to this one"
        prctl.set_child_subreaper(why=why)
        pid_file = self._scratch(container_id, "pid")
        log = self._scratch(container_id, "log")
        console_path = self._scratch(container_id, "console")
        listener: socket.socket | None = None
        console: int | None = None
        try:
            argv = [self._program, "--root", self._state_dir, "--log", log, "--log-format", "json"]
            argv += [*command, "--pid-file", pid_file]
            if terminal:
                listener = _listen(console_path)
                argv += ["--console-socket", console_path]
                stdio = Stdio()
            why = f"the runtime does all of `{command[0]}`, and does not tell what"
            status, console = _spawn([*argv, container_id], stdio, listener, why=why)
            if status != 0:
                raise self._failure(_last_error(log) or f"exit status {status}", command[0])
            with open(pid_file, encoding="ascii") as file:
                pid = int(file.read())
            result = Process(pid, pidfd.open(pid), console)
            console = None
            return result
        finally:
            if listener is not None:
                listener.close()
            if console is not None:
                os.close(console)
            for path in (pid_file, log, console_path):
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass

    def _scratch(self, container_id: str, name: str) -> str:
        os.makedirs(self._state_dir, 0o700, exist_ok=True)
        # Beside the program's own directories; short, for the socket's sake.
        return f"{self._state_dir}/.{container_id[:16]}.{os.getpid()}.{name}"

    def _failure(self, reason: str, what: str) -> StartError:
        # All that another program gives is text; its wording is runc's, of which Docker makes its
        # exit codes in the same way.
        code = 128
        if "executable file not found" in reason or "no such file or directory" in reason.lower():
            code = 127
        elif "permission denied" in reason.lower() or "is a directory" in reason:
            code = 126
        prefix = words.EXEC_OUTER if what == "exec" else words.CREATE_OUTER
        text = f"{prefix}{reason}: unknown"
        if reason.endswith("is a directory"):
            text += ": permission denied"
        return StartError(text, exit_code=code)

    # --- the other operations ----------------------------------------------------------------

    def start(self, container_id: str) -> None:
        """See `Runtime.start`."""
        self._run("start", container_id)

    def state(self, container_id: str) -> dict[str, Any]:
        """See `Runtime.state`."""
        state: dict[str, Any] = self._json("state", container_id)
        return state

    def kill(self, container_id: str, signal: int, *, everything: bool = False) -> None:
        """See `Runtime.kill`."""
        options = ["--all"] if everything else []
        self._run("kill", *options, container_id, str(int(signal)), of=container_id)

    def delete(self, container_id: str, *, force: bool = False) -> None:
        """See `Runtime.delete`."""
        try:
            options = ["--force"] if force else []
            self._run("delete", *options, container_id, of=container_id)
        except NotFound:
            if not force:
                raise

    def pause(self, container_id: str) -> None:
        """See `Runtime.pause`."""
        self._run("pause", container_id)

    def resume(self, container_id: str) -> None:
        """See `Runtime.resume`."""
        self._run("resume", container_id)

    def update(self, container_id: str, resources: dict[str, Any]) -> None:
        """See `Runtime.update`."""
        data = json.dumps(resources).encode()
        self._run("update", "--resources", "-", container_id, of=container_id, stdin=data)

    def pids(self, container_id: str) -> list[int]:
        """See `Runtime.pids`."""
        return [int(pid) for pid in self._json("ps", "--format", "json", container_id) or ()]

    def _json(self, *command: str) -> Any:
        output = self._run(*command, of=command[-1])
        try:
            return json.loads(output)
        except ValueError as error:
            raise JubakoError(f"{self._name} {command[0]}: {error}", subject=command[-1]) from error

    def _run(self, *command: str, of: str = "", stdin: bytes = b"") -> bytes:
        container_id = of or command[-1]
        argv = [self._program, "--root", self._state_dir, "--log-format", "json", *command]
        done = process.run(
            argv, stdin=stdin, timeout_s=TIMEOUT_S, why=f"the runtime does all of `{command[0]}`"
        )
        if done.status == 0:
            return done.stdout
        reason = _readable(done.stderr.decode(errors="replace"))
        text = f"{self._name} {command[0]} {container_id}: {reason}"
        if command[0] == "state" or not self._exists(container_id):
            raise NotFound(f"container {container_id} does not exist", subject=container_id)
        raise WrongState(text, subject=container_id)

    def _exists(self, container_id: str) -> bool:
        argv = [self._program, "--root", self._state_dir, "state", container_id]
        done = process.run(argv, timeout_s=TIMEOUT_S, why="whether the runtime knows the container")
        return done.status == 0


def _readable(text: str) -> str:
    """What went wrong, out of what a program wrote to stderr: JSON log entries or plain lines."""
    found = _last_entry(text)
    lines = text.strip().splitlines()
    return found or (lines[-1] if lines else "failed without a word")


def _last_entry(text: str) -> str:
    found = ""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            found = str(entry.get("msg", ""))
    return found


def _last_error(log: str) -> str:
    """The message of the last error in a JSON log, "" if there is none."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return _last_entry(file.read(1 << 20))
    except FileNotFoundError:
        return ""


def _listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(path)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise KernelError.from_oserror("bind", error, path=path) from error
    return listener


@traced(
    lambda argv, stdio, listener, *, why="": join(argv),
    op="run",
    facts=lambda argv, stdio, listener, *, why="": {"argv": list(argv)},
)
def _spawn(
    argv: Sequence[str], stdio: Stdio, listener: socket.socket | None, *, why: str = ""
) -> tuple[int, int | None]:
    """Run to the end with descriptors of the caller's; the terminal that comes by the socket."""
    high: list[int] = []
    console: int | None = None
    try:
        with OpenStdio(stdio) as given:
            for fd in (given.stdin, given.stdout, given.stderr):
                high.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10))
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(high)]
        environment = {"PATH": process.SEARCH_PATH}
        if "XDG_RUNTIME_DIR" in os.environ:
            environment["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                environment,
                file_actions=actions,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )
        except OSError as error:
            raise KernelError.from_oserror("posix_spawn", error, path=argv[0]) from error
        handle = pidfd.open(pid)
        try:
            console = _wait(handle, listener)
            status = pidfd.wait(handle)
        except BaseException:
            pidfd.send_signal(handle, signal.SIGKILL, why="the container could not be started")
            pidfd.wait(handle)
            raise
        finally:
            os.close(handle)
        return status or 0, console
    finally:
        for fd in high:
            os.close(fd)


def _wait(handle: int, listener: socket.socket | None) -> int | None:
    """Until the program has ended; returns the terminal that it sent meanwhile."""
    console: int | None = None
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if listener is not None:
        poll.register(listener, select.POLLIN)
    while True:
        ready = poll.poll(TIMEOUT_S * 1000)
        if not ready:
            raise Unavailable(f"the runtime did not answer within {TIMEOUT_S:g} s")
        for fd, _events in ready:
            if listener is not None and fd == listener.fileno():
                console = _receive_console(listener)
                poll.unregister(listener)
        if any(fd == handle for fd, _events in ready):
            return console


def _receive_console(listener: socket.socket) -> int | None:
    connection, _address = listener.accept()
    with connection:
        _data, descriptors, _flags, _from = socket.recv_fds(
            connection, 4096, 4, socket.MSG_CMSG_CLOEXEC
        )
    for fd in descriptors[1:]:
        os.close(fd)
    return descriptors[0] if descriptors else None
