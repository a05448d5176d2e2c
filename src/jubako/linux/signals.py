"""Signal dispositions that must not reach a program through execve(2).

An ignored signal stays ignored there (signal(7)).  The C library hides 32 and 33, which it uses for
threads, from sigaction(3); a parent may have ignored them all the same, as those do that start
programs with glibc's posix_spawn(3).  Hence the system call itself.
"""

from __future__ import annotations

import ctypes
import signal

from jubako.linux._libc import syscall

_ACTION_BYTES = 32  # handler, flags, restorer (absent on aarch64), mask: all zero is SIG_DFL
_MASK_BYTES = 8
_DEFAULT = bytes(_ACTION_BYTES)

_sigaction = syscall("rt_sigaction", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long)


def reset_all() -> None:
    """Every signal gets its default action, and none is blocked.

    For a child on its way to exec: handlers of the interpreter are forgotten without asking it.
    """
    for number in range(1, signal.NSIG):
        _sigaction(number, _DEFAULT, None, _MASK_BYTES)  # SIGKILL and SIGSTOP refuse: they have it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
