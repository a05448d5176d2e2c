"""Space that is kept for the moment when the disk is full.

On a full disk the user has to remove something, and containers go on ending; both must write to
the database, which needs some blocks before it even opens (its index of the log).  A file of one
megabyte holds them, and is deleted when they are needed.  The next command that finds enough space
makes it anew.
"""

from __future__ import annotations

import os

BYTES = 1 << 20
_PLENTY_BYTES = 8 * BYTES  # so much must be free for the file to be made
_SCARCE_BYTES = BYTES // 2  # with less the file is given up


def keep(root: str) -> None:
    """Make the file if it is missing and there is plenty of space; failures do not matter."""
    path = f"{root}/reserve"
    if os.path.exists(path) or free_bytes(root) < _PLENTY_BYTES:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.posix_fallocate(fd, 0, BYTES)
    except OSError:  # a file system that cannot, or another writer was faster
        pass
    finally:
        os.close(fd)


def give_up(root: str) -> None:
    """Delete the file if space is scarce; failures do not matter."""
    if free_bytes(root) >= _SCARCE_BYTES:
        return
    try:
        os.unlink(f"{root}/reserve")
    except OSError:
        pass


def free_bytes(root: str) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize


def is_read_only(root: str) -> bool:
    return bool(os.statvfs(root).f_flag & os.ST_RDONLY)
