"""What a layer's archive may ask for, whichever driver stores it."""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument
from jubako.images.layers import whiteout
from jubako.images.layers.paths import clean
from jubako.images.tar import CHARACTER, DIRECTORY, FIFO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images.tar import Entry

ROOT_MARK = "root"  # beside the layer's tree: the archive has an entry for the root directory
OPAQUE_MARK = "opaque"  # beside it too: no layer below this one shows

_MAX_ID = (1 << 32) - 2  # the next one means "leave it" to chown(2)


def check_root(entry: Entry) -> None:
    """Raise InvalidArgument unless an entry for the root is a directory."""
    if entry.kind != DIRECTORY:
        raise InvalidArgument(f"{entry.name!r}: the root of an archive is a directory")


def check_owner(entry: Entry, path: bytes) -> None:
    """Raise InvalidArgument if no file can have this owner."""
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise InvalidArgument(
            f"{os.fsdecode(path)!r}: owner {entry.uid}:{entry.gid} is out of range"
        )


def check_device(entry: Entry) -> None:
    """Raise InvalidArgument for a device that cannot be, or that is overlayfs's whiteout."""
    if entry.kind == FIFO:
        return
    name = os.fsdecode(entry.name)
    if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
        raise InvalidArgument(f"{name!r}: no such device number")
    if entry.kind == CHARACTER and not entry.major and not entry.minor:
        raise InvalidArgument(f"{name!r}: character device 0/0 would hide a file")


def hard_link_target(entry: Entry, path: bytes) -> bytes:
    """The clean path that a hard link names; raises InvalidArgument if it is none of a file."""
    target = clean(entry.link, entry.name)
    if not target or target.rpartition(b"/")[2].startswith(whiteout.PREFIX):
        raise invalid_hard_link(entry, path)
    return target


def invalid_hard_link(entry: Entry, path: bytes, reason: str = "") -> InvalidArgument:
    """The error for a hard link that cannot be made."""
    message = f"invalid hard link {os.fsdecode(path)!r} -> {os.fsdecode(entry.link)!r}"
    return InvalidArgument(f"{message}: {reason}" if reason else message)
