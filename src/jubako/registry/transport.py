"""One request as HTTP: connections, TLS, proxies and redirects.

This and `failures` are the only modules that know urllib3, and are imported when a registry is
spoken to.

A redirect is followed for what has no body, at most ten times, never from https to http, and to
http only where http may be spoken.  Credentials stay with the scheme, host and port that they were
given for: `Authorization` is gone with the first redirect to another.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from jubako.errors import Unavailable
from jubako.registry import certificates, failures, proxies
from jubako.registry.failures import TransportFailure
from jubako.registry.headers import parse_size, same_origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from jubako.registry.hosts import Hosts

MAX_REDIRECTS = 10
_CONNECT_S = 20.0
_READ_S = 60.0  # without a byte
_BODY_S = 120.0  # for all of an answer that is read at once
_CONNECTIONS = 64  # to one host that are kept for the next request: as many as layers at a time
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_DRAIN = 64 << 10  # bytes of a body nobody wants; more of it costs more than a new connection


class Reply:
    """An answer whose body may still be under way.  Close it, or read it to its end.

    status, url: the URL is the one that answered at last.  secrets: what no error may repeat.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str):
        self._response = response
        self.status = response.status
        self.url = url
        self.secrets: tuple[str, ...] = ()
        self._body: bytes | None = None

    def header(self, name: str) -> str:
        """A header; several of one name joined by commas, "" if there is none."""
        return self._response.headers.get(name, "")

    def header_list(self, name: str) -> list[str]:
        return list(self._response.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The size of the body in bytes, if it was said."""
        return parse_size(self.header("Content-Length"))

    def piece(self, size: int, *, whole: bool = False) -> bytes:
        """At most `size` bytes as soon as some are there; empty at the end of the body.

        whole: as many as that, unless the body ends: fewer and larger pieces of a fast link.
        Raises TransportFailure when the connection breaks before all that was promised is there.
        """
        try:
            read = self._response.read if whole else self._response.read1
            return read(size, decode_content=False)
        except (urllib3.exceptions.HTTPError, HTTPException, OSError) as exc:
            raise _failure(exc, self.url) from exc

    def read(self, limit: int) -> bytes:
        """The whole body, also a second time.

        Raises TransportFailure; Unavailable beyond `limit` bytes.
        """
        if self._body is None:
            self._body = self._read(limit)
        return self._body

    def _read(self, limit: int) -> bytes:
        deadline = time.monotonic() + _BODY_S
        found: list[bytes] = []
        size = 0
        while piece := self.piece(64 << 10):
            size += len(piece)
            found.append(piece)
            if size > limit:
                self.close()
                raise Unavailable(
                    f"{without_query(self.url)}: an answer of more than {limit} bytes"
                )
            if time.monotonic() > deadline:
                self.close()
                raise TransportFailure(f"the answer took more than {_BODY_S:.0f} s")
        self.close()
        return b"".join(found)

    def close(self) -> None:
        """Give the connection back, or end it if more is to come than is worth reading."""
        left = self._response.length_remaining
        if left is not None and left <= _MAX_DRAIN:  # also at 0, which urllib3 has to see
            with suppress(TransportFailure):
                while self.piece(_MAX_DRAIN):
                    pass
        self._response.close()


class Transport:
    """The connections of one client; safe for threads."""

    def __init__(self, hosts: Hosts):
        self._hosts = hosts
        directories = hosts.cert_directories
        self._directories: Sequence[str] = (
            certificates.default_directories(os.environ, root=os.geteuid() == 0)
            if directories is None
            else directories
        )
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str, int], urllib3.PoolManager] = {}
        self._connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._closed = False

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        *,
        follow: bool = True,
    ) -> Reply:
        """Send a request and return the answer, whatever its status.

        body: an iterable is sent as it comes, in chunks unless `headers` has a Content-Length.
        follow: redirects are followed, if there is no body.  Raises TransportFailure; Unavailable
        for a redirect that is refused; InvalidArgument for certificates and proxies.
        """
        start = url
        sent = {"User-Agent": self._hosts.user_agent, "Accept-Encoding": "identity", **headers}
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._send_once(method, url, sent, body)
            if reply.status not in _REDIRECTS or not follow or body is not None:
                return reply
            try:
                target = self._redirect(reply, start)
            finally:
                reply.close()
            if not same_origin(target, url):
                sent.pop("Authorization", None)
            if reply.status == 303 and method != "HEAD":
                method = "GET"
            url = target
        raise Unavailable(f"{without_query(start)}: more than {MAX_REDIRECTS} redirects")

    def close(self) -> None:
        """End every connection; threads that wait for an answer fail."""
        with self._lock:
            self._closed = True
            managers, self._managers = list(self._managers.values()), {}
            connections = list(self._connections)
        for connection in connections:
            _end(connection)
        for manager in managers:
            # Not `clear`: that leaves the pools to the garbage collector.
            for key in manager.pools.keys():
                manager.pools[key].close()

    def _send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Reply:
        manager = self._manager(url)
        try:
            response = manager.urlopen(
                method,
                url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, HTTPException, OSError) as exc:
            raise _failure(exc, url) from exc
        return Reply(response, url)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        scheme, host = parts.scheme, parts.hostname or ""
        port = parts.port or (443 if scheme == "https" else 80)
        with self._lock:
            if self._closed:
                raise TransportFailure("the client is closed", transient=False)
            key = (scheme, host, port)
            if key not in self._managers:
                self._managers[key] = self._make_manager(scheme, host, port)
            return self._managers[key]

    def _make_manager(self, scheme: str, host: str, port: int) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "num_pools": 1,
            "maxsize": _CONNECTIONS,
            "timeout": urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
        }
        if scheme == "https":
            files = certificates.find(self._directories, host, port)
            # Who has put an authority there wants it to be asked, also where http would do.
            verify = bool(files.authorities) or not self._hosts.is_insecure(host, port)
            options["ssl_context"] = certificates.make_context(files, verify=verify)
            if not verify:
                options["cert_reqs"] = "CERT_NONE"
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        proxy = proxies.find_proxy(scheme, host, port, os.environ)
        manager = (
            urllib3.PoolManager(**options)
            if proxy is None
            else urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)
        )
        manager.pool_classes_by_scheme = _pool_classes(self._note)
        return manager

    def _note(self, connection: HTTPConnection) -> None:
        """Know a connection also while it is in use, when it is in no pool."""
        with self._lock:
            self._connections.add(connection)
            closed = self._closed
        if closed:
            _end(connection)

    def _redirect(self, reply: Reply, start: str) -> str:
        """Where a redirect leads.  Raises Unavailable where it may not be followed."""
        what = without_query(start)
        try:
            target = urljoin(reply.url, reply.header("Location"))
            parts = urlsplit(target)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise Unavailable(f"{what}: a redirect to something that is no http or https URL")
        if parts.scheme == "http":
            if urlsplit(reply.url).scheme == "https":
                raise Unavailable(f"{what}: a redirect from https to http at {host} is refused")
            if not self._hosts.is_insecure(host, port or 80):
                raise Unavailable(
                    f"{what}: a redirect to http at {host} is refused",
                    hint="name it among the insecure registries if that is what you want",
                )
        return target


def _pool_classes(note: Callable[[HTTPConnection], None]) -> dict[str, Any]:
    """urllib3's pools, which tell `note` of each connection when it is there."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            note(self)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            note(self)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _end(connection: HTTPConnection) -> None:
    """Let a thread that waits for this connection wait no longer."""
    found = connection.sock
    if found is not None:
        with suppress(OSError):
            # Not the method of a TLS socket, which would change it under the thread that reads.
            socket.socket.shutdown(found, socket.SHUT_RDWR)


def without_query(url: str) -> str:
    """A URL as errors show it: signatures are in queries, passwords before the host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:400]


def _failure(exc: Exception, url: str) -> TransportFailure:
    failure = failures.of_exception(exc, urlsplit(url).hostname or "")
    if failure is None:
        raise exc
    return failure
