"""The requests of one client: authenticated, repeated where that helps, and in the end answered.

What comes back from `send` is an answer that stands: not a 401 that credentials would turn into
something else, and not a 429 or 5xx that was not tried often enough.
"""

from __future__ import annotations

import base64
import binascii
import threading

from jubako.errors import JubakoError, Unavailable
from jubako.registry import refusals
from jubako.registry.auth import Authorizer
from jubako.registry.failures import TransportFailure
from jubako.registry.headers import parse_warnings, same_origin
from jubako.registry.retries import Tries, is_transient
from jubako.registry.tokens import Answer
from jubako.registry.transport import Transport, without_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jubako.oci.reference import Reference
    from jubako.registry.credentials import CredentialSource
    from jubako.registry.hosts import Endpoint, Hosts
    from jubako.registry.transport import Reply

    Body = bytes | Callable[[], Iterable[bytes]] | None
    OnRetry = Callable[[str, float], None]

_MIRROR_ATTEMPTS = 1  # the next place to ask is the better second try
_HTTPS_WANTED = frozenset((400, 497))  # what servers of https answer to http


class Exchange:
    """Safe for threads.

    on_retry: told why and for how many seconds before each wait.  on_warning: told once what a
    registry wants its users to know.  offline: see `Authorizer`.
    """

    def __init__(
        self,
        hosts: Hosts,
        credentials: CredentialSource,
        *,
        on_retry: OnRetry | None = None,
        on_warning: Callable[[str], None] | None = None,
        offline: bool = False,
    ):
        self.hosts = hosts
        self.authorizer = Authorizer(self._ask, credentials, offline=offline)
        self._transport = Transport(hosts)
        self._on_retry = on_retry
        self._on_warning = on_warning
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._resolved: dict[str, Endpoint] = {}
        self._answered: set[str] = set()
        self._dead: set[str] = set()
        self._warned: set[str] = set()

    def send(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = 0,
    ) -> Reply:
        """The answer to a request, which is repeated until one stands.

        endpoint: one that `resolve` gave.  url: something there.  scopes: what a token must allow.
        limit: bytes of the answer's body, which then has arrived, too: `Reply.read` gives it; where
        `headers` ask for a range, only if it is what comes.
        Raises Unavailable with the reason of the last try.
        """
        expected = 206 if headers and "Range" in headers else 200

        def send() -> Reply:
            reply = self.send_once(endpoint, method, url, scopes, headers=headers, body=body)
            if limit and reply.status == expected:
                reply.read(limit)
            return reply

        return self._persist(send, method, url, self.tries(endpoint), endpoint.base)

    def send_once(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Reply:
        """The same without repetitions, but those with credentials.

        body: of an iterable, a function that begins it anew.  Raises TransportFailure.
        """
        attempt = self.authorizer.attempt(endpoint.base, endpoint.domain, scopes)
        while True:
            credentials = attempt.headers()
            sent = {**(headers or {}), **credentials}
            try:
                reply = self._transport.send(method, url, sent, body() if callable(body) else body)
            except TransportFailure:
                self._note_failure(endpoint)
                raise
            reply.secrets = _secrets(credentials.get("Authorization", ""))
            self._note(endpoint, reply)
            if reply.status != 401 or not same_origin(reply.url, endpoint.base):
                return reply  # where a redirect led to, nobody may ask for this registry's login
            try:
                again = attempt.challenged(reply.header_list("WWW-Authenticate"))
            except JubakoError:
                reply.close()
                raise
            if not again:
                return reply
            reply.close()

    def send_away(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> Reply:
        """A request without credentials, to where a registry has sent us."""
        return self._transport.send(method, url, headers, body() if callable(body) else body)

    def places(self, reference: Reference) -> list[Endpoint]:
        """Where to ask for a repository, mirrors first but for those that were found dead."""
        *mirrors, origin = self.hosts.endpoints(reference)
        return [*(mirror for mirror in mirrors if mirror.base not in self._dead), origin]

    def may_pass(self, failure: TransportFailure, origin: str) -> bool:
        """Whether another try makes sense after a failure at `origin`.

        A host that never answered will not for being asked again; one that did, may.
        """
        return failure.transient or origin in self._answered

    def tries(self, endpoint: Endpoint | None = None) -> Tries:
        """The tries that one undertaking has at an endpoint."""
        few = endpoint is not None and endpoint.mirror
        return Tries(_MIRROR_ATTEMPTS if few else self.hosts.attempts, self._sleep, self._on_retry)

    def resolve(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint by the scheme that it speaks: only an insecure one can be in doubt.

        Raises Unavailable if it answers neither by https nor by http.
        """
        if not endpoint.in_doubt:
            return endpoint
        with self._lock:
            known = self._resolved.get(endpoint.base)
        if known is None:
            known = self._probe(endpoint)
            with self._lock:
                self._resolved[endpoint.base] = known
        return endpoint.at(known)

    def close(self) -> None:
        """Ends all that is under way."""
        self._closing.set()
        self._transport.close()

    def _probe(self, endpoint: Endpoint) -> Endpoint:
        """Whether a host speaks https or http; what it answers does not matter."""
        url = f"{endpoint.base}/v2/"
        plain = endpoint.over_http()
        try:
            self._transport.send("GET", url, {}, follow=False).close()
            return endpoint
        except TransportFailure as exc:
            if exc.plain:
                return plain
            # Some servers just hang up; and where no port was given, http has another.
            if not exc.mute or not self._speaks_http(plain):
                self._note_failure(endpoint)
                raise _unavailable(f'Get "{url}"', exc) from exc
        return plain

    def _speaks_http(self, endpoint: Endpoint) -> bool:
        try:
            reply = self._transport.send("GET", f"{endpoint.base}/v2/", {}, follow=False)
        except TransportFailure:
            return False
        reply.close()
        return reply.status not in _HTTPS_WANTED

    def _persist(
        self, send: Callable[[], Reply], method: str, url: str, tries: Tries, origin: str = ""
    ) -> Reply:
        what = f'{method.capitalize()} "{without_query(url)}"'
        while True:
            try:
                reply = send()
            except TransportFailure as exc:
                error = _unavailable(what, exc)
                if self.may_pass(exc, origin) and tries.again(error.message):
                    continue
                raise error from exc
            if not is_transient(reply.status):
                return reply
            busy = refusals.busy(reply, what)
            if not tries.again(busy.error.message, busy.retry_after):
                raise busy.error

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        limit: int,
        secrets: tuple[str, ...],
    ) -> Answer:
        """How the authorizer reaches a token server."""

        def send() -> Reply:
            reply = self._transport.send(method, url, headers, body, follow=False)
            reply.secrets = secrets
            if not is_transient(reply.status):
                reply.read(limit)
            return reply

        reply = self._persist(send, method, url, self.tries())
        return Answer(reply.status, reply.read(limit))

    def _note_failure(self, endpoint: Endpoint) -> None:
        """Nobody shall wait again for a mirror that has never answered."""
        if endpoint.mirror and endpoint.base not in self._answered:
            self._dead.add(endpoint.base)

    def _note(self, endpoint: Endpoint, reply: Reply) -> None:
        self._answered.add(endpoint.base)
        if self._on_warning is None:
            return
        for text in parse_warnings(reply.header_list("Warning")):
            with self._lock:
                new = text not in self._warned
                self._warned.add(text)
            if new:
                self._on_warning(text)

    def _sleep(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise Unavailable("the client of the registry was closed")


def _unavailable(what: str, failure: TransportFailure) -> Unavailable:
    return Unavailable(f"{what}: {failure.reason}")


def _secrets(authorization: str) -> tuple[str, ...]:
    """What of the header `Authorization` no message may repeat."""
    scheme, _, text = authorization.partition(" ")
    if scheme != "Basic":
        return (text,) if text else ()
    try:
        password = base64.b64decode(text).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        password = ""
    return tuple(secret for secret in (text, password) if secret)
