"""The attach socket of a monitor, where clients find it."""

from __future__ import annotations

import os
import socket

NAME = "attach.sock"


def listen(directory: str) -> socket.socket:
    """A socket in `directory`, which is made if missing; it takes the place of an older one."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = f"{directory}/{NAME}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(64)
    return listener
