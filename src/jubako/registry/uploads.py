"""Blobs on their way to a registry.

    POST  blobs/uploads/                       202, Location: where the session is
    PUT   Location?digest=D   the bytes        201      digest and size are known: one request
    PATCH Location            the bytes        202, Location: where it goes on
    PUT   Location?digest=D                    201      else: the digest is known afterwards
    GET   Location                             204, Range: 0-N: what has arrived of a broken upload

Every answer names the Location that the next request goes to; credentials go along only if that is
the registry itself.
"""

from __future__ import annotations

import contextlib
from urllib.parse import urlencode, urljoin, urlsplit

from jubako.errors import IntegrityError, JubakoError, Unavailable
from jubako.oci.digest import Digest
from jubako.registry import refusals
from jubako.registry.auth import push_scope
from jubako.registry.failures import TransportFailure
from jubako.registry.headers import parse_digest, parse_upload_range, same_origin
from jubako.registry.retries import is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from jubako.oci.reference import Reference
    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Endpoint
    from jubako.registry.retries import Tries
    from jubako.registry.transport import Reply

    # The digest; a function that knows it when the chunks have ended; None: the upload hashes them.
    DigestOf: TypeAlias = Digest | Callable[[], Digest] | None
    Chunks: TypeAlias = Callable[[], Iterable[bytes]]

_WORTH_RESUMING = 8 << 20  # bytes that have arrived; for fewer it is quicker to begin anew


class Upload:
    """One blob to one repository.

    digest: the blob's; or a function that is called once the chunks have ended, for who makes the
    blob while it goes; or None, and the bytes are hashed (SHA-256) on the way.
    size: in bytes, None if nobody knows yet.
    open_chunks: begins the blob's bytes; called again for each try, so it must give the same blob
    (with a function for the digest, it may be another).

    When a connection breaks, and the digest was known before, the upload goes on after what has
    arrived, if the registry says how much; else it begins anew, as often as `Hosts.attempts` says.
    A failed upload is cancelled.
    """

    def __init__(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        reference: Reference,
        digest: DigestOf,
        size: int | None,
        open_chunks: Chunks,
    ):
        self._exchange = exchange
        self._endpoint = endpoint
        self._reference = reference
        self._name = reference.familiar_name()
        self._digest = digest
        self._size = size
        self._open_chunks = open_chunks
        self._scopes = (push_scope(reference.path),)
        self._tries: Tries = exchange.tries(endpoint)
        self._location = ""

    def run(self) -> Digest:
        """Send the blob; its digest.

        Raises Unauthorized, PermissionDenied, Unavailable (all tries failed), IntegrityError (the
        registry found another digest); what `open_chunks` raises ends the upload as it is.
        """
        try:
            return self._run()
        except BaseException:
            self._cancel()
            raise

    def _run(self) -> Digest:
        arrived = 0
        while True:
            try:
                if not arrived:
                    self._begin()
                return self._send(arrived)
            except TransportFailure as exc:
                error, wait = Unavailable(f"push {self._name}: {exc.reason}"), ""
            except refusals.Busy as busy:
                error, wait = busy.error, busy.retry_after
            if not self._tries.again(error.message, wait):
                raise error
            if isinstance(self._digest, Digest) and self._is_there(self._digest):
                return self._digest  # only the answer was lost
            arrived = self._arrived()
            if not arrived:
                self._cancel()

    def _begin(self) -> None:
        url = self._endpoint.url("blobs/uploads/")
        reply = self._exchange.send(self._endpoint, "POST", url, self._scopes)
        if reply.status not in (201, 202):
            raise self._refused(reply)
        self._follow(reply)

    def _send(self, arrived: int) -> Digest:
        """Send what has not arrived, and close the session."""
        hashed = self._digest is None
        source = _Source(self._open_chunks, arrived, self._size, hashed=hashed)
        headers: dict[str, str] = {}
        if self._size is not None:
            headers["Content-Length"] = str(self._size - arrived)
        if isinstance(self._digest, Digest) and self._size is not None and not arrived:
            return self._finish(self._digest, headers, source)
        if arrived and self._size is not None:
            headers["Content-Range"] = f"{arrived}-{self._size - 1}"
        reply = self._request("PATCH", self._location, headers, source)
        if reply.status not in (202, 204):
            raise self._refused(reply)
        self._follow(reply)
        if self._digest is None:
            digest = source.digest()
        else:
            digest = self._digest if isinstance(self._digest, Digest) else self._digest()
        return self._finish(digest, {"Content-Length": "0"}, None)

    def _finish(self, digest: Digest, headers: dict[str, str], source: _Source | None) -> Digest:
        joint = "&" if urlsplit(self._location).query else "?"
        url = f"{self._location}{joint}{urlencode({'digest': digest})}"
        reply = self._request("PUT", url, headers, source)
        if reply.status not in (201, 202, 204):
            raise self._refused(reply)
        reply.close()
        self._location = ""
        stored = parse_digest(reply.header("Docker-Content-Digest"))
        if stored is not None and stored.algorithm == digest.algorithm and stored != digest:
            raise IntegrityError(
                f"push {self._name}: the registry stored {stored}, sent was {digest}",
                subject=digest,
            )
        return digest

    def _request(
        self, method: str, url: str, headers: dict[str, str], source: _Source | None
    ) -> Reply:
        """One request to the session.  Raises `Busy` for an answer that may be better later."""
        headers = {"Content-Type": "application/octet-stream", **headers}
        try:
            reply = self._send_to(method, url, headers, source.open if source else None)
        except TransportFailure:
            if source is not None and source.error is not None:
                raise source.error from None  # it was not the network that failed
            raise
        # 404 and 416: the session is gone, or has other bytes than it said; a new one has neither.
        if is_transient(reply.status) or reply.status in (404, 416):
            raise refusals.busy(reply, f"push {self._name}")
        return reply

    def _send_to(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Callable[[], Iterable[bytes]] | None,
    ) -> Reply:
        if same_origin(url, self._endpoint.base):
            return self._exchange.send_once(
                self._endpoint, method, url, self._scopes, headers=headers, body=body
            )
        return self._exchange.send_away(method, url, headers, body)

    def _follow(self, reply: Reply) -> None:
        """Take over where the session is now."""
        reply.close()
        self._location = session_url(self._exchange, self._endpoint, reply)

    def _is_there(self, digest: Digest) -> bool:
        url = self._endpoint.url(f"blobs/{digest}")
        try:
            reply = self._exchange.send_once(self._endpoint, "HEAD", url, self._scopes)
        except (TransportFailure, JubakoError):
            return False
        reply.close()
        return reply.status == 200 and reply.length == self._size

    def _arrived(self) -> int:
        """How much of a broken upload the registry kept; 0 if it is better begun anew."""
        if not isinstance(self._digest, Digest) or self._size is None or not self._location:
            return 0
        try:
            reply = self._send_to("GET", self._location, {}, None)
        except (TransportFailure, JubakoError):
            return 0
        reply.close()
        if reply.status != 204:
            return 0
        if reply.header("Location"):
            self._follow(reply)
        arrived = parse_upload_range(reply.header("Range"))
        return arrived if _WORTH_RESUMING <= arrived < self._size else 0

    def _cancel(self) -> None:
        """Let the registry forget the session; whether it does is of no consequence."""
        location, self._location = self._location, ""
        if location:
            with contextlib.suppress(TransportFailure, JubakoError):
                self._send_to("DELETE", location, {}, None).close()

    def _refused(self, reply: Reply) -> JubakoError:
        missing = f"repository {self._name}"
        return refusals.error(reply, "push", self._name, self._reference.domain, missing=missing)


