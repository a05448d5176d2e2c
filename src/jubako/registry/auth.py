"""Authentication at registries: answers their challenges, keeps tokens, guards credentials.

For every request the client makes an `Attempt`:

    attempt = authorizer.attempt("https://registry-1.docker.io", "docker.io", (pull_scope(path),))
    reply = send(headers | attempt.headers())
    while reply.status == 401 and attempt.challenged(reply.www_authenticate):
        reply = send(headers | attempt.headers())
    # a 401 that is left is the registry's last word: Unauthorized

What keeps credentials where they belong:

- They are looked up by `domain`, the name of the registry in references; a mirror has its own.
- The headers are for `origin` alone.  A client that follows a redirect to another origin asks
  nobody for headers and sends none.
- A token server of another host is asked (Docker Hub's is auth.docker.io), but an https registry
  never leads to an http one, and a registry on loopback never to an http one elsewhere.
- Tokens are kept by origin too, so that a registry which names the token server of another
  registry does not get the other's tokens.
"""

from __future__ import annotations

import threading
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from jubako.errors import Unauthorized
from jubako.registry import challenges, tokens
from jubako.registry.hosts import DOCKER_DOMAIN, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jubako.registry.challenges import Challenge
    from jubako.registry.credentials import CredentialSource, Login
    from jubako.registry.tokens import Request, Token

MAX_CHALLENGES = 3  # of one request: unknown yet, an old token, a scope that was not foreseen
_MAX_REALM = 2048  # characters
CATALOG_SCOPE = "registry:catalog:*"


def pull_scope(path: str) -> str:
    """What reading the repository `path` (`library/busybox`) needs."""
    return f"repository:{path}:pull"


def push_scope(path: str) -> str:
    """What writing to the repository `path` needs."""
    return f"repository:{path}:pull,push"


def union(scopes: Iterable[str]) -> tuple[str, ...]:
    """Each resource once, in the order of first mention, with all actions asked for it.

    `repository:a:pull`, `repository:a:push,pull` are `repository:a:pull,push`; what has not the
    form of a scope stays as it is.
    """
    found: dict[str, list[str]] = {}
    for scope in scopes:
        resource, colon, actions = scope.rpartition(":")
        wanted = found.setdefault(resource if colon else scope, [])
        wanted += [action for action in actions.split(",") if colon and action not in wanted]
    return tuple(
        f"{name}:{','.join(sorted(some))}" if some else name for name, some in found.items()
    )


class _Demand(NamedTuple):
    """What an origin asked for: its scheme, and with Bearer where tokens come from."""

    bearer: bool
    realm: str = ""
    service: str = ""


class Authorizer:
    """The credentials and tokens of one client; safe for threads.

    request: how token servers are reached.  credentials: asked once for each domain.
    offline: ask for identity tokens, as a login does.  clock: seconds since 1970.
    """

    def __init__(
        self,
        request: Request,
        credentials: CredentialSource,
        *,
        offline: bool = False,
        clock: Callable[[], float] = time.time,
    ):
        self._request = request
        self._credentials = credentials
        self._offline = offline
        self._clock = clock
        self._lock = threading.RLock()  # so that all layers of a pull wait for one token
        self._logins: dict[str, Login | None] = {}
        self._demands: dict[str, _Demand] = {}
        self._tokens: dict[tuple[str, _Demand, tuple[str, ...]], Token] = {}
        self._identity: dict[str, str] = {}

    def attempt(self, origin: str, domain: str, scopes: Iterable[str] = ()) -> Attempt:
        """A request to be made to `origin` (`scheme://host[:port]`).

        domain: whose credentials it may get, `docker.io`.  scopes: what a token must allow;
        several for a mount from another repository.
        """
        return Attempt(self, origin, domain, union(scopes))

    def identity_token(self, domain: str) -> str:
        """The identity token that the token server of `domain` gave so far, or ""."""
        return self._identity.get(domain, "")

    def login(self, domain: str) -> Login | None:
        """The credentials for `domain`; asked for once."""
        with self._lock:
            if domain not in self._logins:
                self._logins[domain] = self._credentials.get(domain)
            return self._logins[domain]

    # --- for Attempt -----------------------------------------------------------------------------

    def demand(self, origin: str) -> _Demand | None:
        """What `origin` asked for last."""
        return self._demands.get(origin)

    def learn(self, origin: str, demand: _Demand) -> None:
        """Remember what `origin` asks for, so that later requests need no challenge."""
        self._demands[origin] = demand

    def token(
        self, origin: str, domain: str, demand: _Demand, scopes: tuple[str, ...]
    ) -> tuple[Token, bool]:
        """A token that is not about to expire, and whether it was fetched just now."""
        key = (origin, demand, scopes)
        with self._lock:
            kept = self._tokens.get(key)
            if kept is not None and self._clock() < kept.renew_at:
                return kept, False
            fetched = self._fetch(domain, demand, scopes)
            self._tokens[key] = fetched
            return fetched, True

    def forget(self, text: str) -> None:
        """Drop a token that was refused; one that another thread got meanwhile stays."""
        with self._lock:
            for key in [key for key, token in self._tokens.items() if token.text == text]:
                del self._tokens[key]

    def _fetch(self, domain: str, demand: _Demand, scopes: tuple[str, ...]) -> Token:
        login = self.login(domain)
        if login is not None and login.registry_token:
            return tokens.Token(login.registry_token, float("inf"))
        try:
            token = tokens.fetch(
                self._request,
                demand.realm,
                demand.service,
                scopes,
                login,
                now=self._clock(),
                offline=self._offline,
            )
        except Unauthorized as exc:
            if not self._offline:
                server = "" if domain == DOCKER_DOMAIN else f" {domain}"
                exc.hint = f"log in{' again' if login else ''} with `jubako login{server}`"
            raise
        if token.identity:
            self._identity[domain] = token.identity
        return token


