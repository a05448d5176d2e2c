"""A holder while its process runs, and at its end.

This needs little: descriptors and the order.  A holder was forked from a command and has in memory
what starting took; when the process has run for a moment, it replaces itself by execve(2), as a
monitor does (`jubako.containers.monitor.slim`), and then has half the size:

    holder ── memfd: what it has, descriptors inheritable ── execve ──> python -I -S ── main()

The process stays the same: its PID, when it was started, its child.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import sys
import time

from jubako.containers import interpreter
from jubako.errors import JubakoError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from jubako.containers.exec.table import ExecTable

RECORDED = b"recorded"  # what the command answers
MAX_BYTES = 1 << 16  # of a message
_READ_BYTES = 1 << 16
_MAX_SIZE_BYTES = 64  # of a datagram: a RESIZE frame
_PATIENCE_S = 0.3  # for a command to record the end, which takes a millisecond
_RETRY_S = 0.5
_SHRINK_AFTER_S = 1.0  # most execs are over by then


class Held:
    """A running process, a child of this one.

    order: a file with what `jubako.containers.exec.holding` was told.  channel: to the command.
    console: the terminal, -1 for none.  sizes: the socket that takes its size, -1 for none.
    drains: what is to be read when nobody else reads it.
    """

    def __init__(
        self,
        order: int,
        channel: socket.socket,
        pid: int,
        handle: int,
        *,
        console: int = -1,
        sizes: int = -1,
        drains: list[int],
        alone: bool = False,
    ):
        """handle: a pidfd.  alone: the command has gone."""
        self._order = order
        self._channel = channel
        self._pid = pid
        self._pidfd = handle
        self._console = console
        self._sizes = sizes
        self._drains = drains
        self._alone = alone

    def serve(self) -> None:
        """Until the process ends; then let that be recorded."""
        shrink_at_s: float | None = time.monotonic() + _SHRINK_AFTER_S
        while True:
            ready = self._wait(shrink_at_s)
            if self._pidfd in ready:
                break
            if not self._alone and self._channel.fileno() in ready:
                self._take_over()  # the command has gone: it says nothing before the end
            if self._sizes in ready:
                self._resize()
            self._drains = [fd for fd in self._drains if fd not in ready or _drain(fd)]
            if shrink_at_s is not None and time.monotonic() >= shrink_at_s:
                shrink_at_s = None
                self._shrink()
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        assert result is not None
        killed = result.si_code != os.CLD_EXITED
        status = result.si_status + (128 if killed else 0)
        if self._sizes >= 0:
            with contextlib.suppress(OSError):
                os.unlink(read_order(self._order)["sizes"])
        tell(self._channel, {"exited": status}, lambda: Log(self._order).ended(status, self._pid))

    def _wait(self, shrink_at_s: float | None) -> set[int]:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        for fd in self._drains if self._alone else (self._channel.fileno(),):
            poll.register(fd, select.POLLIN)
        if self._sizes >= 0:
            poll.register(self._sizes, select.POLLIN)
        timeout_ms = None
        if shrink_at_s is not None:
            timeout_ms = max(0.0, shrink_at_s - time.monotonic()) * 1000
        return {fd for fd, _ in poll.poll(timeout_ms)}

    def _take_over(self) -> None:
        with contextlib.suppress(JubakoError):  # then it cannot be signalled, but goes on
            Log(self._order).started(self._pid)
        for fd in self._drains:
            os.set_blocking(fd, False)
        self._alone = True

    def _resize(self) -> None:
        from jubako.containers.streams.frames import Decoder, decode_resize
        from jubako.linux import pty

        with contextlib.suppress(JubakoError, OSError):  # nobody of ours sent that
            for _, payload in Decoder().feed(os.read(self._sizes, _MAX_SIZE_BYTES)):
                rows, columns = decode_resize(payload)
                if rows and columns:
                    pty.set_size(self._console, columns, rows)

    def _shrink(self) -> None:
        """Become the small program; returns only if that is impossible."""
        state = {
            "order": self._order,
            "channel": self._channel.fileno(),
            "pid": self._pid,
            "pidfd": self._pidfd,
            "console": self._console,
            "sizes": self._sizes,
            "drains": self._drains,
            "alone": self._alone,
        }
        fds = _descriptors(state)
        for fd in fds:
            os.set_inheritable(fd, True)
        try:
            interpreter.replace("exec.held", json.dumps(state))
        except OSError:  # the interpreter was upgraded away, or memory is short: stay as we are
            for fd in fds:
                os.set_inheritable(fd, False)


def _descriptors(state: dict[str, Any]) -> list[int]:
    single = (state[key] for key in ("order", "channel", "pidfd", "console", "sizes"))
    return [fd for fd in (*single, *state["drains"]) if fd >= 0]


def main() -> NoReturn:
    """The new program: go on where the old one was."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write("jubako-exec")
        state = json.loads(sys.argv[1])
        for fd in _descriptors(state):
            os.set_inheritable(fd, False)
        Held(
            state["order"],
            socket.socket(fileno=state["channel"]),
            state["pid"],
            state["pidfd"],
            console=state["console"],
            sizes=state["sizes"],
            drains=state["drains"],
            alone=state["alone"],
        ).serve()
    finally:
        os._exit(0)


def read_order(order: int) -> dict[str, Any]:
    """What the command has written to the file."""
    with open(order, "rb", closefd=False) as file:
        file.seek(0)
        found: dict[str, Any] = json.loads(file.read())
        return found


class Log:
    """The exec's row, for when the command does not write it.

    The rows' changes say nothing twice: it does not matter whether the command has done it too.
    """

    def __init__(self, order: int):
        from jubako.containers.exec.table import ExecTable
        from jubako.store import Store

        self._order = read_order(order)
        store = Store(self._order["root"])
        store.use_reserve()
        self._table: ExecTable = ExecTable(store)

    def started(self, pid: int) -> None:
        self._table.started(self._order["exec"], pid, self._order["record"])

    def ended(self, status: int, pid: int) -> None:
        self._table.ended(self._order["container"]["record"], self._order["exec"], status, pid)

    def failed(self, code: int) -> None:
        self._table.failed(self._order["exec"], code)


def tell(channel: socket.socket, message: dict[str, Any], record: Callable[[], None]) -> None:
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
