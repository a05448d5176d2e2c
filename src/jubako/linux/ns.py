"""Namespaces: unshare(2), setns(2) and the files in /proc/PID/ns."""

from __future__ import annotations

import ctypes
import os

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux._libc import check, flag_names, function
from jubako.linux.fds import fdinfo
from jubako.linux.trace import traced

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# OCI name -> (flag, file in /proc/PID/ns), in an order in which they can be joined
KINDS = {
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "network": (CLONE_NEWNET, "net"),
    "pid": (CLONE_NEWPID, "pid"),
    "time": (CLONE_NEWTIME, "time"),
    "mount": (CLONE_NEWNS, "mnt"),
}
_FLAGS = {kind: flag for kind, (flag, _) in KINDS.items()}
_OPTIONS = {
    CLONE_NEWTIME: "--time",
    CLONE_NEWNS: "--mount",
    CLONE_NEWCGROUP: "--cgroup",
    CLONE_NEWUTS: "--uts",
    CLONE_NEWIPC: "--ipc",
    CLONE_NEWUSER: "--user",
    CLONE_NEWPID: "--pid",
    CLONE_NEWNET: "--net",
}

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)


def _words(flags: int) -> str:
    return " ".join(word for bit, word in _OPTIONS.items() if flags & bit)


def clone_words(flags: int) -> str:
    """A command that begins a process in new namespaces, or a remark that one begins."""
    return f"unshare {_words(flags)} --fork" if _words(flags) else "# clone(2): a new process"


def kinds(flags: int) -> list[str]:
    """The OCI names of CLONE_NEW* flags."""
    return [kind for kind, (bit, _) in KINDS.items() if flags & bit]


@traced(
    lambda flags, *, why="": f"unshare {_words(flags)}",
    facts=lambda flags, *, why="": {"namespaces": kinds(flags)},
)
def unshare(flags: int, *, why: str = "") -> None:
    """unshare(2): new namespaces of the kinds CLONE_NEW*; NEWPID and NEWTIME are for children."""
    if _unshare(flags) < 0:
        check(-1, "unshare", detail=flag_names(flags, _FLAGS))


@traced(
    lambda fd, nstype=0, *, why="": _enter_words(fd, nstype),
    facts=lambda fd, nstype=0, *, why="": {"namespaces": kinds(nstype)},
)
def setns(fd: int, nstype: int = 0, *, why: str = "") -> None:
    """setns(2): enter the namespace open as `fd`, or several of a pidfd at once (kernel 5.8)."""
    if _setns(fd, nstype) < 0:
        check(-1, "setns", path=f"fd {fd}", detail=flag_names(nstype, _FLAGS))


def _enter_words(fd: int, flags: int) -> str:
    """nsenter(1), which takes a path for each namespace, or the PID behind a pidfd for all."""
    pid = pidfd_pid(fd)
    if pid:
        return f"nsenter --target {pid} {_words(flags)}"
    return f"nsenter {_words(flags)}={trace.namespace(fd)}"


def pidfd_pid(fd: int) -> int:
    """The PID of the process open as a pidfd; 0 if it is none.  For the trace."""
    return fdinfo(fd, "Pid")


def open_ns(pid: int | str, kind: str) -> int:
    """An open, close-on-exec descriptor of a process's namespace; `kind` is an OCI name."""
    path = f"/proc/{pid}/ns/{KINDS[kind][1]}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError.from_oserror("open", error, path=path) from error


def inode(pid: int | str, kind: str) -> int:
    """The number that identifies the namespace for as long as it exists."""
    path = f"/proc/{pid}/ns/{KINDS[kind][1]}"
    try:
        return os.stat(path).st_ino
    except OSError as error:
        raise KernelError.from_oserror("stat", error, path=path) from error
