"""Routes: rtnetlink(7), RTM_*ROUTE.  Destinations are text: "" or ADDRESS/PREFIX."""

from __future__ import annotations

import errno
import socket
import struct

from jubako.linux.netlink import codec
from jubako.linux.netlink.addresses import family_of
from jubako.linux.netlink.socket import Netlink, Request

RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_TABLE = 15

RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_NOWHERE = 255
RTN_UNICAST = 1

_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags


class Route:
    """One route.  destination: "" for the default route.  gateway: "" for a link's own network."""

    __slots__ = __match_args__ = ("destination", "gateway", "index", "table", "type", "family")

    def __init__(self, message: codec.Message):
        family, prefix, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message.body)
        found = codec.mapping(message.body[_RTMSG.size :])
        self.family = family
        self.type = kind
        self.table = codec.integer(found.get(RTA_TABLE), table)
        self.index = codec.integer(found.get(RTA_OIF))
        self.gateway = _text(family, found.get(RTA_GATEWAY))
        destination = _text(family, found.get(RTA_DST))
        self.destination = f"{destination}/{prefix}" if destination else ""


def _text(family: int, value: bytes | None) -> str:
    if not value or family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    return socket.inet_ntop(family, value)


def _body(destination: str, gateway: str, index: int) -> bytes:
    family = family_of(gateway or destination)
    address, _, prefix = destination.partition("/")
    length = int(prefix) if prefix else 0
    scope = RT_SCOPE_UNIVERSE if gateway else RT_SCOPE_LINK
    body = _RTMSG.pack(family, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    if address:
        body += codec.attribute(RTA_DST, socket.inet_pton(family, address))
    if gateway:
        body += codec.attribute(RTA_GATEWAY, socket.inet_pton(family, gateway))
    if index:
        body += codec.u32(RTA_OIF, index)
    return body


def _words(destination: str, gateway: str, index: int) -> str:
    words = destination or "default"
    if gateway:
        words += f" via {gateway}"
    return f"{words} dev if{index}" if index else words


def add(destination: str, *, gateway: str = "", index: int = 0, why: str = "") -> Request:
    """Add a route of the main table; fine if it is there."""
    words = _words(destination, gateway, index)
    return Request(
        RTM_NEWROUTE,
        codec.NLM_F_CREATE | codec.NLM_F_EXCL,
        _body(destination, gateway, index),
        shell=f"ip route add {words}",
        path=destination or "default",
        why=why,
        accept=(errno.EEXIST,),
    )


def delete(destination: str, *, gateway: str = "", index: int = 0, why: str = "") -> Request:
    """Remove a route of the main table; fine if there is none."""
    words = _words(destination, gateway, index)
    return Request(
        RTM_DELROUTE,
        0,
        _body(destination, gateway, index),
        shell=f"ip route del {words}",
        path=destination or "default",
        why=why,
        accept=(errno.ESRCH,),
    )


def list_routes(netlink: Netlink, *, family: int = socket.AF_INET) -> list[Route]:
    """The routes of every table, the kernel's own (local, broadcast) among them."""
    body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    request = Request(RTM_GETROUTE, 0, body, shell="ip route show table all", path="routes")
    return [Route(message) for message in netlink.dump(request)]
