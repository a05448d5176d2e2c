"""The one handle on the C library, and system calls by number.

ctypes is not `os`: it does not retry EINTR, its descriptors are inheritable unless a flag says
otherwise, and the error is in `ctypes.get_errno()`.  Argument types are fixed at import, so that a
call costs about a microsecond.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import partial

from jubako.errors import InvalidArgument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
get_errno = ctypes.get_errno

MACHINE = os.uname().machine

# number on x86_64, number on aarch64; 424 and above are the same everywhere
_NUMBERS = {
    "rt_sigaction": (13, 134),
    "pivot_root": (155, 41),
    "capget": (125, 90),
    "capset": (126, 91),
    "keyctl": (250, 219),
    "renameat2": (316, 276),
    "seccomp": (317, 277),
    "memfd_create": (319, 279),
    "bpf": (321, 280),
    "execveat": (322, 281),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "pidfd_getfd": (438, 438),
    "mount_setattr": (442, 442),
}
SYS = {name: pair[MACHINE == "aarch64"] for name, pair in _NUMBERS.items()}


def function(name: str, *argtypes: Any, restype: Any = ctypes.c_int) -> Callable[..., int]:
    """A function of the C library with its own argument types."""
    pointer = libc[name]
    pointer.argtypes = argtypes
    pointer.restype = restype
    return pointer


def syscall(name: str, *argtypes: Any) -> Callable[..., int]:
    """The system call `name` of `SYS`; errors as the C library reports them (-1 and errno)."""
    return partial(function("syscall", ctypes.c_long, *argtypes, restype=ctypes.c_long), SYS[name])


def check(result: int, op: str, *, path: str | None = None, detail: str | None = None) -> int:
    """Return `result`; raise KernelError with the errno of the call just made if it is negative."""
    if result < 0:
        raise KernelError(op, ctypes.get_errno(), path=path, detail=detail)
    return result


def retry_eintr(call: Callable[..., int], *args: Any) -> int:
    """Call again for as long as a signal interrupts."""
    while True:
        result = call(*args)
        if result >= 0 or ctypes.get_errno() != errno.EINTR:
            return result


def encode(path: str | None) -> bytes | None:
    """A path or option string as the kernel sees it (NULL for None).

    Raises InvalidArgument for one with a NUL byte, at which the kernel would cut it.
    """
    if path is None:
        return None
    if "\0" in path:
        raise InvalidArgument(f"{path!r} has a NUL byte")
    return os.fsencode(path)


def flag_names(flags: int, names: dict[str, int]) -> str:
    """`flags` by name, as `A|B|0x80`; "0" for none."""
    found = []
    for name, bit in names.items():
        if bit and flags & bit == bit:
            found.append(name)
            flags &= ~bit
    if flags:
        found.append(hex(flags))
    return "|".join(found) or "0"
