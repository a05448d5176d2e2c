"""EROFS: a read-only file system in a file, mounted without a loop device (kernel 6.12 and later).

An image may keep its files' content in another file, a device in EROFS's words, and have only the
metadata itself: `index` and `tar` are the two halves of one tree.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux import mountapi
from jubako.linux.shell import quote
from jubako.linux.trace import traced

OP = "mount EROFS image"  # of `mount`, in its errors
# What the kernel lacks, if it is not the files' file system that lacks it: it answers both alike.
LACKS = {
    errno.ENOTBLK: "this kernel mounts EROFS from block devices alone; Linux 6.12 does from files",
    errno.EOPNOTSUPP: "this kernel's EROFS lacks what the image uses",
}
_OR = ", or the files are on a file system from which it does not read them"
# What a kernel that cannot mount such an image says.
MEANINGS = {
    errno.ENODEV: "this kernel has no EROFS",
    **{number: text + _OR for number, text in LACKS.items()},
    errno.EUCLEAN: "the image is damaged",
    errno.EINVAL: "no EROFS image, or one that this kernel does not understand",
}


def _words(index: str, device: str) -> str:
    return f"mount -t erofs -o {quote(f'ro,device={device}')} {quote(index)}"


@traced(
    lambda index, device, *, why="": (
        f"# fsmount(2) of the EROFS image {quote(index)}, in no place yet"
    ),
    op="erofs",
    facts=lambda index, device, *, why="": {"index": index, "device": device},
)
def mount(index: str, device: str, *, why: str = "") -> int:
    """A detached mount of an image whose metadata is the file `index` and content is in `device`.

    The descriptor belongs to the caller.  Each call makes a superblock, with a page cache of its
    own.  Raises KernelError with the kernel's reason, in words for what is to be expected.
    """
    opened: list[int] = []
    fs_fd = -1
    try:
        fs_fd = mountapi.fsopen("erofs")
        mountapi.fsconfig_set_path(fs_fd, "source", index, opened)
        mountapi.fsconfig_set_path(fs_fd, "device", device, opened)
        mountapi.fsconfig_set_flag(fs_fd, "ro")
        mountapi.fsconfig_create(fs_fd, index)
        fd = mountapi.fsmount(fs_fd, mountapi.MOUNT_ATTR_RDONLY, index)
    except KernelError as error:
        number = error.errno or 0
        meaning = MEANINGS.get(number, "")
        detail = "; ".join(part for part in (error.detail, meaning) if part)
        raise KernelError(OP, number, path=index, detail=detail) from error
    finally:
        for descriptor in (fs_fd, *opened):
            if descriptor >= 0:
                os.close(descriptor)
    return mountapi.remember(fd, _words(index, device))
