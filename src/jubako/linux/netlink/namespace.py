"""Sockets and settings of another network namespace.

A netlink socket stays in the namespace where it was made, and /proc/sys/net shows the namespace of
whoever opens it: entering for the moment of opening is enough.
"""

from __future__ import annotations

import os

from jubako.errors import KernelError
from jubako.linux import pseudofile
from jubako.linux.netlink.socket import Netlink
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def call_in(netns_fd: int, function: Callable[[], T], *, why: str = "") -> T:
    """Call `function` with the calling thread in the network namespace of `netns_fd`.

    The thread is back in its own namespace afterwards, also when `function` raises.
    """
    from jubako.linux.ns import CLONE_NEWNET, setns  # ctypes: not for those who only listen

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(netns_fd, CLONE_NEWNET, why=why)
        try:
            return function()
        finally:
            setns(home, CLONE_NEWNET, why="back to the host's network")
    finally:
        os.close(home)


def open_in(netns_fd: int) -> Netlink:
    """A route socket in the network namespace of `netns_fd`."""
    return call_in(netns_fd, Netlink, why="for a moment, to open a socket in there")


def _sysctl_path(name: str) -> str:
    return "/proc/sys/" + name


@traced(
    lambda name, value, *, why="": f"echo {value} > /proc/sys/{name}",
    op="write",
    facts=lambda name, value, *, why="": {"path": f"/proc/sys/{name}", "value": value},
)
def write_sysctl(name: str, value: str, *, why: str = "") -> None:
    """Write /proc/sys/<name> of the caller's network namespace (`net/ipv4/ip_forward`)."""
    pseudofile.put(_sysctl_path(name), value, shown=value)


def read_sysctl(name: str) -> str | None:
    """The setting, without its newline; None where this kernel has none of that name."""
    path = _sysctl_path(name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
    try:
        return os.read(fd, 4096).decode().strip()
    finally:
        os.close(fd)
