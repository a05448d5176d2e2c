"""What the two sides of a copy say to each other.

    sending side                                        receiving side
      jubako-copy-1\\n, offer: images and layers  ───▶
                                                 ◀───    jubako-copy-1\\n, wish: layers it lacks
      archive as `save` writes it, without the
      other layers, maybe compressed             ───▶
                                                 ◀───    outcome: what was loaded

Either side may say `error` instead and end.  A message is JSON behind its length in four bytes, the
highest first.  The archive comes in pieces, each behind its length, and a length of 0 ends it: that
a stream ends is no sign, as a shell in between may keep it open, or lose it.  Which side was
started by the other does not matter.
"""

from __future__ import annotations

import json
import os

from jubako import errors
from jubako.errors import InvalidArgument, JubakoError, KernelError, Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAGIC = b"jubako-copy-1\n"
_ANY_VERSION = b"jubako-copy-"
_MAX_MESSAGE_BYTES = 16 << 20  # some 150,000 digests
_READ_BYTES = 1 << 20
_LENGTH_BYTES = 4


class Peer:
    """The other side: two descriptors, which stay the caller's, and its name for errors.

    sent_bytes: of the archive.  told: the other side knows what went wrong, so nobody needs to
    print it here.
    """

    def __init__(self, reader: int, writer: int, name: str):
        self._reader = reader
        self._writer = writer
        self.name = name
        self.sent_bytes = 0
        self.told = False
        self._heard = False
        self._piece_left = 0  # of the archive's current piece
        self._ended = False

    # --- messages --------------------------------------------------------------------------------

    def greet(self, message: dict[str, Any]) -> None:
        """Say the first message of this side."""
        self._write(MAGIC + _frame(message))

    def say(self, message: dict[str, Any]) -> None:
        """Say a later one."""
        self._write(_frame(message))

    def fail(self, error: JubakoError, *, greeting: bool) -> None:
        """Tell the other side why there is nothing more, if it still listens."""
        message = {"error": str(error), "class": type(error).__name__, "hint": error.hint}
        if self.told:
            return  # it told it itself
        try:
            (self.greet if greeting else self.say)(message)
            self.told = True
        except JubakoError:
            pass

    def hear_greeting(self) -> dict[str, Any]:
        """The other side's first message.

        Raises Unavailable (it is no jubako, or ended), Unsupported (of another version), and the
        error that it tells.
        """
        start = self._up_to(len(MAGIC))
        if start != MAGIC:
            if start.startswith(_ANY_VERSION):
                raise Unsupported(
                    f"{self.name}: its jubako has another version of `image cp`: {start!r}",
                    hint="use the same version of jubako on both sides",
                )
            if not start:
                raise self._broken()
            raise Unavailable(
                f"{self.name}: something else than jubako answers: {start!r}",
                hint="a login shell that prints something on its own is in the way",
            )
        self._heard = True
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """A later message.  Raises Unavailable, InvalidArgument, and the error that it tells."""
        size = int.from_bytes(self._exactly(_LENGTH_BYTES), "big")
        if size > _MAX_MESSAGE_BYTES:
            raise InvalidArgument(
                f"{self.name}: a message of {size} bytes, more than {_MAX_MESSAGE_BYTES}"
            )
        try:
            message = json.loads(self._exactly(size))
        except (ValueError, RecursionError) as exc:
            raise InvalidArgument(f"{self.name}: a message that is not JSON: {exc}") from exc
        if not isinstance(message, dict):
            raise InvalidArgument(f"{self.name}: a message that is not an object")
        if "error" in message:
            self.told = True
            raise _told(self.name, message)
        return message

    # --- the archive -----------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """A piece of it.  Raises Unavailable when nobody reads it any more."""
        if data:
            self._write(len(data).to_bytes(_LENGTH_BYTES, "big"))
            self._write(data)
            self.sent_bytes += len(data)

    def end(self) -> None:
        """No more pieces come."""
        self._write(bytes(_LENGTH_BYTES))

    def read(self, size: int) -> bytes:
        """Some of it, b"" at its end: so the peer is a stream for `load`.  Raises Unavailable."""
        if not self._ended and not self._piece_left:
            self._piece_left = int.from_bytes(self._exactly(_LENGTH_BYTES), "big")
            self._ended = not self._piece_left
        if self._ended:
            return b""
        data = self._some(min(size, self._piece_left))
        if not data:
            raise self._broken()
        self._piece_left -= len(data)
        return data

    # --- bytes -----------------------------------------------------------------------------------

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._writer, view) :]
        except BrokenPipeError as exc:
            raise self._broken() from exc
        except OSError as exc:
            raise KernelError.from_oserror("write to", exc, path=self.name) from exc

    def _some(self, size: int) -> bytes:
        try:
            return os.read(self._reader, min(size, _READ_BYTES))
        except ConnectionResetError:
            return b""
        except OSError as exc:
            raise KernelError.from_oserror("read from", exc, path=self.name) from exc

    def _up_to(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        parts = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _exactly(self, size: int) -> bytes:
        data = self._up_to(size)
        if len(data) < size:
            raise self._broken()
        return data

    def _broken(self) -> Unavailable:
        what = "the connection ended" if self._heard else "no jubako answers there"
        return Unavailable(f"{self.name}: {what}")


def _frame(message: dict[str, Any]) -> bytes:
    data = json.dumps(message, separators=(",", ":")).encode()
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _told(name: str, message: dict[str, Any]) -> JubakoError:
    """The error that the other side tells; its class only if it is one of a plain sentence."""
    found = getattr(errors, str(message.get("class")), JubakoError)
    plain = isinstance(found, type) and issubclass(found, JubakoError)
    if not plain or found in (errors.KernelError, errors.CleanupErrors, errors.ContainerFailed):
        found = JubakoError
    hint = message.get("hint")
    error = found(
        f"{name}: {str(message['error'])[:2000]}",
        hint=hint[:500] if isinstance(hint, str) else None,
    )
    assert isinstance(error, JubakoError)
    return error
