"""POSIX ACLs, which the kernel checks when they are set, and trusts when it reads them from EROFS.

The form of the attribute: version (u32), then for each entry tag (u16), permissions (u16) and ID
(u32), all little endian (include/uapi/linux/posix_acl_xattr.h, fs/posix_acl.c).
"""

from __future__ import annotations

import struct

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NOBODY = 0xFFFFFFFF

# Tags that may follow each tag; 0 is the beginning.
_NEXT = {
    0: (_USER_OBJ,),
    _USER_OBJ: (_USER, _GROUP_OBJ),
    _USER: (_USER, _GROUP_OBJ),
    _GROUP_OBJ: (_GROUP, _MASK, _OTHER),
    _GROUP: (_GROUP, _MASK),
    _MASK: (_OTHER,),
    _OTHER: (),
}


def parse(value: bytes) -> dict[int, int]:
    """The permissions of each tag, of the last entry where there are several; empty if no ACL.

    Raises ValueError for what the kernel refuses.
    """
    if value[:4] != _VERSION or len(value) % _ENTRY.size != 4:
        raise ValueError("not an ACL")
    found: dict[int, int] = {}
    last = 0
    for tag, permissions, owner in _ENTRY.iter_unpack(value[4:]):
        named = tag in (_USER, _GROUP)
        if tag not in _NEXT[last] or permissions > 7 or named and owner == _NOBODY:
            raise ValueError("an ACL with a wrong entry")
        found[tag] = permissions
        last = tag
    if last not in (0, _OTHER) or _USER in found and _MASK not in found:
        raise ValueError("an ACL without an end")
    return found


def change_mode(mode: int, permissions: dict[int, int]) -> int:
    """The mode of a file that gets such an access ACL."""
    group = permissions.get(_MASK, permissions[_GROUP_OBJ])
    return mode & ~0o777 | permissions[_USER_OBJ] << 6 | group << 3 | permissions[_OTHER]


def is_minimal(permissions: dict[int, int]) -> bool:
    """Whether the mode says it all, so that no attribute is kept."""
    return permissions.keys() <= {_USER_OBJ, _GROUP_OBJ, _OTHER}
