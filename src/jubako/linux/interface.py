"""Network interfaces through ioctl(2) (netdevice(7)): for who needs no more than `up`.

Everything else goes over `jubako.linux.netlink`, which costs a container without a network 2 ms to
import.
"""

from __future__ import annotations

import fcntl
import socket
import struct

from jubako.errors import KernelError
from jubako.linux.shell import quote
from jubako.linux.trace import traced

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ = struct.Struct("16sH22x")  # struct ifreq: name, flags


@traced(lambda name, *, why="": f"ip link set {quote(name)} up")
def set_up(name: str, *, why: str = "") -> None:
    """Set an interface of this process's network namespace up.  Raises KernelError (ENODEV)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        try:
            fcntl.ioctl(handle, _SIOCSIFFLAGS, _IFREQ.pack(name.encode(), _IFF_UP))
        except OSError as error:
            raise KernelError.from_oserror("set link up", error, path=name) from error
