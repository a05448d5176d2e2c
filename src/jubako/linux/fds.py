"""Descriptors: close_range(2), inheritance, ownership."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux._libc import get_errno, syscall
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4
MAX_FD = 0xFFFFFFFF

_close_range = syscall("close_range", ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)


class Fd:
    """Owns a descriptor for the length of a `with` block, whose value is the number."""

    __slots__ = ("fd",)

    def __init__(self, fd: int):
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *exc: object) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def detach(self) -> int:
        """Give the descriptor to the caller."""
        fd, self.fd = self.fd, -1
        return fd


def fdinfo(fd: int, name: str) -> int:
    """A decimal number that the kernel tells of a descriptor, proc_pid_fdinfo(5); 0 if none.

    name: of the field, `Pid` or `mnt_id`.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            key, _, value = line.partition(b":")
            if key == name.encode():
                return int(value)
    return 0


def close_range(first: int, last: int = MAX_FD, flags: int = 0) -> None:
    """Close (or with CLOSE_RANGE_CLOEXEC: mark) all descriptors from `first` to `last`.

    Without the system call (before 5.9, CLOEXEC before 5.11) it goes by /proc/self/fd.
    """
    if _close_range(first, last, flags) == 0:
        return
    number = get_errno()
    if number not in (errno.ENOSYS, errno.EPERM, errno.EINVAL) or first > last:
        raise KernelError("close_range", number, detail=f"{first} to {last}")
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if first <= fd <= last:
            try:
                if flags & CLOSE_RANGE_CLOEXEC:
                    os.set_inheritable(fd, False)
                else:
                    os.close(fd)
            except OSError:
                pass  # the descriptor of the listing itself


@traced(
    lambda fd, uid, *, why="": f"chown {uid} {quote(trace.place(fd))}",
    op="chown",
    facts=lambda fd, uid, *, why="": {"path": trace.place(fd), "uid": uid},
)
def chown(fd: int, uid: int, *, why: str = "") -> None:
    """fchown(2); the group stays.  Raises OSError."""
    os.fchown(fd, uid, -1)


def close_except(kept: Iterable[int], first: int = 3) -> None:
    """Close all descriptors from `first` up but `kept`; those below `first` do not matter."""
    for fd in sorted(set(kept)):
        if fd >= first:
            if fd > first:
                close_range(first, fd - 1)
            first = fd + 1
    close_range(first)


def set_cloexec_from(first: int) -> None:
    """Nothing from `first` on survives the next exec (CVE-2024-21626)."""
    close_range(first, MAX_FD, CLOSE_RANGE_CLOEXEC)


def set_inheritable(fd: int, on: bool = True) -> None:
    """Whether `fd` survives exec."""
    try:
        os.set_inheritable(fd, on)
    except OSError as error:
        raise KernelError("fcntl", error.errno or 0, path=f"fd {fd}") from error


def move(fd: int, lowest: int) -> int:
    """Give `fd` a new close-on-exec number of at least `lowest` and close the old one."""
    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return new
