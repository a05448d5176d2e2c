"""Messages between the process that creates a container and the container's init.

Every message is one datagram of JSON over a SOCK_SEQPACKET pair, with descriptors beside it.
End of file is a case of its own: the other side has gone, on success because exec closed its end.

    create                                 init (a fork of it)
      │ ──────────────── fork ──────────────▶ │
      │ ◀──────── {"kind": "map"} ─────────── │  only with a new user namespace: write my maps
      │ ───────── {"kind": "go"} ───────────▶ │
      │ ◀──────── {"kind": "hooks"} ───────── │  only with hooks: everything is mounted, the root
      │ ───────── {"kind": "go"} ───────────▶ │  is still the host's
      │ ◀──────── {"kind": "console"} + fd ── │  only with a terminal: the pty's master
      │ ◀──────── {"kind": "ready"} ───────── │  and init listens on start.sock
      ╎ or ◀───── {"kind": "failed", …} ───── │  at any point; init ends

    start                                  init
      │ ──────── connect to start.sock ─────▶ │
      │ ───────── {"kind": "start"} ────────▶ │
      │ ◀─────── {"kind": "executing"} ────── │  with the path, for the words of a failure
      │ ◀─────── end of file ──────────────── │  the program runs: its exec closed the socket
      ╎ or ◀───── {"kind": "failed", …} ───── │  init could not get as far as exec
      ╎ or ◀───── four bytes, little endian ─ │  the trampoline's errno from execve

`exec` speaks the first half without "hooks", and ends like the second.
"""

from __future__ import annotations

import array
import json
import socket

from jubako.errors import (
    InvalidArgument,
    JubakoError,
    KernelError,
    PermissionDenied,
    StartError,
    Unsupported,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAX_MESSAGE_BYTES = 64 << 10  # a failure carries one path and a few words
MAX_DESCRIPTORS = 8

_CLASSES: dict[str, type[JubakoError]] = {
    kind.__name__: kind for kind in (InvalidArgument, PermissionDenied, Unsupported, JubakoError)
}


class Errno(Exception):
    """The trampoline's four bytes: execve failed after everything of ours had ended."""

    def __init__(self, number: int):
        super().__init__(number)
        self.errno = number


class Channel:
    """One end.  `receive` returns None at end of file and raises what the other side raised."""

    __slots__ = ("_socket",)

    def __init__(self, end: socket.socket):
        self._socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends, both close-on-exec."""
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(two)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, kind: str, *, descriptors: Sequence[int] = (), **fields: object) -> None:
        """Send one message; raises KernelError, also when the other side has gone (EPIPE)."""
        self._send({"kind": kind, **fields}, descriptors)

    def _send(self, message: dict[str, object], descriptors: Sequence[int]) -> None:
        data = json.dumps(message).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            self._socket.sendmsg([data], rights if descriptors else [], socket.MSG_NOSIGNAL)
        except OSError as error:
            raise KernelError.from_oserror(f"send {message['kind']}", error) from error

    def send_error(self, error: Exception) -> None:
        """Tell the other side what failed, in a form that `receive` can raise again."""
        fields: dict[str, object] = {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, KernelError):
            fields |= {"op": error.op, "errno": error.errno}
            fields |= {"path": error.path, "detail": error.detail}
        elif isinstance(error, OSError):
            path = error.filename
            fields |= {"error": "KernelError", "op": "system call", "errno": error.errno or 0}
            fields |= {"path": None if path is None else str(path), "detail": None}
        elif isinstance(error, StartError):
            fields |= {"exit_code": error.exit_code}
        if isinstance(error, JubakoError):
            fields |= {"hint": error.hint, "subject": error.subject}
        self._send({"kind": "failed", **fields}, ())

    def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and the descriptors beside it (ours to close), or None at the end.

        Raises the error that the other side sent, and Errno for the trampoline's.
        """
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, ancillary, _flags, _address = self._socket.recvmsg(
                MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None  # init died with a message of ours unread
        except OSError as error:
            raise KernelError.from_oserror("receive from init", error) from error
        descriptors = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(payload[: len(payload) - len(payload) % 4])
        if not data:
            return None
        if len(data) == 4:
            raise Errno(int.from_bytes(data, "little"))
        message: dict[str, Any] = json.loads(data)
        if message.get("kind") == "failed":
            raise _error(message)
        return message, list(descriptors)


def _error(message: dict[str, Any]) -> JubakoError:
    name, text = message["error"], message["message"]
    hint, subject = message.get("hint"), message.get("subject")
    if name == "KernelError":
        return KernelError(
            message["op"],
            message["errno"],
            path=message["path"],
            detail=message["detail"],
            hint=hint,
        )
    if name == "StartError":
        return StartError(text, exit_code=message["exit_code"], hint=hint, subject=subject)
    known = _CLASSES.get(name)
    if known is None:
        return JubakoError(f"{name}: {text}")
    return known(text, hint=hint, subject=subject)
