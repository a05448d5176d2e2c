"""How a monitor tells the command that launched it what came of the start.

One datagram of JSON: `{"pid": 4711}`, or `{"error": {...}}` with an error of ours taken apart.
"""

from __future__ import annotations

import json
import socket

from jubako import errors
from jubako.errors import JubakoError, KernelError, StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAX_BYTES = 1 << 16


def pack_error(error: BaseException) -> dict[str, Any]:
    """Any exception as JSON; one that is not ours becomes an internal error with its place."""
    if not isinstance(error, JubakoError):
        return {"class": "JubakoError", "message": f"internal error: {_place(error)}"}
    packed: dict[str, Any] = {
        "class": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "subject": error.subject,
    }
    if isinstance(error, StartError):
        packed["exit_code"] = error.exit_code
    if isinstance(error, KernelError):
        packed.update(op=error.op, errno=error.errno, path=error.path, detail=error.detail)
    return packed


def _place(error: BaseException) -> str:
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {last[0].filename}:{last[0].lineno}" if last else ""
    return f"{type(error).__name__}: {error}{where}"


def unpack_error(packed: dict[str, Any]) -> JubakoError:
    """The error that `pack_error` took apart."""
    name = packed["class"]
    hint, subject = packed.get("hint"), packed.get("subject")
    if name == "KernelError":
        kernel = KernelError(
            packed["op"], packed["errno"], path=packed["path"], detail=packed["detail"], hint=hint
        )
        kernel.message = packed["message"]
        return kernel
    if name == "StartError":
        code = packed["exit_code"]
        return StartError(packed["message"], exit_code=code, hint=hint, subject=subject)
    kind = getattr(errors, name, JubakoError)
    if not (isinstance(kind, type) and issubclass(kind, JubakoError)) or name == "CleanupErrors":
        kind = JubakoError
    return kind(packed["message"], hint=hint, subject=subject)


def send(channel: socket.socket, content: dict[str, Any]) -> None:
    """Report; a launcher that is gone does not matter."""
    try:
        channel.send(json.dumps(content).encode()[:_MAX_BYTES])
    except OSError:
        pass


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """Wait for the report; None if the monitor died without one."""
    data = channel.recv(_MAX_BYTES)
    return json.loads(data) if data else None
