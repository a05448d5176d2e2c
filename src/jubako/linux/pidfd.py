"""Process descriptors: a signal or a wait that cannot hit a reused PID."""

from __future__ import annotations

import ctypes
import os
import select
import signal as _signal

from jubako.errors import KernelError
from jubako.linux._libc import check, syscall
from jubako.linux.ns import pidfd_pid
from jubako.linux.trace import traced

SIGNAL_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP

_getfd = syscall("pidfd_getfd", ctypes.c_int, ctypes.c_int, ctypes.c_uint)


def open(pid: int) -> int:
    """A close-on-exec descriptor of the process.  Raises KernelError (ESRCH)."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise KernelError("pidfd_open", error.errno or 0, path=f"pid {pid}") from error


def _name(number: int) -> str:
    try:
        return _signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(int(number))


@traced(
    lambda fd, signal, *, flags=0, why="": (
        f"kill -{_name(signal)} {'-' if flags & SIGNAL_PROCESS_GROUP else ''}{pidfd_pid(fd)}"
    ),
    facts=lambda fd, signal, *, flags=0, why="": {"pid": pidfd_pid(fd), "signal": _name(signal)},
)
def send_signal(fd: int, signal: int, *, flags: int = 0, why: str = "") -> None:
    """Raises KernelError (ESRCH: the process has ended and was reaped).

    flags: SIGNAL_PROCESS_GROUP sends it to the group that the process leads, since Linux 6.9
    (EINVAL before).
    """
    try:
        _signal.pidfd_send_signal(fd, signal, None, flags)
    except OSError as error:
        number = error.errno or 0
        raise KernelError("pidfd_send_signal", number, detail=f"signal {signal}") from error


def wait(fd: int, *, block: bool = True) -> int | None:
    """Reap the child open as `fd`: its exit status, 128 + signal if it was killed.

    None when it runs on and `block` is false.  Raises KernelError (ECHILD: not ours).
    """
    try:
        result = os.waitid(os.P_PIDFD, fd, os.WEXITED | (0 if block else os.WNOHANG))
    except OSError as error:
        raise KernelError("waitid", error.errno or 0, path=f"pidfd {fd}") from error
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return result.si_status
    return 128 + result.si_status


def has_ended(fd: int) -> bool:
    """Whether the process has ended; it need not be a child, and is not reaped."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def getfd(fd: int, target_fd: int) -> int:
    """A close-on-exec copy of a descriptor of another process (needs ptrace access)."""
    result = _getfd(fd, target_fd, 0)
    return check(result, "pidfd_getfd", path=f"fd {target_fd}")
