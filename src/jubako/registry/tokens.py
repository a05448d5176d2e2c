"""Bearer tokens: asking a token server, and reading what it says.

Two ways, both of Docker's registry (distribution: docs/spec/auth):

    GET  realm?service=S&scope=A&scope=B[&account=NAME][&offline_token=true]     Basic or anonymous
    POST realm   grant_type=refresh_token&refresh_token=T&service=S&scope=A B    an identity token
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from jubako.errors import InvalidArgument, Unauthorized, Unavailable
from jubako.registry import error_body
from jubako.registry.credentials import encode_pair
from jubako.registry.headers import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.registry.credentials import Login

MAX_ANSWER = 1 << 20  # bytes; a token is some 2 KiB
_MAX_TOKEN = 64 << 10  # characters; servers refuse headers of less
_CLIENT_ID = "jubako"
_FORM = "application/x-www-form-urlencoded"
_LIFE_S = 60.0  # of a token that does not say: the specification's default, and its least
_MAX_LIFE_S = 10 * 365 * 86400.0
_SPENT = 0.8  # a token is renewed after this part of its life: the request has to arrive, too
_MAX_REASON = 300  # characters of what a server says that are repeated in an error
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")  # what may stand in a header


class Answer(NamedTuple):
    """A reply of a token server."""

    status: int
    body: bytes


class Request(Protocol):
    """How a token server is reached; the transport gives it.

    limit: bytes of the answer.  secrets: what no error and no report of a retry may repeat.
    It must follow no redirect, and raise Unavailable when no answer comes, or a larger one.
    """

    def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        secrets: tuple[str, ...],
    ) -> Answer: ...


class Token(NamedTuple):
    """A token and the time (of the clock given to `fetch`) from which it is to be replaced.

    identity: what the server gave to be used instead of the password; "" if it gave none.
    """

    text: str
    renew_at: float
    identity: str = ""

    def __repr__(self) -> str:
        return f"Token(renew_at={self.renew_at})"


def fetch(
    request: Request,
    realm: str,
    service: str,
    scopes: tuple[str, ...],
    login: Login | None,
    *,
    now: float,
    offline: bool = False,
) -> Token:
    """Ask the server `realm` (a checked URL) for a token.

    login: its identity token is sent by POST, its name and password by GET; None asks as anybody.
    offline: ask for an identity token as well.  now: seconds since 1970.
    Raises Unauthorized (refused), Unavailable (no answer, or none that makes sense).  No error
    repeats a secret.
    """
    secrets = login.secrets() if login is not None else ()
    if login is not None and login.identity_token:
        method, url, headers = "POST", realm, {"Content-Type": _FORM}
        body = _form(service, scopes, login.identity_token)
    else:
        method, url, body = "GET", _url(realm, service, scopes, login, offline), None
        headers = {"Authorization": basic(login)} if login is not None and login.username else {}
    answer = request(method, url, headers, body, limit=MAX_ANSWER, secrets=secrets)
    where = f"token server {realm_name(realm)}"
    if not 200 <= answer.status < 300:
        raise _refusal(where, answer, known=bool(login), secrets=secrets)
    return _read(where, answer.body, now)


def basic(login: Login) -> str:
    """The value of `Authorization` for a name and a password (RFC 7617, UTF-8)."""
    if ":" in login.username:
        raise InvalidArgument("a user name for a registry cannot contain a colon")
    return f"Basic {encode_pair(login.username, login.password)}"


def realm_name(realm: str) -> str:
    """A realm as errors name it: no query and no user."""
    parts = urlsplit(realm)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]


def _url(
    realm: str, service: str, scopes: tuple[str, ...], login: Login | None, offline: bool
) -> str:
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    if login is not None and login.username:
        query.append(("account", login.username))
        if offline:
            query += [("client_id", _CLIENT_ID), ("offline_token", "true")]
    separator = "&" if urlsplit(realm).query else "?"
    return f"{realm}{separator}{urlencode(query, errors='surrogateescape')}" if query else realm


def _form(service: str, scopes: tuple[str, ...], identity_token: str) -> bytes:
    form = {
        "grant_type": "refresh_token",
        "refresh_token": identity_token,
        "service": service,
        "client_id": _CLIENT_ID,
        "scope": " ".join(scopes),
    }
    return urlencode({name: value for name, value in form.items() if value}).encode()


def _refusal(
    where: str, answer: Answer, *, known: bool, secrets: tuple[str, ...]
) -> Unauthorized | Unavailable:
    status = answer.status
    if 300 <= status < 400:
        return Unavailable(f"{where}: it answers with a redirect, which is not followed")
    _, text = error_body.parse(answer.body)
    for secret in secrets:
        text = text.replace(secret, "***")
    text = printable(text, _MAX_REASON)
    reason = f": {text}" if text else ""
    if status in (400, 401, 403):
        what = "the credentials were refused" if known else "it gives no token without a login"
        return Unauthorized(f"{where}: {what}{reason}")
    return Unavailable(f"{where}: status {status}{reason}")


def _read(where: str, body: bytes, now: float) -> Token:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise Unavailable(f"{where}: its answer is not JSON") from None
    if not isinstance(answer, dict):
        raise Unavailable(f"{where}: its answer is not a JSON object")
    text = answer.get("token") or answer.get("access_token")
    if not is_token(text):
        raise Unavailable(f"{where}: its answer holds no token")
    identity = answer.get("refresh_token")
    return Token(str(text), _renewal(answer, now), str(identity) if is_token(identity) else "")


def is_token(value: object) -> bool:
    """Whether `value` can be sent as a token; a line feed in it would begin another header."""
    return (
        isinstance(value, str)
        and len(value) <= _MAX_TOKEN
        and _TOKEN_TEXT.fullmatch(value) is not None
    )


def _renewal(answer: Mapping[str, Any], now: float) -> float:
    life = answer.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, int | float):
        life = _LIFE_S
    life = min(max(float(life), _LIFE_S), _MAX_LIFE_S)
    issued = _instant(answer.get("issued_at"))
    if issued is None or not now - life <= issued <= now:
        issued = now  # none said, or the clocks differ
    return issued + life * _SPENT


def _instant(text: object) -> float | None:
    """RFC 3339, with any number of digits for the fraction, as seconds since 1970."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.strip())
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.timestamp() if parsed.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
