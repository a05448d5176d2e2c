"""What a registry answers when it does not do what was asked, as one of our errors.

The body is `{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "...", "detail": ...}]}`
(distribution-spec, Error Codes).  Texts are Docker's, which programs read: `manifest for x:1 not
found: manifest unknown: manifest unknown`, `pull access denied for x, repository does not exist or
may require 'docker login': denied: ...`.
"""

from __future__ import annotations

from http import HTTPStatus

from jubako.errors import (
    Conflict,
    InvalidArgument,
    JubakoError,
    NotFound,
    PermissionDenied,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from jubako.registry import error_body
from jubako.registry.failures import TransportFailure
from jubako.registry.headers import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.registry.transport import Reply

_MAX_BODY = 64 << 10  # bytes
_MAX_TEXT = 400  # characters of it that are shown
# What the codes mean where there was no body: a HEAD has none.
_SILENT = {
    401: "unauthorized: authentication required",
    403: "denied: requested access to the resource is denied",
    404: "not found",
    429: "toomanyrequests: too many requests",
}
_LIMITED = "the registry limits how often it is asked: log in, wait, or name a mirror of it"
_CLASSES: dict[int, type[JubakoError]] = {
    400: InvalidArgument,
    404: NotFound,
    405: Unsupported,
    409: Conflict,
    413: InvalidArgument,
    415: Unsupported,
    422: InvalidArgument,
}


class Refusal:
    """Why: code is `MANIFEST_UNKNOWN` or empty, text is fit to be shown, in one line."""

    __slots__ = ("code", "text")

    def __init__(self, code: str, text: str):
        self.code = code
        self.text = text


def read(reply: Reply) -> Refusal:
    """What the body of a refusal says; reads the body and closes the reply."""
    try:
        body = reply.read(_MAX_BODY)
    except (TransportFailure, Unavailable):
        body = b""
    finally:
        reply.close()
    code, message = error_body.parse(body)
    for secret in reply.secrets:
        message = message.replace(secret, "***")
    message = printable(message, _MAX_TEXT)
    words = code.lower().replace("_", " ")
    text = ": ".join(part for part in (words, message) if part)
    return Refusal(code, text or _of_status(reply.status))


def _of_status(status: int) -> str:
    if status in _SILENT:
        return _SILENT[status]
    return f"status {status_line(status)}"


def status_line(status: int) -> str:
    """`401 Unauthorized`, or only the number of an unknown one."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def error(reply: Reply, action: str, name: str, domain: str, *, missing: str = "") -> JubakoError:
    """The error for a reply that is a refusal; closes it.

    action: `pull`, `push`.  name: the repository as people write it.  missing: what is not there
    if the answer is 404, `manifest for x:1`.
    """
    refusal = read(reply)
    status = reply.status
    if status in (401, 403):
        kind = Unauthorized if status == 401 else PermissionDenied
        text = refusal.text
        if action == "pull":  # the one case that Docker explains
            text = (
                f"pull access denied for {name}, repository does not exist or may require "
                f"'docker login': {text}"
            )
        return kind(
            text,
            hint=f"log in with `jubako login{'' if domain == 'docker.io' else f' {domain}'}`",
            subject=name,
        )
    if status == 404:
        if refusal.code == "NAME_UNKNOWN":
            missing = f"repository {name}"
        return NotFound(f"{missing or name} not found: {refusal.text}", subject=name)
    return _CLASSES.get(status, Unavailable)(f"{action} {name}: {refusal.text}", subject=name)


class Busy(Exception):
    """An answer that says: later.

    error: what it means if there is no later.  retry_after: the header, or "".
    """

    def __init__(self, error: Unavailable, retry_after: str):
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


def busy(reply: Reply, what: str) -> Busy:
    """For an answer 429 or 5xx to `what`; closes it."""
    retry_after = reply.header("Retry-After")
    hint = None
    if reply.status == 429:
        hint = _LIMITED
        if retry_after:
            hint += f"; it says: Retry-After: {printable(retry_after, 40)}"
    return Busy(Unavailable(f"{what}: {read(reply).text}", hint=hint), retry_after)
