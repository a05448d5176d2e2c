"""Resource limits through prlimit(2), without the `resource` module."""

from __future__ import annotations

import ctypes
import struct

from jubako.errors import InvalidArgument, KernelError
from jubako.linux._libc import function, get_errno
from jubako.linux.trace import traced

INFINITY = (1 << 64) - 1

NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

_prlimit = function("prlimit64", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


def number(name: str) -> int:
    """The number of `RLIMIT_NOFILE`.  Raises InvalidArgument."""
    try:
        return NUMBERS[name]
    except KeyError:
        raise InvalidArgument(f"unknown resource limit {name}", subject=name) from None


def _word(limit: int) -> str:
    limit &= INFINITY
    return "unlimited" if limit == INFINITY else str(limit)


@traced(
    lambda name, soft, hard, *, pid=0, why="": (
        f"prlimit --pid {pid or '$$'} --{name[7:].lower()}={_word(soft)}:{_word(hard)}"
    ),
    op="prlimit",
)
def set(name: str, soft: int, hard: int, *, pid: int = 0, why: str = "") -> None:
    """Set a limit of `pid` (0: this process); -1 and INFINITY are no limit."""
    limits = struct.pack("=QQ", soft & INFINITY, hard & INFINITY)
    if _prlimit(pid, number(name), limits, None) < 0:
        raise KernelError("prlimit", get_errno(), path=name, detail=f"soft {soft}, hard {hard}")


def get(name: str, *, pid: int = 0) -> tuple[int, int]:
    """The soft and the hard limit; INFINITY is no limit."""
    old = ctypes.create_string_buffer(16)
    if _prlimit(pid, number(name), None, old) < 0:
        raise KernelError("prlimit", get_errno(), path=name)
    soft, hard = struct.unpack("=QQ", old.raw)
    return soft, hard
