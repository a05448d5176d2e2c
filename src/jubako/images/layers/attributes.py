"""Extended attributes of what a layer brings."""

from __future__ import annotations

import errno
import os

from jubako.errors import InvalidArgument, KernelError
from jubako.images.layers.whiteout import CONTROL_XATTRS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.images.tar import Entry

# Not the image's business: labels are the host's policy, and overlayfs obeys the others.
IGNORED = (b"security.selinux", *CONTROL_XATTRS)


def wanted(entry: Entry) -> Iterator[tuple[bytes, bytes]]:
    """The entry's attributes that are the image's business.

    Raises InvalidArgument for a name that no attribute can have.
    """
    for key, value in entry.xattrs.items():
        if b"\0" in key:
            raise InvalidArgument(f"{os.fsdecode(entry.name)!r}: attribute with a zero byte")
        if not key.startswith(IGNORED):
            yield key, value


def set_xattrs(where: int | bytes, entry: Entry) -> None:
    """Set the entry's attributes on a descriptor, or on a path whose last link is not followed.

    What the file system cannot hold or this kind of file may not have is left out, as in Docker.
    """
    for key, value in wanted(entry):
        try:
            if isinstance(where, int):
                os.setxattr(where, key, value)
            else:
                os.setxattr(where, key, value, follow_symlinks=False)
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EPERM):
                raise KernelError(
                    "set attribute",
                    exc.errno or 0,
                    path=os.fsdecode(entry.name),
                    detail=os.fsdecode(key),
                ) from exc


def get_xattrs(where: int | bytes) -> dict[bytes, bytes]:
    """The attributes that belong into a layer; none where there cannot be any."""
    links = {} if isinstance(where, int) else {"follow_symlinks": False}
    try:
        return {
            os.fsencode(name): os.getxattr(where, name, **links)
            for name in os.listxattr(where, **links)
            if not os.fsencode(name).startswith(IGNORED)
        }
    except OSError:
        return {}  # a file system without attributes, or the file is gone


def drop_default_acl(path: str) -> None:
    """Without it the modes of new files are those that they are given."""
    try:
        os.removexattr(path, "system.posix_acl_default")
    except OSError as exc:
        if exc.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
