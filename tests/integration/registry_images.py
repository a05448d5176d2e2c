"""Images put into a registry piece by piece, and a way to it that counts and can break."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zstandard

from jubako.oci import media
from tests.fixtures.registry import Registry, free_port

JSON = dict[str, Any]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compressed(tar: bytes, how: str) -> tuple[bytes, str]:
    """A layer's blob and its OCI media type.  how: plain, gzip, zstd."""
    if how == "gzip":
        return gzip.compress(tar, 6, mtime=0), media.OCI_LAYER_GZIP
    if how == "zstd":
        return zstandard.compress(tar), media.OCI_LAYER_ZSTD
    return tar, media.OCI_LAYER


class Repository:
    """A repository of a test's registry, written to by plain requests."""

    def __init__(self, registry: Registry, path: str):
        self.registry = registry
        self.path = path

    @property
    def name(self) -> str:
        """The name as users write it."""
        return f"{self.registry.host}/{self.path}"

    def put_blob(self, data: bytes | Path, media_type: str) -> JSON:
        """Store a blob, which may be a file; returns its descriptor."""
        if isinstance(data, Path):
            with data.open("rb") as file:
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            size = data.stat().st_size
        else:
            digest, size = digest_of(data), len(data)
        reply = self._send("POST", f"blobs/uploads/?digest={digest}", b"", {})
        location = reply["Location"]
        mark = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._send("PUT", f"{location}{mark}digest={digest}", data, headers)
        return {"mediaType": media_type, "digest": digest, "size": size}

    def put_document(self, document: JSON, tag: str = "") -> JSON:
        """Store a manifest or index, under a tag or its digest; returns its descriptor."""
        data = json.dumps(document).encode()
        kind = document["mediaType"]
        self._send("PUT", f"manifests/{tag or digest_of(data)}", data, {"Content-Type": kind})
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    def put_image(
        self,
        tars: Sequence[bytes],
        tag: str = "",
        *,
        how: str = "gzip",
        docker: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> JSON:
        """Store an image of layers, which are compressed; returns its manifest's descriptor.

        docker: with Docker's media types (schema 2) instead of OCI's.
        """
        layers = []
        for tar in tars:
            data, kind = compressed(tar, how)
            if docker:
                kind = {"gzip": media.DOCKER_LAYER_GZIP, "plain": media.DOCKER_LAYER}[how]
            layers.append(self.put_blob(data, kind))
        diff_ids = [digest_of(tar) for tar in tars]
        return self.put_manifest(layers, diff_ids, tag, docker=docker, config=config)

    def put_manifest(
        self,
        layers: Sequence[JSON],
        diff_ids: Sequence[str],
        tag: str = "",
        *,
        docker: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> JSON:
        """Store the config and the manifest of layers that are there."""
        content = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            **(config or {}),
        }
        kind = media.DOCKER_CONFIG if docker else media.OCI_CONFIG
        return self.put_document(
            {
                "schemaVersion": 2,
                "mediaType": media.DOCKER_MANIFEST if docker else media.OCI_MANIFEST,
                "config": self.put_blob(json.dumps(content).encode(), kind),
                "layers": list(layers),
            },
            tag,
        )

    def put_index(self, entries: Sequence[tuple[JSON, JSON]], tag: str = "") -> JSON:
        """Store an index of (descriptor, platform)."""
        manifests = [{**entry, "platform": platform} for entry, platform in entries]
        document = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": manifests}
        return self.put_document(document, tag)

    def delete(self, digest: str) -> None:
        """Remove a manifest and its tags."""
        self._send("DELETE", f"manifests/{digest}", None, {})

    def _send(
        self, method: str, where: str, data: bytes | Path | None, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        if not where.startswith("http"):
            where = f"{self.registry.url}/v2/{self.path}/{where}"
        with ExitStack() as stack:
            body = stack.enter_context(data.open("rb")) if isinstance(data, Path) else data
            request = urllib.request.Request(where, body, dict(headers), method=method)
            reply = stack.enter_context(urllib.request.urlopen(request, timeout=30))
            return dict(reply.headers)


def requests_in(log: Path, pattern: str) -> list[str]:
    """The lines of a registry's log about requests (`GET /v2/...`) that match."""
    found = re.findall(r'"((?:GET|HEAD|PUT|POST) \S+) HTTP', log.read_text())
    return [line for line in found if re.search(pattern, line)]


class Proxy:
    """A way to a registry, by TCP, that counts what comes back.

    break_after: close each connection when so many bytes have come through it.  stall_after: stop
    passing bytes on when so many have come through all connections, until `resume`.  stall_each:
    the same for those of each connection.
    """

    def __init__(self, target: str):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.received = 0
        self.break_after: int | None = None
        self.stall_after: int | None = None
        self.stall_each: int | None = None
        self.stalled = threading.Event()
        self._flowing = threading.Event()
        self._target = target
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def resume(self) -> None:
        self.stall_after = None
        self._flowing.set()

    def close(self) -> None:
        self.resume()
        for one in (self._listener, *self._sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, function: Any, *args: Any) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        host, _, port = self._target.partition(":")
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection((host, int(port)))
            except OSError:
                return
            self._sockets += [near, far]
            self._start(self._pump, near, far, False)
            self._start(self._pump, far, near, True)

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                if counted:
                    passed += len(data)
                    with self._lock:
                        self.received += len(data)
                    if self.stall_after is not None and self.received > self.stall_after:
                        self.stalled.set()
                        self._flowing.wait()
                    if self.stall_each is not None and passed > self.stall_each:
                        self.stalled.set()
                        self._flowing.wait()
                    if self.break_after is not None and passed > self.break_after:
                        break
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@contextmanager
def proxy_to(registry: Registry) -> Iterator[Proxy]:
    """A proxy that ends with the block."""
    proxy = Proxy(registry.host)
    try:
        yield proxy
    finally:
        proxy.close()
