"""The holder: the small process beside each exec, which is the parent of its process; its start.

It is made, told what to do and asked by `jubako.containers.exec.holder`. While the command lives,
the command records what happens to the exec, because it has the database open anyway. When the
command has gone, the holder does, and reads what the process writes: it has the reading ends of the
pipes, or the terminal, too. When the holder dies, the process dies (PR_SET_PDEATHSIG), and whoever
looks at the exec next records that; see `jubako.containers.exec.table`. What it does while the
process runs is in `jubako.containers.exec.held`.

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
import signal
import socket

from jubako.containers import report
from jubako.containers.exec import held
from jubako.containers.exec.holder import EXIT_NOT_STARTED, MAX_FDS
from jubako.errors import KernelError, StartError
from jubako.linux import fds, prctl, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.runtime import Process

_START_PATH = ("jubako.containers.exec.process", "jubako.containers.running", "jubako.runtime")


def hold(channel: socket.socket) -> None:
    """Be the holder, until its process has ended; channel: to the command."""
    _leave_caller(channel.fileno())
    for name in _START_PATH:
        __import__(name)
    data, received, _, _ = socket.recv_fds(channel, held.MAX_BYTES, MAX_FDS)
    if not data:
        return  # there is nothing to do after all
    for fd in received:
        os.set_inheritable(fd, False)
    memory, *descriptors = received
    order = held.read_order(memory)
    try:
        process, drains = _start(order, descriptors)
    except BaseException as exc:
        code = exc.exit_code if isinstance(exc, StartError) else EXIT_NOT_STARTED
        error = {"error": report.pack_error(exc)}
        held.tell(channel, error, lambda: held.Log(memory).failed(code))
        return
    console = -1 if process.console is None else process.console
    sizes = _listen(order["sizes"]) if console >= 0 else -1
    with contextlib.suppress(OSError):  # the command was killed meanwhile
        answer = json.dumps({"pid": process.pid}).encode()
        socket.send_fds(channel, [answer], [fd for fd in (process.pidfd, console) if fd >= 0])
    trace.set_sink(None)  # what follows is no part of the command's work
    held.Held(
        memory,
        channel,
        process.pid,
        process.pidfd,
        console=console,
        sizes=sizes,
        drains=drains,
    ).serve()


def _leave_caller(channel: int) -> None:
    """Leave the caller's directory, signals, standard streams and other descriptors.

    Objects of the caller that own descriptors must not be collected here: what they would close
    are other files by now.
    """
    gc.freeze()
    os.chdir("/")
    prctl.set_name("jubako-exec")
    trace.set_role("exec")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    fds.close_except((channel, trace.descriptor()))


def _start(order: dict[str, Any], descriptors: list[int]) -> tuple[Process, list[int]]:
    """Start the process; it and what is to be read of it when nobody else does."""
    from jubako.containers.exec.process import exec_process
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


def _listen(path: str) -> int:
    """The socket on which `resize` says how large the terminal is to be; -1 without."""
    sizes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sizes.bind(path)
    except OSError:  # the container has just ended
        sizes.close()
        return -1
    return sizes.detach()
