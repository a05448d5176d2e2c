"""IPv4 addresses as numbers.  The standard library's `ipaddress` costs 6 ms to import."""

from __future__ import annotations

import socket
import struct

from jubako.errors import InvalidArgument


def number(text: str) -> int:
    """172.17.0.2 as a number.  Raises InvalidArgument for anything but four decimal parts."""
    try:
        packed = socket.inet_pton(socket.AF_INET, text)
    except OSError as exc:
        raise InvalidArgument(f"invalid IPv4 address: {text}", subject=text) from exc
    value: int = struct.unpack(">I", packed)[0]
    return value


def text(value: int) -> str:
    return socket.inet_ntoa(struct.pack(">I", value))


def is_ipv4(value: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, value)
    except OSError:
        return False
    return True


def is_ipv6(value: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, value)
    except OSError:
        return False
    return True


class Subnet:
    """A range of addresses.  base: the first one.  prefix: the number of fixed bits."""

    __slots__ = __match_args__ = ("base", "prefix")

    def __init__(self, base: int, prefix: int):
        self.base = base
        self.prefix = prefix

    @classmethod
    def parse(cls, value: str) -> Subnet:
        """172.17.0.0/16; bits of the host part are dropped.  Raises InvalidArgument."""
        address, _, length = value.partition("/")
        if not length.isdecimal() or int(length) > 32:
            raise InvalidArgument(f"invalid subnet: {value}", subject=value)
        prefix = int(length)
        return cls(number(address) & _mask(prefix), prefix)

    def __str__(self) -> str:
        return f"{text(self.base)}/{self.prefix}"

    def __repr__(self) -> str:
        return f"Subnet({self})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Subnet):
            return NotImplemented
        return (self.base, self.prefix) == (other.base, other.prefix)

    def __hash__(self) -> int:
        return hash((self.base, self.prefix))

    @property
    def last(self) -> int:
        """The broadcast address."""
        return self.base | (~_mask(self.prefix) & 0xFFFFFFFF)

    def __contains__(self, address: int) -> bool:
        return self.base <= address <= self.last

    def overlaps(self, other: Subnet) -> bool:
        return self.base <= other.last and other.base <= self.last


def _mask(prefix: int) -> int:
    return (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
