"""Containers that start before their image is here."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration import estargz
from tests.integration.estargz import entry
from tests.integration.pull_tools import noise
from tests.integration.registry_images import Proxy, Repository, digest_of, proxy_to

MIB = 1 << 20
BIG = noise(12 * MIB, 1)
SMALL = noise(100_000, 2)


@pytest.fixture
def repository(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """One of the test's own."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    return Repository(registry, f"lazy/{name}")


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """Each connection through it stops after 3 MiB: the blob never comes, parts of it do."""
    with proxy_to(registry) as running:
        running.stall_each = 3 * MIB
        yield running


@pytest.fixture
def layer() -> estargz.Layer:
    """busybox at the beginning, then much that a start does not need."""
    shell = Path("/bin/busybox").read_bytes()
    return estargz.make(
        [
            (entry("bin", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("bin/busybox", mode=0o755), shell),
            *((entry(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox"), b"") for name in APPLETS),
            (entry("big"), BIG),
            (entry("etc", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("etc/small", mode=0o640, uid=7, gid=8), SMALL),
        ]
    )


APPLETS = ("sh", "cat", "sha256sum", "sleep", "true", "head")


def put(repository: Repository, layer: estargz.Layer, tag: str = "latest") -> None:
    repository.put_manifest([layer.put(repository)], [digest_of(layer.tar)], tag)


def wait_until_complete(engine: Engine, layer: estargz.Layer) -> None:
    deadline = time.monotonic() + 30
    while not engine.images.layers.exists(digest_of(layer.tar)):
        assert time.monotonic() < deadline, "the layer has not arrived"
        time.sleep(0.05)
    run = Path(engine.store.run_dir) / "lazy"
    while any(run.iterdir()):
        assert time.monotonic() < deadline, "the helper has not ended"
        time.sleep(0.05)


def test_a_container_runs_before_its_layer_is_here(
    engine: Engine, jubako: Jubako, repository: Repository, proxy: Proxy, layer: estargz.Layer
) -> None:
    put(repository, layer)
    name = f"{proxy.host}/{repository.path}"
    out = jubako.ok("run", "--lazy", "--rm", "--network", "none", name, "sha256sum", "/etc/small")
    assert out.split()[0] == digest_of(SMALL).partition(":")[2]
    assert not engine.images.layers.exists(digest_of(layer.tar))
    assert proxy.received < len(layer.blob) / 2
    proxy.resume()
    wait_until_complete(engine, layer)
    assert b"".join(engine.images.layers.archive(digest_of(layer.tar))) == layer.tar
