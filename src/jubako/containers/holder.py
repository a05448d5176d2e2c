"""The holder: the small process beside each exec, which is the parent of its process.

    command ──fork──> ─setsid─ ──fork──> holder ──(runtime)──> the process in the container
       │                                    │
       │ ── order, the process's streams ─> │   records the exec, starts it
       │ <──── started, or the error ────── │   with the process's pidfd and the terminal
       │ <═════ output of the process ══════╪═══ pipes, or the terminal: read by the command
       │ <─────────── exit code ─────────── │   once the end is recorded

The command may go away at any time, killed or detached: the process goes on.  The holder has the
reading ends of its pipes and the terminal too, and reads them from then on, so that the process
neither blocks nor dies of SIGPIPE.  When the holder dies, the process dies (PR_SET_PDEATHSIG), and
whoever looks at the exec next records that; see `jubako.containers.exec_table`.

A holder is forked before the command opens the database, and imports what starting takes while the
command looks up the container: see `jubako.containers.launcher`, which does the same for `run`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import time

from jubako.containers import report
from jubako.errors import JubakoError, KernelError, StartError, Unavailable
from jubako.linux import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from jubako.containers.model import ExecRecord
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.runtime import Process
    from jubako.store import Store

_MAX_BYTES = 1 << 16
_MAX_FDS = 8
_READ_BYTES = 1 << 16
_RETRY_S = 0.5
_MAX_SIZE_BYTES = 64  # of a datagram: a RESIZE frame
_IMPORTS = ("jubako.containers.services", "jubako.containers.exec_table", "jubako.runtime")


class Holder:
    """The command's end.  For one exec; `close` if there is none to start after all."""

    def __init__(self, store: Store):
        """Make the process.  The caller has not opened the database.  Raises KernelError."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._pid = _spawn(store, theirs)
            except OSError as exc:
                self._channel.close()
                raise KernelError.from_oserror("exec: fork", exc) from exc

    def start(self, order: dict[str, Any], descriptors: list[int]) -> Started:
        """Let it start a process, and wait until the program is being executed.

        order: see `_Order`.  descriptors: those that it names, in its order; they stay the
        caller's.  Raises what the start raises; then no process is left.
        """
        memory = os.memfd_create("jubako-exec-order")
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(order).encode())
            try:
                socket.send_fds(self._channel, [b"order"], [memory, *descriptors])
            except OSError:
                pass  # it was killed: receiving tells
        finally:
            os.close(memory)
        self._reap()
        try:
            data, received, _, _ = socket.recv_fds(self._channel, _MAX_BYTES, _MAX_FDS)
            for fd in received:
                os.set_inheritable(fd, False)
            if not data:
                raise Unavailable("exec: the process that starts the command was killed")
            answer = json.loads(data)
            if "error" in answer:
                raise report.unpack_error(answer["error"])
        except BaseException:
            self._channel.close()
            raise
        return Started(answer["exec"], self._channel, *received)

    def close(self) -> None:
        """Let it end without a process."""
        self._channel.close()
        self._reap()

    def _reap(self) -> None:
        """The process between, which has ended since, or is about to."""
        with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD
            os.waitpid(self._pid, 0)


class Started:
    """What a holder has started: the ID of the exec, the channel for its exit code, a pidfd of the
    process, and its terminal (-1 for none); all the caller's."""

    __slots__ = ("channel", "console", "id", "pidfd")

    def __init__(self, exec_id: str, channel: socket.socket, handle: int, console: int = -1):
        self.id = exec_id
        self.channel = channel
        self.pidfd = handle
        self.console = console

    def exit_code(self) -> int:
        """Wait for the end.  Raises Unavailable if the holder was killed, and the process by it."""
        try:
            data = self.channel.recv(_MAX_BYTES)
        except OSError:
            data = b""
        if not data:
            raise Unavailable(
                f"exec {self.id}: the process that holds it was killed, and the command with it"
            )
        code: int = json.loads(data)["exited"]
        return code