class _Source:
    """The bytes of one try.

    error: what the caller's iterator raised, which urllib3 may take for a fault of the network.
    """

    def __init__(self, open_chunks: Chunks, skip: int, size: int | None, *, hashed: bool):
        self._open_chunks = open_chunks
        self._skip = skip
        self._size = size
        self._hashed = hashed
        self._hasher: hashlib._Hash | None = None
        self.error: BaseException | None = None

    def open(self) -> Iterator[bytes]:
        """The bytes from the beginning, without those to skip.

        Raises IntegrityError when there are more or fewer than was said: the registry would wait
        for the rest, or take the surplus for the next request.
        """
        self._hasher = Digest.of(b"").new_hasher() if self._hashed else None
        skip, total = self._skip, 0
        try:
            for chunk in self._open_chunks():
                total += len(chunk)
                self._check(total, self._size is None or total <= self._size)
                if skip:
                    chunk, skip = chunk[skip:], max(0, skip - len(chunk))
                if self._hasher is not None:
                    self._hasher.update(chunk)
                if chunk:
                    yield chunk
            self._check(total, self._size in (None, total))
        except GeneratorExit:
            raise
        except BaseException as exc:
            self.error = exc
            raise

    def _check(self, total: int, good: bool) -> None:
        if not good:
            raise IntegrityError(f"blob to push: expected {self._size} bytes, found {total}")

    def digest(self) -> Digest:
        """Of all that went, if it was `hashed`."""
        assert self._hasher is not None
        return Digest.from_hasher(self._hasher)


def session_url(exchange: Exchange, endpoint: Endpoint, reply: Reply) -> str:
    """Where the Location of an answer about an upload leads.

    Registries behind a proxy that ends TLS name themselves by http: they are meant by https.
    Raises Unavailable for a place that no blob may be sent to.
    """
    target = urljoin(reply.url, reply.header("Location"))
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not reply.header("Location") or not host or "@" in parts.netloc:
        raise Unavailable(f"push to {endpoint.base}: it names no place to send the blob to")
    secured = parts._replace(scheme="https").geturl()
    if endpoint.scheme == "https" and same_origin(secured, endpoint.base):
        return secured
    plain = parts.scheme == "http" and exchange.hosts.is_insecure(host, port or 80)
    if parts.scheme != "https" and not plain:
        raise Unavailable(f"push to {endpoint.base}: sent on to {parts.scheme} at {host}, refused")
    return target


def mount(
    exchange: Exchange,
    endpoint: Endpoint,
    scopes: tuple[str, ...],
    digest: Digest,
    from_path: str,
) -> bool:
    """Let a registry take a blob from another repository of its own; see `Repository`."""
    query = urlencode({"mount": digest, "from": from_path})
    reply = exchange.send(endpoint, "POST", endpoint.url(f"blobs/uploads/?{query}"), scopes)
    reply.close()
    if reply.status == 202:
        with contextlib.suppress(TransportFailure, JubakoError):
            location = session_url(exchange, endpoint, reply)
            if same_origin(location, endpoint.base):
                exchange.send_once(endpoint, "DELETE", location, scopes).close()
    # Refused: the other repository may not be read.  The upload will tell what may be written.
    return reply.status == 201
