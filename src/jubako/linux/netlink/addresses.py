"""Addresses of links: rtnetlink(7), RTM_*ADDR.  They are text, with the prefix length apart."""

from __future__ import annotations

import errno
import socket
import struct

from jubako.linux.netlink import codec
from jubako.linux.netlink.socket import Netlink, Request

RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4

RT_SCOPE_UNIVERSE = 0

_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index


class Address:
    """One address of a link."""

    __slots__ = __match_args__ = ("address", "prefix", "index", "family")

    def __init__(self, message: codec.Message):
        self.family, self.prefix, _, _, self.index = _IFADDRMSG.unpack_from(message.body)
        found = codec.mapping(message.body[_IFADDRMSG.size :])
        value = found.get(IFA_LOCAL, found.get(IFA_ADDRESS, b""))
        self.address = socket.inet_ntop(self.family, value) if value else ""


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _body(address: str, prefix: int, index: int) -> bytes:
    family = family_of(address)
    packed = socket.inet_pton(family, address)
    body = _IFADDRMSG.pack(family, prefix, 0, RT_SCOPE_UNIVERSE, index)
    body += codec.attribute(IFA_LOCAL, packed) + codec.attribute(IFA_ADDRESS, packed)
    if family == socket.AF_INET and prefix < 31:
        (number,) = struct.unpack(">I", packed)
        broadcast = number | ((1 << (32 - prefix)) - 1)
        body += codec.attribute(IFA_BROADCAST, struct.pack(">I", broadcast))
    return body


def add(address: str, prefix: int, index: int, *, link: str = "", why: str = "") -> Request:
    """Give the link of this index an address, with the broadcast address that goes with it.

    Fine if it has it already.  link: the name, for messages.
    """
    return Request(
        RTM_NEWADDR,
        codec.NLM_F_CREATE | codec.NLM_F_EXCL,
        _body(address, prefix, index),
        shell=f"ip addr add {address}/{prefix} brd + dev {link or f'if{index}'}",
        path=address,
        why=why,
        accept=(errno.EEXIST,),
    )


def delete(address: str, prefix: int, index: int, *, link: str = "", why: str = "") -> Request:
    """Take an address from a link; fine if it is not there."""
    return Request(
        RTM_DELADDR,
        0,
        _body(address, prefix, index),
        shell=f"ip addr del {address}/{prefix} dev {link or f'if{index}'}",
        path=address,
        why=why,
        accept=(errno.EADDRNOTAVAIL, errno.ENODEV),
    )


def list_addresses(netlink: Netlink, *, index: int = 0, family: int = 0) -> list[Address]:
    """All addresses, or those of one link or family."""
    body = _IFADDRMSG.pack(family, 0, 0, 0, index)
    request = Request(RTM_GETADDR, 0, body, shell="ip addr show", path="addresses")
    found = map(Address, netlink.dump(request))
    return [item for item in found if not index or item.index == index]
