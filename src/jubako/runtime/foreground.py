"""A process in the foreground of a terminal or script: `run` and `exec` without `--detach`."""

from __future__ import annotations

import os
import select
import signal

from jubako.errors import KernelError
from jubako.linux import pidfd, pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from jubako.runtime.interface import Process

_BLOCK_BYTES = 32 << 10
_NOT_FORWARDED = (
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCHLD,
    signal.SIGURG,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)


def forward_signals(process: Process) -> None:
    """Pass what is sent to this process on to the container's: before that one runs, if possible,
    or a signal that comes between ends this process alone."""

    def forward(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGWINCH and process.console is not None:
            _copy_size(process.console)
            return
        try:
            pidfd.send_signal(process.pidfd, number, why="the signal was sent to us")
        except KernelError:
            pass  # it has just ended

    for number in signal.valid_signals() - set(_NOT_FORWARDED):
        if number < 32:
            signal.signal(number, forward)


def attend(process: Process) -> int:
    """With a terminal copy bytes; wait until the process ends and return its exit status.

    The process is a child of the caller; its descriptors are closed.
    """
    if process.console is not None and os.isatty(0):
        _copy_size(process.console)
    mode = None
    try:
        if process.console is not None:
            mode = pty.set_raw(0) if os.isatty(0) else None
            _pump(process.console)
        return pidfd.wait(process.pidfd) or 0
    finally:
        if mode is not None:
            pty.restore(0, mode)
        process.close()


def _copy_size(console: int) -> None:
    try:
        pty.set_size(console, *pty.get_size(0))
    except KernelError:
        pass  # our stdin is no terminal any more


def _pump(console: int) -> None:
    """Copy between 0, 1 and the terminal until nobody has its other end open."""
    poll = select.poll()
    poll.register(console, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        for fd, _events in poll.poll():
            try:
                data = os.read(fd, _BLOCK_BYTES)
            except OSError:
                data = b""  # EIO: the last process with the terminal has gone
            if fd == console:
                if not data:
                    return
                _write_all(1, data)
            elif data:
                _write_all(console, data)
            else:
                poll.unregister(0)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        pass  # nobody reads: the process will notice by itself
