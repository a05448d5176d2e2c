"""A blob as it arrives: it goes on where a connection broke, elsewhere if need be."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from jubako.errors import IntegrityError, JubakoError, Unavailable
from jubako.oci import media
from jubako.registry import refusals
from jubako.registry.auth import pull_scope
from jubako.registry.failures import TransportFailure
from jubako.registry.headers import parse_content_range
from jubako.registry.retries import is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from jubako.oci.manifest import Descriptor
    from jubako.oci.reference import Reference
    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Endpoint
    from jubako.registry.transport import Reply

PIECE_BYTES = 1 << 20  # at most; what is there sooner comes sooner
_WORTH_A_TRY = 1 << 20  # bytes: who gave so many since the last failure may fail again
_FAST = 50e6  # bytes a second: 1 MiB in 20 ms
_MAX_URLS = 8  # of a foreign layer that are tried


class BlobStream:
    """Iterate over it for the bytes of a blob, in pieces of at most 1 MiB; use it with `with`.

    descriptor: digest and size of the blob.  offset: the byte that the caller wants first; after
    the constructor, the one that really comes first: 0 where the server keeps to no ranges.

    The connection is there when the constructor returns.  When it breaks, the stream asks again for
    what is missing: at the next mirror, at last at the registry as often as `Hosts.attempts` says;
    where a MiB has arrived since the last failure, it asks there once more.  Layers that registries
    may not distribute are looked for at the descriptor's URLs in the end.
    The iteration ends after exactly `descriptor.size` bytes; their digest is the caller's to check.
    For one thread; `Client.close` lets it end from another.

    Raises NotFound, Unauthorized, PermissionDenied, Unavailable (all tries failed), IntegrityError
    (a server promises or sends more or less than `descriptor.size`).
    """

    def __init__(
        self, exchange: Exchange, reference: Reference, descriptor: Descriptor, offset: int = 0
    ):
        self._exchange = exchange
        self._reference = reference
        self._size = descriptor.size
        self._digest = descriptor.digest
        self._what = f"blob {descriptor.digest} of {reference.familiar_name()}"
        endpoints = exchange.places(reference)
        self._places: list[Endpoint | str] = [*endpoints, *_foreign_urls(exchange, descriptor)]
        self._tries = exchange.tries()
        self._since_failure = 0
        self._origin = ""  # the scheme, host and port that were asked last
        self._etag = ""  # of what is under way, so that it goes on with the same or not at all
        self._reply: Reply | None = None
        self._fast = False  # pieces come whole without a wait that anybody would notice
        self._skip = 0  # bytes that come again although the caller has them
        self._at = offset
        if offset < self._size:
            self._at = self._connect()
            self._skip = 0
        self.offset = self._at

    def __iter__(self) -> BlobStream:
        return self

    def __next__(self) -> bytes:
        while self._at < self._size:
            try:
                piece = self._piece()
            except TransportFailure as exc:
                self._again(Unavailable(f"{self._what}: {exc.reason}"))
                self._skip = self._at - self._connect()
                continue
            if piece:
                self._at += len(piece)
                self._since_failure += len(piece)
                return piece
        self._finish()
        raise StopIteration

    def close(self) -> None:
        """End the transfer, however much has come."""
        if self._reply is not None:
            self._reply.close()
            self._reply = None

    def __enter__(self) -> BlobStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _piece(self) -> bytes:
        """The next bytes, empty while what the caller has is skipped.  Raises TransportFailure."""
        if self._reply is None:
            raise Unavailable(f"{self._what}: the stream is closed")
        size = min(PIECE_BYTES, self._size - self._at + self._skip)
        started = time.monotonic()
        piece = self._reply.piece(size, whole=self._fast)
        self._fast = len(piece) > _FAST * (time.monotonic() - started)
        if not piece:
            raise TransportFailure(f"unexpected EOF after {self._at} of {self._size} bytes")
        if self._skip:
            known = min(self._skip, len(piece))
            self._skip -= known
            return piece[known:]
        return piece

    def _finish(self) -> None:
        """At the last byte: no more may come, and the connection can serve the next."""
        reply = self._reply
        if reply is None:
            return
        try:
            more = reply.piece(1) if reply.length is None else b""
        except TransportFailure:
            more = b""  # how it ends is of no interest any more
        self.close()
        if more:
            raise IntegrityError(
                f"{self._what}: expected {self._size} bytes, found more", subject=self._digest
            )

    # --- connecting ------------------------------------------------------------------------------

    def _connect(self) -> int:
        """Ask until a server answers with the blob; the byte that comes first."""
        while True:
            self.close()
            try:
                return self._ask(self._places[0])
            except TransportFailure as exc:
                error: JubakoError = Unavailable(f"{self._what}: {exc.reason}")
                if self._exchange.may_pass(exc, self._origin):
                    self._again(error)
                else:
                    self._elsewhere(error)
            except refusals.Busy as busy:
                self._again(busy.error, busy.retry_after)
            except JubakoError as exc:
                self._elsewhere(exc)

    def _again(self, error: JubakoError, retry_after: str = "") -> None:
        """Prepare the next try after a failure that may pass.  Raises `error` after the last."""
        worth = self._since_failure >= _WORTH_A_TRY
        self._since_failure = 0
        if worth:
            self._tries.progressed()
        elif len(self._places) > 1:
            return self._elsewhere(error)
        if not self._tries.again(error.message, retry_after):
            raise error

    def _elsewhere(self, error: JubakoError) -> None:
        """Never ask here again.  Raises `error` if this was the last place."""
        if len(self._places) == 1:
            raise error
        del self._places[0]
        self._etag = ""

    def _ask(self, place: Endpoint | str) -> int:
        headers = {}
        if self._at:
            headers["Range"] = f"bytes={self._at}-"
            if self._etag:
                headers["If-Range"] = self._etag
        if isinstance(place, str):
            reply = self._exchange.send_away("GET", place, headers, None)
        else:
            endpoint = self._exchange.resolve(place)
            self._origin = endpoint.base
            url = endpoint.url(f"blobs/{self._digest}")
            scopes = (pull_scope(endpoint.path),)
            reply = self._exchange.send_once(endpoint, "GET", url, scopes, headers=headers)
        try:
            first = self._first_byte(reply)
        except BaseException:
            reply.close()
            raise
        etag = reply.header("ETag")
        self._etag = "" if etag.startswith("W/") else etag[:200]
        self._reply = reply
        return first

    def _first_byte(self, reply: Reply) -> int:
        """Where an answer begins.  Raises what it means if it is not (the rest of) the blob."""
        first, size = 0, reply.length
        if reply.status == 206:
            found = parse_content_range(reply.header("Content-Range"))
            if found is None or found[0] != self._at:
                raise IntegrityError(
                    f"{self._what}: asked for the bytes from {self._at} on, got "
                    f"{reply.header('Content-Range')[:60]!r}",
                    subject=self._digest,
                )
            first, size = self._at, found[1] + 1
            if found[2] not in (None, size) or reply.length not in (None, size - first):
                size = -1
        elif reply.status == 416:
            size = -1
        elif is_transient(reply.status):
            raise refusals.busy(reply, self._what)
        elif reply.status != 200:
            name, domain = self._reference.familiar_name(), self._reference.domain
            raise refusals.error(reply, "pull", name, domain, missing=self._what)
        if size is not None and size != self._size:
            found_text = "another number" if size < 0 else str(size)
            raise IntegrityError(
                f"{self._what}: expected {self._size} bytes, found {found_text}",
                subject=self._digest,
            )
        return first


def _foreign_urls(exchange: Exchange, descriptor: Descriptor) -> list[str]:
    """Where else a layer is that registries may not distribute (image-spec layer.md)."""
    if not media.is_foreign(descriptor.media_type):
        return []
    return [url for url in descriptor.urls[:_MAX_URLS] if _is_allowed(exchange, url)]


def _is_allowed(exchange: Exchange, url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not url.isprintable():
        return False
    plain = parts.scheme == "http" and exchange.hosts.is_insecure(host, port or 80)
    return parts.scheme == "https" or plain
