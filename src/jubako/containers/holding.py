"""The holder: the small process beside each exec, which is the parent of its process.

It is made, told what to do and asked by `jubako.containers.holder`.  While the command lives, the
command records what happens to the exec, because it has the database open anyway.  When the command
has gone, the holder does, and reads what the process writes: it has the reading ends of the pipes,
or the terminal, too.  When the holder dies, the process dies (PR_SET_PDEATHSIG), and whoever looks
at the exec next records that; see `jubako.containers.exec_table`.

An order is a JSON object:

    root, state_dir, cache_dir      the store's, and those of the runtime
    container                       id, pid (of its init), record, of a running container
    exec, record                    ID and record of the exec, whose row says `running`
    sizes                           the path of the socket that takes sizes of the terminal
    streams                         those of `stdin stdout stderr drain_stdout drain_stderr` that
                                    the descriptors are
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
import time

from jubako.containers import report
from jubako.containers.holder import EXIT_NOT_STARTED, MAX_BYTES, MAX_FDS, RECORDED
from jubako.errors import JubakoError, KernelError, StartError
from jubako.linux import fds, prctl, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.containers.exec_table import ExecTable
    from jubako.runtime import Process

_READ_BYTES = 1 << 16
_MAX_SIZE_BYTES = 64  # of a datagram: a RESIZE frame
_PATIENCE_S = 0.3  # for a command to record the end, which takes a millisecond
_RETRY_S = 0.5
_START_PATH = ("jubako.containers.exec_process", "jubako.containers.running", "jubako.runtime")


def hold(channel: socket.socket) -> None:
    """Be the holder, until its process has ended; channel: to the command."""
    _leave_caller(channel.fileno())
    for name in _START_PATH:
        __import__(name)
    data, received, _, _ = socket.recv_fds(channel, MAX_BYTES, MAX_FDS)
    if not data:
        return  # there is nothing to do after all
    for fd in received:
        os.set_inheritable(fd, False)
    with open(received[0], "rb") as file:
        file.seek(0)
        order = json.loads(file.read())
    log = _Log(order)
    try:
        process, drains = _start(order, received[1:])
    except BaseException as exc:
        code = exc.exit_code if isinstance(exc, StartError) else EXIT_NOT_STARTED
        _tell(channel, {"error": report.pack_error(exc)}, lambda: log.failed(code))
    else:
        _Held(channel, log, process, drains, order["sizes"]).serve()


def _leave_caller(channel: int) -> None:
    """Leave the caller's directory, signals, standard streams and other descriptors.

    Objects of the caller that own descriptors must not be collected here: what they would close
    are other files by now.
    """
    gc.freeze()
    os.chdir("/")
    prctl.set_name("jubako-exec")
    trace.set_role("exec")
    prctl.set_child_subreaper(
        True, why="a runtime that is a program leaves its process to this one"
    )
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    fds.close_except((channel, trace.descriptor()))


def _start(order: dict[str, Any], descriptors: list[int]) -> tuple[Process, list[int]]:
    """Start the process; it and what is to be read of it when nobody else does."""
    from jubako.containers.exec_process import exec_process
    from jubako.containers.running import expecting_running
    from jubako.runtime import Stdio, open_runtime

    container = order["container"]
    streams = dict(zip(order["streams"], descriptors, strict=True))
    theirs = [streams.get(name, -1) for name in ("stdin", "stdout", "stderr")]
    runtime = open_runtime(
        container["record"]["HostConfig"].get("Runtime") or None,
        order["state_dir"],
        cache_dir=order["cache_dir"],
    )
    try:
        with expecting_running(runtime, container["id"], container["pid"]):
            spec = exec_process(container["record"], container["pid"], order["record"])
            process = runtime.exec(container["id"], spec, Stdio(*theirs), die_with_parent=True)
    except StartError as exc:
        if exc.exit_code not in (126, 127):  # Docker knows no third reason for an exec
            exc.exit_code = EXIT_NOT_STARTED
        if isinstance(exc.__cause__, KernelError) and exc.__cause__.errno == errno.EAGAIN:
            exc.hint = "the container has reached its limit of processes (--pids-limit)"
        raise
    for fd in set(theirs) - {-1}:
        os.close(fd)
    if process.console is not None:
        return process, [process.console]
    return process, [fd for name, fd in streams.items() if name.startswith("drain_")]


class _Held:
    """A running process and what the holder has of it."""

    def __init__(
        self,
        channel: socket.socket,
        log: _Log,
        process: Process,
        drains: list[int],
        size_path: str,
    ):
        self._channel = channel
        self._log = log
        self._process = process
        self._drains = drains
        self._size_path = size_path
        self._sizes: socket.socket | None = None

    def serve(self) -> None:
        """Until the process ends; then let that be recorded."""
        from jubako.linux import pidfd

        process = self._process
        descriptors = [process.pidfd]
        if process.console is not None:
            descriptors.append(process.console)
            self._listen()
        with contextlib.suppress(OSError):  # the command was killed meanwhile
            answer = json.dumps({"pid": process.pid}).encode()
            socket.send_fds(self._channel, [answer], descriptors)
        trace.set_sink(None)  # what follows is no part of the command's work
        self._watch()
        status = pidfd.wait(process.pidfd)
        assert status is not None
        if self._sizes is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._size_path)
        _tell(self._channel, {"exited": status}, lambda: self._log.ended(status, process.pid))

    def _listen(self) -> None:
        """Open the socket on which `resize` says how large the terminal is to be."""
        sizes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sizes.setblocking(False)
        try:
            sizes.bind(self._size_path)
        except OSError:  # the container has just ended
            sizes.close()
        else:
            self._sizes = sizes

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._process.pidfd, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        if self._sizes is not None:
            poll.register(self._sizes, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._process.pidfd in ready:
                return
            if self._channel.fileno() in ready:  # the command has gone: it says nothing before
                poll.unregister(self._channel)
                self._take_over(poll)
            if self._sizes is not None and self._sizes.fileno() in ready:
                self._resize(self._sizes)
            for fd in [fd for fd in self._drains if fd in ready]:
                if not _drain(fd):
                    poll.unregister(fd)
                    self._drains.remove(fd)

    def _take_over(self, poll: select.poll) -> None:
        with contextlib.suppress(JubakoError):  # then it cannot be signalled, but goes on
            self._log.started(self._process.pid)
        for fd in self._drains:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)

    def _resize(self, sizes: socket.socket) -> None:
        from jubako.containers.frames import Decoder, decode_resize
        from jubako.linux import pty

        console = self._process.console
        with contextlib.suppress(JubakoError):  # nobody of ours sent that
            for _, payload in Decoder().feed(sizes.recv(_MAX_SIZE_BYTES)):
                rows, columns = decode_resize(payload)
                if rows and columns and console is not None:
                    pty.set_size(console, columns, rows)


class _Log:
    """The exec's row, for when the command does not write it.

    The rows' changes say nothing twice: it does not matter whether the command has done it too.
    """

    def __init__(self, order: dict[str, Any]):
        self._order = order
        self._opened: ExecTable | None = None

    @property
    def _table(self) -> ExecTable:
        if self._opened is None:
            from jubako.containers.exec_table import ExecTable
            from jubako.store import Store

            store = Store(self._order["root"])
            store.use_reserve()
            self._opened = ExecTable(store)
        return self._opened

    def started(self, pid: int) -> None:
        self._table.started(self._order["exec"], pid, self._order["record"])

    def ended(self, status: int, pid: int) -> None:
        self._table.ended(self._order["container"]["record"], self._order["exec"], status, pid)

    def failed(self, code: int) -> None:
        self._table.failed(self._order["exec"], code)


def _tell(channel: socket.socket, message: dict[str, Any], record: Callable[[], None]) -> None:
    """Tell the command what has happened, and record it unless the command does.

    Nobody else knows it, so it is tried again for as long as the disk is full.
    """
    try:
        channel.send(json.dumps(message).encode())
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        if poll.poll(_PATIENCE_S * 1000) and channel.recv(MAX_BYTES) == RECORDED:
            return
    except OSError:
        pass  # it has gone
    while True:
        try:
            record()
            return
        except KernelError as exc:
            if exc.errno != errno.ENOSPC:
                raise
        time.sleep(_RETRY_S)


def _drain(fd: int) -> bool:
    """Read and forget what is there; False at the end."""
    try:
        return bool(os.read(fd, _READ_BYTES))
    except BlockingIOError:
        return True
    except OSError:  # EIO: a pty whose last slave was closed
        return False
