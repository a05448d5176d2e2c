"""The command's end of an exec: the channel to its holder.

    command ──fork──> ─setsid─ ──fork──> holder ──(runtime)──> the process in the container
       │ <────────────── PID ────────────── │
       │   records the exec                 │
       │ ── order, the process's streams ─> │   starts it
       │ <──────── started, or error ────── │   with the process's pidfd and the terminal
       │   records the process              │
       │ <═════ output of the process ══════╪═══ pipes, or the terminal: read by the command
       │ <─────────── exit code ─────────── │
       │   records the end                  │
       │ ─────────── recorded ────────────> ╵

The holder is the parent of the process.  The command may go away at any time, killed or detached:
then the holder records what there is to record, and reads what the process writes, so that it
neither blocks nor dies of SIGPIPE: see `jubako.containers.exec.holding`.

Half of what an exec takes is importing modules.  `prepare` makes the holder before the command has
imported much, so that two processors can do both halves at the same time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

from jubako.containers.exec.held import MAX_BYTES, RECORDED
from jubako.errors import KernelError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from jubako.store import Store

EXIT_NOT_STARTED = 126  # of an exec whose program could not be started, whatever the reason
MAX_FDS = 8  # with a message

_prepared: Holder | None = None


def prepare() -> None:
    """Say that this process will execute one thing and end: the next exec uses what this makes.

    Worth it before the engine is opened.  The holder is a child of this process, and a zombie from
    its end to that of this process.  Raises KernelError.
    """
    global _prepared
    if _prepared is None:
        _prepared = Holder(ours=True)


def take(store: Store) -> Holder:
    """The holder that was prepared, or a new one; the caller's.  Raises KernelError."""
    global _prepared
    holder, _prepared = _prepared, None
    if holder is None:
        store.close()  # a connection does not survive a fork
        holder = Holder()
    return holder


class Holder:
    """A process that stands by to start one exec; `close` if there is none after all.

    pid: of the process.
    """

    def __init__(self, *, ours: bool = False) -> None:
        """Make it.  The calling process has not opened the database.

        ours: a child of the calling process, which does not wait for it; else it is nobody's, and
        the host's init reaps it.  Raises KernelError.
        """
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                child = _spawn(theirs.fileno(), ours=ours)
            except OSError as exc:
                self._channel.close()
                raise KernelError.from_oserror("exec: fork", exc) from exc
        self.pid = child if ours else self._told(child)

    def _told(self, between: int) -> int:
        """The PID that a holder tells whose parent is `between`."""
        with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD
            os.waitpid(between, 0)
        told = self._channel.recv(MAX_BYTES)
        if not told:
            self._channel.close()
            raise Unavailable("exec: no process can be made that holds it")
        return int(told)

    def start(self, order: dict[str, Any], descriptors: list[int]) -> Started:
        """Let it start a process, and wait until the program is being executed.

        order: see `jubako.containers.exec.holding`.  descriptors: those that it names, in its
        order; they stay the caller's.  Raises what the start raises; then no process is left.
        """
        from jubako.containers import report

        memory = os.memfd_create("jubako-exec-order")
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(order).encode())
            with contextlib.suppress(OSError):  # it was killed: receiving tells
                socket.send_fds(self._channel, [b"order"], [memory, *descriptors])
        finally:
            os.close(memory)
        data, received, _, _ = socket.recv_fds(self._channel, MAX_BYTES, MAX_FDS)
        for fd in received:
            os.set_inheritable(fd, False)
        if not data:
            self.close()
            raise Unavailable("exec: the process that starts the command was killed")
        answer = json.loads(data)
        if "error" in answer:
            raise report.unpack_error(answer["error"])
        return Started(self._channel, answer["pid"], *received)

    def recorded(self) -> None:
        """Say that the failure of the start is recorded."""
        _acknowledge(self._channel)

    def close(self) -> None:
        """Let it end."""
        self._channel.close()


class Started:
    """A process that a holder has started.

    channel: readable once the process has ended.  pid: of the process, in the host's PID namespace.
    pidfd; console: the terminal, -1 for none.  All descriptors are the owner's to close.
    """

    __slots__ = ("channel", "console", "pid", "pidfd")

    def __init__(self, channel: socket.socket, pid: int, handle: int, console: int = -1):
        self.channel = channel
        self.pid = pid
        self.pidfd = handle
        self.console = console

    def exit_code(self) -> int:
        """Wait for the end.  Raises Unavailable if the holder was killed, and the process by it."""
        try:
            data = self.channel.recv(MAX_BYTES)
        except OSError:
            data = b""
        if not data:
            raise Unavailable(
                "exec: the process that holds the command was killed, and the command with it"
            )
        code: int = json.loads(data)["exited"]
        return code

    def recorded(self) -> None:
        """Say that the end is recorded."""
        _acknowledge(self.channel)

    def close(self) -> None:
        """Leave the process to the holder."""
        self.channel.close()
        for fd in (self.pidfd, self.console):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.console = -1


def _acknowledge(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it waits only for a moment
        channel.send(RECORDED)


def _spawn(channel: int, *, ours: bool) -> int:
    """Make the process that becomes the holder, or else its parent; its PID.

    A process with threads must not fork and go on in Python (fork(2)): there a new interpreter
    does the same.
    """
    if not ours and len(os.listdir("/proc/self/task")) > 1:
        return _spawn_interpreter(channel)
    child = os.fork()
    if child == 0:
        _detach(channel, further=not ours)
    return child


def _spawn_interpreter(channel: int) -> int:
    from jubako.containers import interpreter
    from jubako.linux import trace

    variables = trace.environment()
    return interpreter.spawn("exec.holder", channel, descriptors=[channel], variables=variables)


def main() -> None:
    """The entry point of the interpreter that is started there.  Never returns."""
    from jubako.linux import trace

    trace.join_from_environment()
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    _detach(channel, further=True)


def _detach(channel: int, *, further: bool) -> NoReturn:
    """In a child of the command: leave the session and be the holder.

    further: fork once more, so that the holder is nobody's child.
    """
    try:
        os.setsid()
        if not further or os.fork() == 0:
            end = socket.socket(fileno=channel)
            if further:
                end.send(str(os.getpid()).encode())
            from jubako.containers.exec.holding import hold

            hold(end)
    finally:
        os._exit(0)
