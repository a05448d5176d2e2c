"""The byte format of netlink(7): messages that hold a fixed header and attributes.

    nlmsghdr    u32 length, u16 type, u16 flags, u32 sequence, u32 port   (the host's byte order)
    header      of the protocol: ifinfomsg, ifaddrmsg, rtmsg, nfgenmsg, ...
    nlattr ...  u16 length, u16 type, value, padding to 4 bytes; a value may hold attributes again

Pure functions over bytes; `jubako.linux.netlink.socket` sends and receives them.
"""

from __future__ import annotations

import errno
import struct

from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_ROOT = 0x100
NLM_F_MATCH = 0x200
NLM_F_DUMP = NLM_F_ROOT | NLM_F_MATCH
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
NLM_F_DUMP_INTR = 0x010
NLM_F_CAPPED = 0x100  # of an error message: the request is not quoted in full
NLM_F_ACK_TLVS = 0x200  # of an error message: attributes with the kernel's reason follow

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF  # without "nested" and "network byte order"

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_MAX_VALUE = 0xFFFF - _ATTRIBUTE.size


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded.  Raises KernelError(EMSGSIZE) for values beyond 65,531 bytes."""
    size = len(value)
    if size > _MAX_VALUE:
        raise KernelError("netlink", errno.EMSGSIZE, detail=f"attribute {kind}: {size} bytes")
    return _ATTRIBUTE.pack(size + 4, kind) + value + bytes(-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """A 16-bit number in network byte order, as netfilter and VLAN attributes have them."""
    return attribute(kind, struct.pack(">H", value))


def be32(kind: int, value: int) -> bytes:
    """A 32-bit number in network byte order."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    """A string with the NUL that the kernel expects."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`, in order, flags of the type removed.

    Raises KernelError(EBADMSG) where a length points outside `data`: the kernel sends no such
    thing, so this is a bug of ours, and never an endless loop.
    """
    offset, end = 0, len(data)
    while end - offset >= 4:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            raise KernelError("netlink", errno.EBADMSG, detail=f"attribute of {size} bytes")
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def mapping(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by type; the last one of a type wins, as in the kernel."""
    return dict(attributes(data))


def string(value: bytes | None) -> str:
    """The text of a string attribute, "" if it is missing."""
    return "" if value is None else value.split(b"\0", 1)[0].decode(errors="replace")


def integer(value: bytes | None, default: int = 0) -> int:
    """The number in an attribute of 1, 2, 4 or 8 bytes in the host's order."""
    if value is None:
        return default
    return int.from_bytes(value, "little" if _LITTLE else "big")


_LITTLE = struct.pack("=H", 1) == b"\1\0"


class Message:
    """A received message.  kind: nlmsg_type.  body: what follows nlmsghdr."""

    __slots__ = __match_args__ = ("kind", "flags", "sequence", "body")

    def __init__(self, kind: int, flags: int, sequence: int, body: bytes):
        self.kind = kind
        self.flags = flags
        self.sequence = sequence
        self.body = body


def pack_message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A message with its header, padded so that another may follow."""
    size = HEADER.size + len(body)
    return HEADER.pack(size, kind, flags, sequence, 0) + body + bytes(-size % 4)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram.  Raises KernelError(EBADMSG) as `attributes` does."""
    offset, end = 0, len(data)
    while end - offset >= HEADER.size:
        size, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if size < HEADER.size or offset + size > end:
            raise KernelError("netlink", errno.EBADMSG, detail=f"message of {size} bytes")
        yield Message(kind, flags, sequence, data[offset + HEADER.size : offset + size])
        offset += (size + 3) & ~3
