"""start.sock: where a container's init waits for `start` (see `jubako.runtime.channel`)."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with _short(path) as short:
            listener.bind(short)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise KernelError.from_oserror("bind", error, path=path) from error
    return listener


def connect(path: str) -> socket.socket | None:
    """A connection to a waiting init; None when nobody waits (any more)."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        with _short(path) as short:
            connection.connect(short)
        return connection
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            return None
        raise KernelError.from_oserror("connect", error, path=path) from error


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """The same socket under a name of less than 108 bytes, all that sockaddr_un holds."""
    if len(os.fsencode(path)) < 108:
        yield path
        return
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
