"""The sockets of a network namespace that wait for somebody: /proc/PID/net/{tcp,udp}{,6}.

proc_net(5): one socket a line; addresses are hexadecimal in the byte order of the machine's words.
"""

from __future__ import annotations

import os
import socket
import sys

_LISTEN = "0A"  # TCP_LISTEN
_UNCONNECTED = "07"  # TCP_CLOSE, which a bound UDP socket shows
_MAX_BYTES = 8 << 20  # some 50,000 sockets


class Listening:
    """One socket: protocol `tcp` or `udp`, the address and port it is bound to, its inode."""

    __slots__ = __match_args__ = ("protocol", "address", "port", "inode")

    def __init__(self, protocol: str, address: str, port: int, inode: int):
        self.protocol = protocol
        self.address = address
        self.port = port
        self.inode = inode

    @property
    def local_only(self) -> bool:
        """Whether it answers only from inside the namespace."""
        return self.address.startswith("127.") or self.address == "::1"

    def __repr__(self) -> str:
        return f"Listening({self.protocol} {self.address} {self.port})"


def listening(pid: int | str = "self") -> list[Listening]:
    """What listens in the network namespace of a process; nothing when the process is gone."""
    found: list[Listening] = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        protocol = name.removesuffix("6")
        wanted = _LISTEN if protocol == "tcp" else _UNCONNECTED
        for line in _lines(f"/proc/{pid}/net/{name}"):
            fields = line.split()
            if len(fields) > 9 and fields[3] == wanted:
                address, _, port = fields[1].partition(":")
                found.append(Listening(protocol, _address(address), int(port, 16), int(fields[9])))
    return found


def owner(inode: int) -> int:
    """The PID of a process that holds a socket; 0 when none is visible.  Looks at every process."""
    wanted = f"socket:[{inode}]"
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            for fd in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{fd}") == wanted:
                    return int(name)
        except OSError:
            continue  # it has ended, or is somebody else's
    return 0


def _lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES).decode().splitlines()[1:]
    except OSError:
        return []


def _address(text: str) -> str:
    """`0100007F` to `127.0.0.1`."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed)
