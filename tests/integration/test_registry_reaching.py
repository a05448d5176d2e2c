"""How registries are reached: http or https, certificates, proxies, foreign places."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import (
    NotFound,
    Unavailable,
)
from jubako.oci import media
from jubako.oci.manifest import Descriptor
from jubako.registry import Hosts
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.registry import make_certificates
from tests.integration.registry_tools import (
    BLOB,
    DATA,
    LOGIN,
    describe,
    far_address,
    open_client,
    read,
    repository_of,
)

# --- http, TLS and proxies at an address that is not loopback ------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.seen.append((self.command, self.path, dict(self.headers.items())))
        status, headers, body = server.respond(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_CONNECT(self) -> None:
        """A tunnel, as proxies have it for https."""
        server = self.server
        assert isinstance(server, _Server)
        server.seen.append((self.command, self.path, dict(self.headers.items())))
        host, _, port = self.path.rpartition(":")
        self.send_response(200)
        self.end_headers()
        with socket.create_connection((host, int(port))) as target:
            back = threading.Thread(target=_pump, args=(target, self.connection))
            back.start()
            _pump(self.connection, target)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def _pump(source: socket.socket, target: socket.socket) -> None:
    """What comes from one goes to the other, and so does the end."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _one_blob(path: str) -> tuple[int, dict[str, str], bytes]:
    if "/blobs/" in path:
        return 200, {}, b"from here"
    return 404, {}, b""