def _spawn(store: Store, channel: socket.socket) -> int:
    """Make the process that becomes the holder's parent; its PID.

    A process with threads must not fork and go on in Python (fork(2)): there a new interpreter
    does the same.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        return _spawn_interpreter(store.path, channel.fileno())
    store.close()  # a connection does not survive a fork
    child = os.fork()
    if child == 0:
        _detach(store.path, channel.fileno())
    return child


def _spawn_interpreter(root: str, channel: int) -> int:
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = "from jubako.containers.holder import main; main()"
    argv = [sys.executable, "-c", code, root, str(channel)]
    os.set_inheritable(channel, True)
    try:
        return os.posix_spawn(sys.executable, argv, {**os.environ, "PYTHONPATH": package})
    finally:
        os.set_inheritable(channel, False)


def main() -> None:
    """The entry point of the interpreter that `_spawn_interpreter` starts.  Never returns."""
    root, channel = sys.argv[1:]
    os.set_inheritable(int(channel), False)
    _detach(root, int(channel))


def _detach(root: str, channel_fd: int) -> NoReturn:
    """In a child of the command: fork the holder, away from the session, and end."""
    try:
        os.setsid()
        if os.fork() == 0:
            channel = socket.socket(fileno=channel_fd)
            try:
                _leave_caller(channel_fd)
                _serve(root, channel)
            except BaseException as exc:
                report.send(channel, {"error": report.pack_error(exc)})
    finally:
        os._exit(0)


def _leave_caller(channel_fd: int) -> None:
    """Leave the caller's directory, signals, standard streams and other descriptors.

    Objects of the caller that own descriptors must not be collected here: what they would close
    are other files by now.
    """
    from jubako.linux import fds, prctl

    gc.freeze()
    os.chdir("/")
    prctl.set_name("jubako-exec")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    fds.close_except((channel_fd, trace.descriptor()))


def _serve(root: str, channel: socket.socket) -> None:
    """Wait for the order and carry it out; raises why the process could not be started."""
    for name in _IMPORTS:
        __import__(name)
    data, received, _, _ = socket.recv_fds(channel, _MAX_BYTES, _MAX_FDS)
    if not data:
        return  # there is nothing to do after all
    for fd in received:
        os.set_inheritable(fd, False)
    with open(received[0], "rb") as file:
        os.lseek(received[0], 0, os.SEEK_SET)
        order = json.loads(file.read())

    from jubako.containers.services import Services
    from jubako.store import Store

    held = _start(Services(Store(root)), order, received[1:])
    held.tell_started(channel)
    held.serve(channel)


def _start(services: Services, order: dict[str, Any], descriptors: list[int]) -> _Held:
    """Record the exec and start its process; the descriptors are used up.

    order: container, the ID of a running container; pid, of its init; process, an OCI process
    object; record, an exec to be added, or exec, the ID of one that was created before; streams,
    of `stdin stdout stderr drain_stdout drain_stderr` those that `descriptors` are.
    """
    from jubako.containers.exec_table import EXIT_NOT_STARTED, ExecTable, check_running
    from jubako.errors import NotFound
    from jubako.runtime import Stdio

    streams = dict(zip(order["streams"], descriptors, strict=True))
    table = ExecTable(services.store)
    container = services.table.find(order["container"])
    if container is None or container.pid != order["pid"]:
        check_running(order["container"], "exited")
        raise NotFound(f"No such container: {order['container']}")
    if "exec" in order:
        exec_id = order["exec"]
        record = table.claim(container, exec_id)
    else:
        record = order["record"]
        exec_id = table.create_running(container, record)
    theirs = [streams.get(name, -1) for name in ("stdin", "stdout", "stderr")]
    try:
        with services.expecting_running(container) as runtime:
            process = runtime.exec(
                container.id, order["process"], Stdio(*theirs), die_with_parent=True
            )
    except BaseException as exc:
        code = EXIT_NOT_STARTED
        if isinstance(exc, StartError):
            if exc.exit_code not in (126, 127):  # Docker knows no third reason for an exec
                exc.exit_code = EXIT_NOT_STARTED
            code = exc.exit_code
        table.failed(exec_id, code)
        raise
    for fd in set(theirs) - {-1}:
        os.close(fd)
    drains = [fd for name, fd in streams.items() if name.startswith("drain_")]
    return _Held(services, container, exec_id, record, process, drains)


class _Held:
    """A running process and what the holder has of it."""

    def __init__(
        self,
        services: Services,
        container: Container,
        exec_id: str,
        record: ExecRecord,
        process: Process,
        drains: list[int],
    ):
        self._services = services
        self._container = container
        self._id = exec_id
        self._record = record
        self._process = process
        self._console = -1 if process.console is None else process.console
        self._drains = drains if self._console < 0 else [self._console]
        self._sizes = None if self._console < 0 else self._listen()

    def _listen(self) -> socket.socket | None:
        """The socket on which `resize` says how large the terminal is to be."""
        sizes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sizes.bind(size_socket(self._services, self._container.id, self._id))
        except OSError:  # the container has just ended
            sizes.close()
            return None
        sizes.setblocking(False)
        return sizes

    def tell_started(self, channel: socket.socket) -> None:
        """Let the command have its ends, and note the process."""
        descriptors = [self._process.pidfd]
        if self._console >= 0:
            descriptors.append(self._console)
        with contextlib.suppress(OSError):  # it was killed meanwhile
            answer = json.dumps({"exec": self._id}).encode()
            socket.send_fds(channel, [answer], descriptors)
        trace.set_sink(None)  # what follows is no part of the command's work
        with contextlib.suppress(JubakoError):  # then it cannot be signalled, but goes on
            from jubako.containers.exec_table import ExecTable

            table = ExecTable(self._services.store)
            table.started(self._id, self._process.pid, self._record)

    def serve(self, channel: socket.socket) -> None:
        """Until the process ends; then record that and tell it."""
        from jubako.linux import pidfd

        self._watch(channel)
        status = pidfd.wait(self._process.pidfd)
        assert status is not None
        if self._sizes is not None:
            with contextlib.suppress(OSError):
                os.unlink(size_socket(self._services, self._container.id, self._id))
        told = json.dumps({"exited": status}).encode()
        try:
            self._record_end(status)
        except KernelError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            with contextlib.suppress(OSError):
                channel.send(told)
            self._record_when_possible(status)
            return
        with contextlib.suppress(OSError):
            channel.send(told)

    def _watch(self, channel: socket.socket) -> None:
        poll = select.poll()
        poll.register(self._process.pidfd, select.POLLIN)
        poll.register(channel, select.POLLIN)
        if self._sizes is not None:
            poll.register(self._sizes, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._process.pidfd in ready:
                return
            if channel.fileno() in ready:  # the command has gone: it never sends anything
                poll.unregister(channel)
                for fd in self._drains:
                    os.set_blocking(fd, False)
                    poll.register(fd, select.POLLIN)
            if self._sizes is not None and self._sizes.fileno() in ready:
                self._resize(self._sizes)
            for fd in [fd for fd in self._drains if fd in ready]:
                if not _drain(fd):
                    poll.unregister(fd)
                    self._drains.remove(fd)

    def _resize(self, sizes: socket.socket) -> None:
        from jubako.containers.frames import Decoder, decode_resize
        from jubako.linux import pty

        with contextlib.suppress(JubakoError):  # nobody of ours sent that
            for _, payload in Decoder().feed(sizes.recv(_MAX_SIZE_BYTES)):
                rows, columns = decode_resize(payload)
                if rows and columns:
                    pty.set_size(self._console, columns, rows)

    def _record_end(self, status: int) -> None:
        from jubako.containers.exec_table import ExecTable

        self._services.store.use_reserve()
        table = ExecTable(self._services.store)
        table.ended(self._container.record, self._id, status, self._process.pid)

    def _record_when_possible(self, status: int) -> None:
        """The disk is full: nobody else knows how the process ended."""
        while True:
            time.sleep(_RETRY_S)
            try:
                self._record_end(status)
                return
            except KernelError as exc:
                if exc.errno != errno.ENOSPC:
                    raise


def _drain(fd: int) -> bool:
    """Read and forget what is there; False at the end."""
    try:
        return bool(os.read(fd, _READ_BYTES))
    except BlockingIOError:
        return True
    except OSError:  # EIO: a pty whose last slave was closed
        return False


def size_socket(services: Services, container_id: str, exec_id: str) -> str:
    """Where the holder of an exec with a terminal takes sizes; short, as sun_path is."""
    return f"{services.run_directory(container_id)}/e-{exec_id[:12]}"
