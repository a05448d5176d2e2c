"""Being told that a file changed: inotify(7)."""

from __future__ import annotations

import ctypes
import os
import select

from jubako.errors import KernelError
from jubako.linux._libc import check, encode, function

IN_MODIFY = 0x00000002
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_CLOEXEC = os.O_CLOEXEC
IN_NONBLOCK = os.O_NONBLOCK

_init1 = function("inotify_init1", ctypes.c_int)
_add_watch = function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)

_READ_BYTES = 1 << 16


def init() -> int:
    """A descriptor that does not block.  Raises KernelError (EMFILE: max_user_instances)."""
    return check(_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1")


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file, or a directory and what is directly in it; returns the watch's number.

    Raises KernelError (ENOENT, ENOSPC: max_user_watches).
    """
    return check(_add_watch(fd, encode(path), mask), "inotify_add_watch", path=path)


def wait(fd: int, timeout_s: float | None) -> bool:
    """Until something happened, then forget what it was; False when nothing did in time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000 + 0.5))):
        return False
    try:
        while len(os.read(fd, _READ_BYTES)) == _READ_BYTES:
            pass
    except BlockingIOError:
        pass
    except OSError as exc:
        raise KernelError.from_oserror("read", exc, path="inotify") from exc
    return True
