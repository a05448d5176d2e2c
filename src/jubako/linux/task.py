"""Attributes of this process that have no module of their own."""

from __future__ import annotations

import contextlib
import ctypes
import os

from jubako.errors import KernelError
from jubako.linux._libc import MACHINE, check, function, get_errno, syscall
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PER_LINUX = 0x0000
PER_LINUX32 = 0x0008

IOPRIO_CLASS_RT = 1
IOPRIO_CLASS_BE = 2
IOPRIO_CLASS_IDLE = 3
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13
_SYS_IOPRIO_SET = 30 if MACHINE == "aarch64" else 251

_KEYCTL_JOIN_SESSION_KEYRING = 1

_personality = function("personality", ctypes.c_ulong)
_ioprio_set = function("syscall", ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int)
_keyctl = syscall("keyctl", ctypes.c_int, ctypes.c_char_p)


@traced(lambda persona, *, why="": f"setarch {'linux32' if persona & PER_LINUX32 else 'linux64'}")
def set_personality(persona: int, *, why: str = "") -> None:
    """personality(2): what uname(2) and its kin pretend; inherited by children and exec."""
    check(_personality(persona), "personality", detail=hex(persona))


@traced(lambda kind, priority, *, why="": f"ionice -c {kind} -n {priority} -p $$")
def set_io_priority(kind: int, priority: int, *, why: str = "") -> None:
    """ioprio_set(2) on this process.  kind: IOPRIO_CLASS_*; priority: 0 (first) to 7."""
    value = kind << _IOPRIO_CLASS_SHIFT | priority
    result = _ioprio_set(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, 0, value)
    check(result, "ioprio_set", detail=f"class {kind}, priority {priority}")


@traced(
    lambda policy, priority, *, why="": (
        f"chrt --{policy.removeprefix('SCHED_').lower().replace('_', '-')} -p {priority} $$"
    )
)
def set_scheduler(policy: str, priority: int, *, why: str = "") -> None:
    """sched_setscheduler(2) on this process.  policy: SCHED_*, as `os` knows them.  OSError."""
    os.sched_setscheduler(0, getattr(os, policy), os.sched_param(priority))


@traced(lambda nice, *, why="": f"renice -n {nice} -p $$")
def set_nice(nice: int, *, why: str = "") -> None:
    """setpriority(2) on this process.  Raises OSError."""
    os.setpriority(os.PRIO_PROCESS, 0, nice)


@traced(lambda *, why="": "keyctl session - $SHELL")
def join_session_keyring(*, why: str = "") -> None:
    """An empty session keyring in place of the caller's (keyctl(2)).  Raises KernelError."""
    if _keyctl(_KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        raise KernelError("join session keyring", get_errno())


@contextlib.contextmanager
def hidden_command_line() -> Iterator[None]:
    """Empty /proc/PID/cmdline of this process for the block; what is forked in it keeps that.

    Everybody who sees a process may read its command line, whether it is dumpable or not.
    """
    start, length = _command_line()
    saved = ctypes.string_at(start, length)
    ctypes.memset(start, 0, length)
    try:
        yield
    finally:
        ctypes.memmove(start, saved, length)


def _command_line() -> tuple[int, int]:
    """Where the arguments lie in memory, and how many bytes; (0, 0) if the kernel does not say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            data = file.read()
    except OSError:
        return 0, 0
    fields = data[data.rindex(b")") + 2 :].split()  # from field 3 on, see proc_pid_stat(5)
    start, end = int(fields[45]), int(fields[46])
    return (start, end - start) if 0 < start <= end else (0, 0)