class Attempt:
    """One request on its way through the challenges; for one thread."""

    def __init__(self, authorizer: Authorizer, origin: str, domain: str, scopes: tuple[str, ...]):
        self._authorizer = authorizer
        self._origin = origin
        self._domain = domain
        self._scopes = scopes
        self._demand = authorizer.demand(origin)
        self._count = 0
        self._basic_sent = False
        self._sent = ""  # the token that the last headers had
        self._fresh = False  # it was fetched for them

    def headers(self) -> dict[str, str]:
        """What the next request to the origin gets: `Authorization`, or nothing.

        May ask a token server.  Raises Unauthorized, Unavailable.
        """
        self._sent = ""
        if self._demand is None:
            return {}
        if self._demand.bearer:
            token, self._fresh = self._authorizer.token(
                self._origin, self._domain, self._demand, self._scopes
            )
            self._sent = token.text
            return {"Authorization": f"Bearer {token.text}"}
        login = self._authorizer.login(self._domain)
        if login is None or not login.username:
            return {}
        self._basic_sent = True
        return {"Authorization": tokens.basic(login)}

    def challenged(self, headers: Sequence[str]) -> bool:
        """Take in a 401 with its `WWW-Authenticate` headers.

        True: the request may be sent again, with `headers()`.  False: there is nothing left to
        try; the registry's answer stands.  At most three times True.
        Raises Unauthorized for a challenge that cannot be answered safely or at all.
        """
        self._count += 1
        if self._count > MAX_CHALLENGES:
            return False
        asked = challenges.parse(headers)
        bearer = next((one for one in asked if one.scheme == "bearer" and one.realm), None)
        if bearer is not None:
            return self._bearer(bearer)
        if any(one.scheme == "basic" for one in asked):
            return self._basic()
        if asked:
            raise self._unanswerable({one.scheme[:40] for one in asked})
        return False

    def _unanswerable(self, schemes: set[str]) -> Unauthorized:
        if "bearer" in schemes:
            reason = "it asks for a token and names no server that gives one"
        else:
            names = ", ".join(sorted(schemes))
            reason = f"it asks for authentication by {names}; Basic and Bearer are supported"
        return Unauthorized(f"registry {self._domain}: {reason}", subject=self._domain)

    def _basic(self) -> bool:
        login = self._authorizer.login(self._domain)
        if self._basic_sent or login is None or not login.username:
            return False
        self._adopt(_Demand(bearer=False))
        return True

    def _bearer(self, challenge: Challenge) -> bool:
        demand = _Demand(True, check_realm(challenge.realm, self._origin), challenge.service)
        scopes = union((*self._scopes, *challenge.scopes))
        if self._sent:
            self._authorizer.forget(self._sent)
            if self._fresh and scopes == self._scopes and demand == self._demand:
                return False  # a token made for just this was refused
        self._scopes = scopes
        self._adopt(demand)
        return True

    def _adopt(self, demand: _Demand) -> None:
        self._demand = demand
        self._authorizer.learn(self._origin, demand)


def check_realm(realm: str, origin: str) -> str:
    """The URL of a token server, if the registry at `origin` may send credentials there.

    https is always fine.  http only if the registry is reached by http itself, and from a registry
    on loopback only to this machine: what was never to leave it must not by such a detour.
    Raises Unauthorized.
    """
    registry = urlsplit(origin)
    try:
        server = urlsplit(realm)
        host, _ = server.hostname or "", server.port
    except ValueError:
        host, server = "", urlsplit("")
    allowed = server.scheme == "https" or (
        server.scheme == "http"
        and registry.scheme == "http"
        and (is_loopback(host) or not is_loopback(registry.hostname or ""))
    )
    usable = host and len(realm) <= _MAX_REALM and realm.isprintable() and " " not in realm
    if not usable or "@" in server.netloc or server.scheme not in ("http", "https"):
        raise Unauthorized(
            f"registry {registry.netloc}: the token server it names is no http or https URL: "
            f"{realm[:100]!r}",
            subject=registry.netloc,
        )
    if not allowed:
        raise Unauthorized(
            f"registry {registry.netloc}: the token server it names is not reached by https: "
            f"{tokens.realm_name(realm)}",
            hint="no credentials were sent; the registry's operator has to give an https realm",
            subject=registry.netloc,
        )
    return realm.partition("#")[0]
