"""clone(2) as a fork into namespaces, for what fork(2) after unshare(2) cannot do."""

from __future__ import annotations

import ctypes
import signal
import time

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux._libc import MACHINE
from jubako.linux.ns import clone_words, kinds

CLONE_PARENT = 0x00008000
_SYS_CLONE = 220 if MACHINE == "aarch64" else 56  # takes its arguments in one order on both

_python = ctypes.PyDLL(None, use_errno=True)
_syscall = _python["syscall"]
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_ulong] * 5
_syscall.restype = ctypes.c_long


def clone(flags: int, *, why: str = "") -> int:
    """Fork with new namespaces of CLONE_NEW* `flags`, or as a sibling with CLONE_PARENT.

    Returns 0 in the child and its PID in the parent, which has one thread: PyDLL keeps the
    interpreter's lock and its hooks do what os.fork does around the call, but the hooks of the C
    library do not run.  Raises KernelError in the parent.
    """
    started = time.monotonic()
    _python.PyOS_BeforeFork()
    pid = int(_syscall(_SYS_CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0))
    number = ctypes.get_errno()
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise KernelError("clone", number, detail=hex(flags))
    if trace.listening():
        facts = {"namespaces": kinds(flags), "child": pid}
        trace.note("clone", "clone", clone_words(flags), why, started, **facts)
    return pid
