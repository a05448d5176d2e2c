"""prctl(2), as far as a container needs it."""

from __future__ import annotations

import ctypes

from jubako.linux._libc import check, function
from jubako.linux.trace import traced

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_GET_KEEPCAPS = 7
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_IS_SET = 1
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_LOWER = 3
PR_CAP_AMBIENT_CLEAR_ALL = 4

_UL = ctypes.c_ulong
_prctl = function("prctl", ctypes.c_int, _UL, _UL, _UL, _UL)
_prctl_name = function("prctl", ctypes.c_int, ctypes.c_char_p)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2) with integer arguments.  Raises KernelError."""
    return check(_prctl(option, arg2, arg3, arg4, arg5), "prctl", detail=f"option {option}, {arg2}")


@traced(lambda on, *, why="": f"# prctl(PR_SET_DUMPABLE, {int(on)})")
def set_dumpable(on: bool, *, why: str = "") -> None:
    """Off: /proc/PID belongs to root and nobody without CAP_SYS_PTRACE may look into it."""
    check(_prctl(PR_SET_DUMPABLE, int(on), 0, 0, 0), "prctl", detail="PR_SET_DUMPABLE")


@traced(lambda *, why="": "setpriv --no-new-privs")
def set_no_new_privs(*, why: str = "") -> None:
    """exec gives no privileges from now on; cannot be taken back."""
    check(_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", detail="PR_SET_NO_NEW_PRIVS")


@traced(lambda on=True, *, why="": f"# prctl(PR_SET_CHILD_SUBREAPER, {int(on)})")
def set_child_subreaper(on: bool = True, *, why: str = "") -> None:
    """Orphaned descendants become children of this process."""
    check(_prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0), "prctl", detail="CHILD_SUBREAPER")


@traced(lambda signal, *, why="": f"setpriv --pdeathsig {int(signal)}")
def set_pdeathsig(signal: int, *, why: str = "") -> None:
    """Send `signal` to this process when the thread that forked it ends.

    Lost when credentials change, so it comes after setuid; check getppid() afterwards: the parent
    may be gone already.
    """
    check(_prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl", detail="PR_SET_PDEATHSIG")


@traced(lambda on, *, why="": f"# prctl(PR_SET_KEEPCAPS, {int(on)})")
def set_keepcaps(on: bool, *, why: str = "") -> None:
    """Keep the permitted set when the last UID 0 is given up; exec resets it."""
    check(_prctl(PR_SET_KEEPCAPS, int(on), 0, 0, 0), "prctl", detail="PR_SET_KEEPCAPS")


def set_name(name: str) -> None:
    """The name in ps and /proc/PID/comm; cut to 15 bytes."""
    check(_prctl_name(PR_SET_NAME, name.encode()[:15]), "prctl", detail="PR_SET_NAME")
