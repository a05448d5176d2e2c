"""Connection tracking: finding and deleting connections, as conntrack(8) does."""

from __future__ import annotations

import errno
import socket
import struct

from jubako.errors import KernelError
from jubako.linux.netlink import codec
from jubako.linux.netlink.namespace import read_sysctl
from jubako.linux.netlink.socket import Netlink, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_NFNL_SUBSYS_CTNETLINK = 1
_IPCTNL_MSG_CT_GET = 1
_IPCTNL_MSG_CT_DELETE = 2

_CTA_TUPLE_ORIG = 1
_CTA_TUPLE_REPLY = 2
_CTA_ID = 12
_CTA_FILTER = 25
_CTA_FILTER_ORIG_FLAGS = 1
_CTA_FILTER_REPLY_FLAGS = 2
_CTA_TUPLE_IP = 1
_CTA_TUPLE_PROTO = 2
_CTA_IP_V4_SRC = 1
_CTA_IP_V4_DST = 2
_CTA_PROTO_NUM = 1
_CTA_PROTO_SRC_PORT = 2
_CTA_PROTO_DST_PORT = 3
# bits of CTA_FILTER_*_FLAGS (net/netfilter/nf_internals.h)
_FILTER_IP_SRC = 1 << 0
_FILTER_PROTO_NUM = 1 << 3
_FILTER_PROTO_DST_PORT = 1 << 5

_NFGENMSG = struct.Struct("=BBH")
_HEADER = _NFGENMSG.pack(socket.AF_INET, 0, 0)
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}


def _kind(message: int) -> int:
    return (_NFNL_SUBSYS_CTNETLINK << 8) | message


class Connection:
    """One tracked connection.

    destination, port: where its first packet wanted to go.  server: the address that answers, which
    is another one if the destination was translated.
    """

    __slots__ = ("protocol", "destination", "port", "server", "_tuple", "_id")

    def __init__(self, message: codec.Message):
        found = codec.mapping(message.body[_NFGENMSG.size :])
        self._tuple = found.get(_CTA_TUPLE_ORIG, b"")
        self._id = found.get(_CTA_ID, b"")
        original = codec.mapping(self._tuple)
        reply = codec.mapping(found.get(_CTA_TUPLE_REPLY, b""))
        proto = codec.mapping(original.get(_CTA_TUPLE_PROTO, b""))
        self.protocol = codec.integer(proto.get(_CTA_PROTO_NUM))
        self.port = int.from_bytes(proto.get(_CTA_PROTO_DST_PORT, b""), "big")
        self.destination = _address(original, _CTA_IP_V4_DST)
        self.server = _address(reply, _CTA_IP_V4_SRC)

    def deletion(self, why: str) -> Request:
        body = _HEADER + codec.attribute(_CTA_TUPLE_ORIG | codec.NLA_F_NESTED, self._tuple)
        if self._id:
            body += codec.attribute(_CTA_ID, self._id)
        return Request(
            _kind(_IPCTNL_MSG_CT_DELETE),
            0,
            body,
            shell=f"conntrack -D -p {self.protocol} -d {self.destination} --dport {self.port}",
            path=self.destination,
            why=why,
            accept=(errno.ENOENT,),
        )


def _address(tuple_: dict[int, bytes], kind: int) -> str:
    value = codec.mapping(tuple_.get(_CTA_TUPLE_IP, b"")).get(kind)
    return socket.inet_ntoa(value) if value else ""


def list_to_ports(
    netlink: Netlink, protocol: str, numbers: Collection[int]
) -> Iterator[Connection]:
    """IPv4 connections whose first packet went to one of these ports, at whatever address."""
    protocol_number = PROTOCOLS[protocol]
    proto = codec.u8(_CTA_PROTO_NUM, protocol_number)
    flags = _FILTER_PROTO_NUM
    if len(numbers) == 1:  # the kernel filters by one port at most
        proto += codec.be16(_CTA_PROTO_DST_PORT, *numbers)
        flags |= _FILTER_PROTO_DST_PORT
    body = codec.nested(_CTA_TUPLE_ORIG, codec.nested(_CTA_TUPLE_PROTO, proto))
    body += codec.nested(_CTA_FILTER, codec.u32(_CTA_FILTER_ORIG_FLAGS, flags))
    for connection in _dump(netlink, body):
        if connection.protocol == protocol_number and connection.port in numbers:
            yield connection


def list_to_server(netlink: Netlink, address: str) -> Iterator[Connection]:
    """IPv4 connections that this address answers, also those translated to it."""
    source = codec.attribute(_CTA_IP_V4_SRC, socket.inet_aton(address))
    body = codec.nested(_CTA_TUPLE_REPLY, codec.nested(_CTA_TUPLE_IP, source))
    body += codec.nested(_CTA_FILTER, codec.u32(_CTA_FILTER_REPLY_FLAGS, _FILTER_IP_SRC))
    for connection in _dump(netlink, body):
        if connection.server == address:
            yield connection


def _dump(netlink: Netlink, filter_: bytes) -> Iterator[Connection]:
    """All connections that match; kernels before 5.8 refuse or ignore the filter and send all."""
    kind = _kind(_IPCTNL_MSG_CT_GET)
    request = Request(kind, 0, b"", shell="conntrack -L", path="connections")
    for body in (_HEADER + filter_, _HEADER):
        request.body = body
        try:
            messages = netlink.dump(request)
            break
        except KernelError as exc:
            if exc.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    else:
        return  # a kernel without ctnetlink
    yield from map(Connection, messages)


def is_empty() -> bool:
    """Whether the current network namespace tracks nothing; a dump looks at each of some 100,000
    slots, which takes milliseconds."""
    return read_sysctl("net/netfilter/nf_conntrack_count") == "0"


def delete(netlink: Netlink, connections: Iterator[Connection], *, why: str = "") -> int:
    """Delete connections and return how many; those that ended meanwhile are fine."""
    requests = [connection.deletion(why) for connection in connections]
    for start in range(0, len(requests), 100):
        netlink.execute(*requests[start : start + 100])
    return len(requests)
