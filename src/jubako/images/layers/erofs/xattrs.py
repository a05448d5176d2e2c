"""Extended attributes in an index: with the inode, or shared by all that have the same."""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs.format import XATTR_ENTRY, XATTR_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    Attribute = tuple[bytes, bytes]

    class Sliceable(Protocol):
        def __getitem__(self, part: slice, /) -> bytes: ...


MAX_VALUE_BYTES = (1 << 16) - 1
_MAX_SUFFIX_BYTES = 255
_MAX_SHARED = 255  # of one inode
_MAX_INLINE_BYTES = XATTR_HEADER.size + 4 * ((1 << 16) - 2)
_POOL_BYTES = 1 << 20  # of what is shared, which stays in memory until the end

# Each with its index and what of the name is left to be stored.
_EXACT = {b"system.posix_acl_access": 2, b"system.posix_acl_default": 3}
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_NAMES = {index: name for name, index in (_EXACT | _PREFIXES).items()}


def supported(name: bytes) -> bool:
    """Whether EROFS has a place for attributes of this name."""
    return name in _EXACT or name[: name.find(b".") + 1] in _PREFIXES


class XattrPool:
    """Encodes attributes; `data` is the area of the shared ones."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._numbers: dict[bytes, int] = {}

    def encode(self, attributes: Iterable[Attribute], what: bytes, *, share: bool = False) -> bytes:
        """What follows the inode: a header, numbers of shared attributes, the others.

        share: put all into the pool, however large it is, so that at most MAX_ROOT_BYTES follow.
        Raises InvalidArgument, naming `what`, for what the format cannot hold.
        """
        shared: list[bytes] = []
        inline: list[bytes] = []
        for name, value in attributes:
            entry = _entry(name, value, what)
            number = self._numbers.get(entry)
            if number is None and (share or len(self.data) + len(entry) <= _POOL_BYTES):
                number = self._numbers[entry] = len(self.data) // 4
                self.data += entry
            if number is None or len(shared) == _MAX_SHARED:
                inline.append(entry)
            else:
                shared.append(number.to_bytes(4, "little"))
        body = b"".join((XATTR_HEADER.pack(0, len(shared)), *shared, *inline))
        if len(body) > _MAX_INLINE_BYTES or share and inline:
            raise InvalidArgument(f"{os.fsdecode(what)!r}: too many attributes for EROFS")
        return body if len(body) > XATTR_HEADER.size else b""


MAX_ROOT_BYTES = XATTR_HEADER.size + 4 * _MAX_SHARED


def count(body: bytes) -> int:
    """The field of the inode that tells the length of what `encode` returned."""
    return (len(body) - XATTR_HEADER.size) // 4 + 1 if body else 0


def _entry(name: bytes, value: bytes, what: bytes) -> bytes:
    index, suffix = _EXACT.get(name, 0), b""
    if not index:
        prefix, dot, suffix = name.partition(b".")
        index = _PREFIXES[prefix + dot]
    if len(suffix) > _MAX_SUFFIX_BYTES or len(value) > MAX_VALUE_BYTES:
        raise InvalidArgument(
            f"{os.fsdecode(what)!r}: attribute {os.fsdecode(name[:60])!r} of {len(value)} bytes "
            f"does not fit into EROFS, which has {MAX_VALUE_BYTES}"
        )
    data = XATTR_ENTRY.pack(len(suffix), index, len(value)) + suffix + value
    return data + bytes(-len(data) % 4)


def read_attributes(body: bytes, data: Sliceable, pool: int) -> dict[bytes, bytes]:
    """What `encode` made.  data: the index; pool: where in it the shared ones begin."""
    shared = XATTR_HEADER.unpack_from(body)[1]
    at = XATTR_HEADER.size
    found: dict[bytes, bytes] = {}
    for _ in range(shared):
        _read_entry(data, pool + 4 * int.from_bytes(body[at : at + 4], "little"), found)
        at += 4
    while at < len(body):
        at = _read_entry(body, at, found)
    return found


def _read_entry(data: Sliceable, at: int, found: dict[bytes, bytes]) -> int:
    """Returns where the next one begins."""
    length, index, size = XATTR_ENTRY.unpack(data[at : at + XATTR_ENTRY.size])
    at += XATTR_ENTRY.size
    found[_NAMES[index] + data[at : at + length]] = data[at + length : at + length + size]
    at += length + size
    return at + -at % 4