class _Server(ThreadingHTTPServer):
    """respond: what it answers to a path; tests put their own there."""

    daemon_threads = False
    seen: list[tuple[str, str, dict[str, str]]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.respond: Callable[[str], tuple[int, dict[str, str], bytes]] = _one_blob

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are the point."""


@contextmanager
def server(address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator[_Server]:
    found = _Server((address, 0), _Handler)
    found.seen = []
    if context is not None:
        found.socket = context.wrap_socket(found.socket, server_side=True)
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        found.shutdown()
        thread.join()
        found.server_close()
        gc.collect()


SMALL = describe(b"from here")


def test_http_is_not_spoken_with_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    with far_address() as address, server(address) as found:
        host = f"{address}:{found.server_address[1]}"
        with open_client(hosts=Hosts(cert_directories=[])) as client:
            with pytest.raises(Unavailable, match="server gave HTTP response to HTTPS client"):
                read(repository_of(client, f"{host}/x"), SMALL)
        assert found.seen == []
        for named in (host, address, f"{address}/24"):
            hosts = Hosts(cert_directories=[], insecure=[named])
            with open_client(hosts=hosts) as client:
                assert read(repository_of(client, f"{host}/x"), SMALL) == b"from here"


def test_a_proxy_is_used_for_strangers_only(
    monkeypatch: pytest.MonkeyPatch, bad_registry: BadRegistry
) -> None:
    bad_registry.add_blob(DATA)
    with server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pa55@127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("NO_PROXY", "skip.example")
        mirrors = {"quay.io": ["http://reg.example:5000"]}
        with open_client(hosts=Hosts(mirrors=mirrors)) as client:
            assert read(repository_of(client, "quay.io/x"), SMALL) == b"from here"
            assert read(repository_of(client, f"{bad_registry.host}/x"), BLOB) == DATA
        ((_, path, headers),) = proxy.seen
    assert path == f"http://reg.example:5000/v2/x/blobs/{SMALL.digest}"
    assert headers["Proxy-Authorization"] == "Basic bWU6cGE1NQ=="
    assert all("proxy-authorization" not in one.headers for one in bad_registry.requests)


def test_https_goes_through_a_proxy_unseen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The proxy gets its own password and the name of the host; the registry gets neither."""
    context, authority, *_ = tls_context(tmp_path)
    directory = tmp_path / "certs.d"
    with far_address() as address, server(address, context) as found, server() as proxy:
        host = f"{address}:{found.server_address[1]}"
        (directory / host).mkdir(parents=True)
        monkeypatch.setenv("https_proxy", f"http://me:pa55@127.0.0.1:{proxy.server_address[1]}")
        hosts = Hosts(cert_directories=[str(directory)], insecure=[address])
        with open_client(hosts=hosts) as client:
            assert read(repository_of(client, f"{host}/x"), SMALL) == b"from here"
        authority.rename(directory / host / "ca.crt")  # which the name is not in
        with open_client(hosts=hosts) as client:
            with pytest.raises(Unavailable, match="certificate is not valid for"):
                read(repository_of(client, f"{host}/x"), SMALL)
    assert {(command, path) for command, path, _ in proxy.seen} == {("CONNECT", host)}
    assert all(sent["Proxy-Authorization"] == "Basic bWU6cGE1NQ==" for *_, sent in proxy.seen)
    assert found.seen
    assert all("Proxy-Authorization" not in sent for *_, sent in found.seen)


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pa55@127.0.0.1:1")
    with open_client() as client, pytest.raises(Unavailable) as caught:
        read(repository_of(client, "reg.example/x"), SMALL)
    assert "proxyconnect: dial tcp: connect: connection refused" in str(caught.value)
    assert "pa55" not in "".join(traceback.format_exception(caught.value))


def tls_context(directory: Path) -> tuple[ssl.SSLContext, Path, Path, Path]:
    authority, certificate, key = make_certificates(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, authority, certificate, key


def test_from_https_nothing_leads_to_http(tmp_path: Path) -> None:
    context, *_ = tls_context(tmp_path)
    with server() as plain, server(context=context) as found:
        target = f"http://127.0.0.1:{plain.server_address[1]}/v2/x/blobs/y"
        found.respond = lambda path: (307, {"Location": target}, b"")
        with open_client(hosts=Hosts(cert_directories=[])) as client:
            repository = repository_of(client, f"127.0.0.1:{found.server_address[1]}/x")
            with pytest.raises(Unavailable, match="a redirect from https to http"):
                read(repository, SMALL)
        assert plain.seen == []


def test_the_name_in_a_certificate_counts(tmp_path: Path) -> None:
    context, authority, *_ = tls_context(tmp_path)
    with far_address() as address, server(address, context) as found:
        host = f"{address}:{found.server_address[1]}"
        directory = tmp_path / "certs.d" / host
        directory.mkdir(parents=True)
        authority.rename(directory / "ca.crt")
        with open_client(hosts=Hosts(cert_directories=[str(directory.parent)])) as client:
            with pytest.raises(Unavailable, match=f"certificate is not valid for {address}"):
                read(repository_of(client, f"{host}/x"), SMALL)
        with open_client(hosts=Hosts(cert_directories=[])) as client:
            with pytest.raises(Unavailable, match="certificate signed by unknown authority"):
                read(repository_of(client, f"{host}/x"), SMALL)
        hosts = Hosts(cert_directories=[], insecure=[address])
        with open_client(hosts=hosts) as client:
            assert read(repository_of(client, f"{host}/x"), SMALL) == b"from here"


def test_a_certificate_of_ours_is_shown(tmp_path: Path) -> None:
    context, authority, certificate, key = tls_context(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority)
    with server(context=context) as found:
        host = f"127.0.0.1:{found.server_address[1]}"
        directory = tmp_path / "certs.d" / host
        directory.mkdir(parents=True)
        hosts = Hosts(cert_directories=[str(directory.parent)], attempts=1)
        with open_client(hosts=hosts) as client, pytest.raises(Unavailable):
            read(repository_of(client, f"{host}/x"), SMALL)
        certificate.rename(directory / "me.cert")
        key.rename(directory / "me.key")
        authority.rename(directory / "ca.crt")
        with open_client(hosts=hosts) as client:
            assert read(repository_of(client, f"{host}/x"), SMALL) == b"from here"


def test_a_foreign_layer_is_fetched_from_where_it_is() -> None:
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    with server() as found:
        found.respond = lambda path: (
            (200, {}, b"from here") if path == "/foreign" else (404, {}, b"")
        )
        host = f"127.0.0.1:{found.server_address[1]}"
        urls = ("http://reg.example/x", "file:///etc/passwd", f"http://{host}/foreign")
        for media_type in (kind, media.OCI_LAYER):
            layer = Descriptor(media_type, SMALL.digest, SMALL.size, urls=urls)
            with open_client(host, LOGIN, hosts=Hosts(cert_directories=[])) as client:
                repository = repository_of(client, f"{host}/x")
                if media_type == kind:
                    assert read(repository, layer) == b"from here"
                else:
                    with pytest.raises(NotFound):
                        read(repository, layer)
