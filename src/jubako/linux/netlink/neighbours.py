"""The neighbour table (ARP, NDP): rtnetlink(7), RTM_*NEIGH."""

from __future__ import annotations

import errno
import socket
import struct

from jubako.linux.netlink import codec
from jubako.linux.netlink.addresses import family_of
from jubako.linux.netlink.links import mac_bytes
from jubako.linux.netlink.socket import Netlink, Request

RTM_NEWNEIGH = 28
RTM_DELNEIGH = 29
RTM_GETNEIGH = 30

NDA_DST = 1
NDA_LLADDR = 2
NUD_PERMANENT = 0x80

_NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type


class Neighbour:
    """Which MAC an address was found at.  mac: "" while unknown."""

    __slots__ = __match_args__ = ("address", "mac", "index", "state")

    def __init__(self, message: codec.Message):
        family, self.index, self.state, _, _ = _NDMSG.unpack_from(message.body)
        found = codec.mapping(message.body[_NDMSG.size :])
        address = found.get(NDA_DST, b"")
        self.address = socket.inet_ntop(family, address) if address else ""
        self.mac = ":".join(f"{byte:02x}" for byte in found.get(NDA_LLADDR, b""))


def add(address: str, mac: str, index: int, *, why: str = "") -> Request:
    """Tell, for good, at which MAC an address is found; replaces what was known."""
    family = family_of(address)
    body = _NDMSG.pack(family, index, NUD_PERMANENT, 0, 0)
    body += codec.attribute(NDA_DST, socket.inet_pton(family, address))
    body += codec.attribute(NDA_LLADDR, mac_bytes(mac))
    return Request(
        RTM_NEWNEIGH,
        codec.NLM_F_CREATE | codec.NLM_F_REPLACE,
        body,
        shell=f"ip neigh replace {address} lladdr {mac} dev if{index}",
        path=address,
        why=why,
    )


def delete(address: str, index: int, *, link: str = "", why: str = "") -> Request:
    """Forget what was known of an address; fine if nothing was."""
    family = family_of(address)
    body = _NDMSG.pack(family, index, 0, 0, 0)
    body += codec.attribute(NDA_DST, socket.inet_pton(family, address))
    return Request(
        RTM_DELNEIGH,
        0,
        body,
        shell=f"ip neigh del {address} dev {link or f'if{index}'}",
        path=address,
        why=why,
        accept=(errno.ENOENT, errno.ENODEV),
    )


def list_neighbours(netlink: Netlink, *, family: int = socket.AF_INET) -> list[Neighbour]:
    """What is known of all neighbours."""
    body = _NDMSG.pack(family, 0, 0, 0, 0)
    request = Request(RTM_GETNEIGH, 0, body, shell="ip neigh show", path="neighbours")
    return [Neighbour(message) for message in netlink.dump(request)]
