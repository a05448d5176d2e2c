"""Being asked before a file's content is read: fanotify(7), pre-content events (kernel 6.14).

Whoever reads a marked file waits until each event was answered: meanwhile the content can be put in
its place.  The mark has to be there before the reader opens the file, also where the reader is a
file system that has its data in it.  When the last descriptor of a group is closed all that wait
go on as if they had been allowed to.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

from jubako.errors import KernelError
from jubako.linux._libc import check, encode, function
from jubako.linux.shell import quote
from jubako.linux.trace import traced

FAN_CLOEXEC = 0x1
FAN_NONBLOCK = 0x2
FAN_CLASS_PRE_CONTENT = 0x8
FAN_UNLIMITED_QUEUE = 0x10
FAN_MARK_ADD = 0x1
FAN_MARK_REMOVE = 0x2
FAN_PRE_ACCESS = 0x00100000
FAN_Q_OVERFLOW = 0x00004000
FAN_NOFD = -1

_ALLOW, _DENY = 0x1, 0x2
_ERRNO_SHIFT = 24
_INFO_RANGE = 6

_METADATA = struct.Struct("=IBBHQii")  # bytes, version, 0, bytes of this, mask, descriptor, PID
_INFO = struct.Struct("=BBH")  # type, 0, bytes
_RANGE = struct.Struct("=IQQ")  # 0, offset, count
_RESPONSE = struct.Struct("=iI")
_READ_BYTES = 1 << 10  # some twenty events: each has a descriptor

_init = function("fanotify_init", ctypes.c_uint, ctypes.c_uint)
_mark = function(
    "fanotify_mark", ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p
)


class Event(NamedTuple):
    """Somebody wants to read `size` bytes from `offset` on, and waits for `respond`.

    fd: the file, open for reading and writing; what is done with it raises no events.  It belongs
    to who reads the event, and its number is the event's name.
    """

    fd: int
    offset: int
    size: int


def fanotify_init(*, why: str = "") -> int:
    """A group for pre-content events, whose descriptor does not block.  Raises KernelError."""
    flags = FAN_CLASS_PRE_CONTENT | FAN_UNLIMITED_QUEUE | FAN_CLOEXEC | FAN_NONBLOCK
    opened = os.O_RDWR | os.O_CLOEXEC
    return check(_init(flags, opened), "fanotify_init")


@traced(
    lambda fd, path, *, remove=False, why="": (
        f"# fanotify_mark(2): {'no event' if remove else 'an event'} before {quote(path)} is read"
    ),
    facts=lambda fd, path, *, remove=False, why="": {"target": path, "remove": remove},
)
def fanotify_mark(fd: int, path: str, *, remove: bool = False, why: str = "") -> None:
    """Have an event before each read of a file, or no more.

    Raises KernelError: EINVAL (the kernel is older than 6.14), EOPNOTSUPP (not on this file
    system).
    """
    how = FAN_MARK_REMOVE if remove else FAN_MARK_ADD
    check(_mark(fd, how, FAN_PRE_ACCESS, -100, encode(path)), "fanotify_mark", path=path)


def read_events(fd: int) -> list[Event]:
    """What is waiting, maybe nothing.  Raises KernelError."""
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return []
    except OSError as exc:
        raise KernelError.from_oserror("read", exc, path="fanotify") from exc
    found = []
    at = 0
    while at + _METADATA.size <= len(data):
        size, _, _, head, mask, event_fd, _ = _METADATA.unpack_from(data, at)
        if event_fd >= 0:
            if mask & FAN_PRE_ACCESS:
                found.append(Event(event_fd, *_range(data[at + head : at + size])))
            else:
                os.close(event_fd)
        at += size
    return found


def _range(info: bytes) -> tuple[int, int]:
    """The bytes that are wanted; without a word on that: all."""
    at = 0
    while at + _INFO.size <= len(info):
        kind, _, size = _INFO.unpack_from(info, at)
        if kind == _INFO_RANGE:
            _, offset, count = _RANGE.unpack_from(info, at + _INFO.size)
            return offset, count
        at += max(size, _INFO.size)
    return 0, 1 << 62


def respond(fd: int, event: int, error: int = 0) -> None:
    """Let the reader of an event go on, or fail with the errno `error` (EIO, ENOSPC, EPERM, ...).

    event: `Event.fd`, still open or not: for the kernel it is but a number, so that also another
    process that has the group may answer.  Raises KernelError (ENOENT: nobody waits any more).
    """
    response = _DENY | error << _ERRNO_SHIFT if error else _ALLOW
    try:
        os.write(fd, _RESPONSE.pack(event, response))
    except OSError as exc:
        raise KernelError.from_oserror("respond", exc, path="fanotify") from exc
