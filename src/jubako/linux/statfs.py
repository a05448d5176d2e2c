"""statfs(2): which kind of file system a descriptor is on.

A path of a container proves nothing: before /proc or a terminal of the container is used, its file
system's number is compared (CVE-2025-31133, -52565, -52881).
"""

from __future__ import annotations

import ctypes

from jubako.errors import KernelError
from jubako.linux._libc import function, get_errno

CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
DEVPTS_SUPER_MAGIC = 0x1CD1
EROFS_SUPER_MAGIC = 0xE0F5E1E2
NSFS_MAGIC = 0x6E736673
OVERLAYFS_SUPER_MAGIC = 0x794C7630
PROC_SUPER_MAGIC = 0x9FA0
RAMFS_MAGIC = 0x858458F6
SYSFS_MAGIC = 0x62656572
TMPFS_MAGIC = 0x01021994

# What no program keeps files in: every file there is a view of the kernel, and opening one may do
# something.
_KERNEL_VIEWS = frozenset(
    (
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        DEVPTS_SUPER_MAGIC,
        NSFS_MAGIC,
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        0x19800202,  # mqueue
        0x42494E4D,  # binfmt_misc
        0x62656570,  # configfs
        0x64626720,  # debugfs
        0x6165676C,  # pstore
        0x73636673,  # securityfs
        0x74726163,  # tracefs
        0xCAFE4A11,  # bpf
        0xDE5E81E4,  # efivarfs
        0xF97CFF8C,  # selinuxfs
    )
)

_fstatfs = function("fstatfs", ctypes.c_int, ctypes.c_void_p)


def filesystem_type(fd: int) -> int:
    """The magic number of the file system (O_PATH will do).  Raises KernelError."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs begins with a long f_type
    if _fstatfs(fd, buffer) < 0:
        raise KernelError("fstatfs", get_errno(), path=f"fd {fd}")
    return int.from_bytes(buffer.raw[:8], "little")


def is_kernel_view(fd: int) -> bool:
    """Whether the file system holds no files but views of the kernel: /proc, /sys and their kin."""
    return filesystem_type(fd) in _KERNEL_VIEWS
