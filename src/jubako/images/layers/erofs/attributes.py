"""Which attributes of an entry a file of an index gets: what the kernel would let it have.

A file system checks attributes when they are set.  In an index nothing is set, so that is done
here; what the kernel refuses with EPERM or EOPNOTSUPP is left out, as by the overlay driver.
"""

from __future__ import annotations

import errno
import os
import struct

from jubako.errors import InvalidArgument
from jubako.images.layers.attributes import wanted
from jubako.images.layers.erofs import acl
from jubako.images.layers.erofs.xattrs import supported
from jubako.images.tar import DIRECTORY, REGULAR, SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images.tar import Entry

    Attributes = list[tuple[bytes, bytes]]

_MAX_NAME_BYTES = 255
_MAX_VALUE_BYTES = 1 << 16
_CAPABILITY = b"security.capability"
_CAPABILITY_BYTES = {2: 20, 3: 24}  # by the revision in the highest byte of its first number


def attributes_of(entry: Entry) -> Attributes:
    """Names and values, in the order of names.

    An access ACL changes the entry's mode.  Raises InvalidArgument for what no file can have.
    """
    found = []
    for name, value in sorted(wanted(entry)):
        if (
            not supported(name)
            or name.startswith(b"user.")
            and entry.kind
            not in (
                REGULAR,
                DIRECTORY,
            )
        ):
            continue
        if len(name) > _MAX_NAME_BYTES:
            raise _refused(entry, name, os.strerror(errno.ERANGE))
        if len(value) > _MAX_VALUE_BYTES:
            raise _refused(entry, name, os.strerror(errno.E2BIG))
        if name.endswith(b".") or name == _CAPABILITY and not _is_capability(value):
            raise _refused(entry, name, os.strerror(errno.EINVAL))
        if name not in (acl.ACCESS, acl.DEFAULT) or _keep_acl(entry, name, value):
            found.append((name, value))
    return found


def _is_capability(value: bytes) -> bool:
    if len(value) < 4:
        return not value
    (magic,) = struct.unpack_from("<I", value)
    return _CAPABILITY_BYTES.get(magic >> 24) == len(value) and not magic & 0xFFFFFE


def _keep_acl(entry: Entry, name: bytes, value: bytes) -> bool:
    if entry.kind == SYMLINK or not value:
        return False
    try:
        permissions = acl.parse(value)
    except ValueError as exc:
        raise _refused(entry, name, str(exc)) from exc
    if not permissions:
        return False
    if name == acl.DEFAULT:
        if entry.kind != DIRECTORY:
            raise _refused(entry, name, "only directories have one")
        return True
    entry.mode = acl.change_mode(entry.mode, permissions)
    return not acl.is_minimal(permissions)


def _refused(entry: Entry, name: bytes, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"{os.fsdecode(entry.name)!r}: attribute {os.fsdecode(name[:60])!r}: {reason}"
    )
