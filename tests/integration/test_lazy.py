"""Containers that start before their image is here."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    return make()


def make(**options: Any) -> estargz.Layer:
    shell = Path("/bin/busybox").read_bytes()
    links = [(entry(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox"), b"") for name in APPLETS]
    return estargz.make(
        [
            (entry("bin", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("bin/busybox", mode=0o755), shell),
            *links,
            (entry("big"), BIG),
            (entry("etc", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("etc/small", mode=0o640, uid=7, gid=8), SMALL),
            (entry("etc/empty"), b""),
            (entry("etc/link", tarfile.LNKTYPE, linkname="etc/small"), b""),
        ],
        chunk_bytes=256 << 10,
        **options,
    )


APPLETS = ("sh", "cat", "sha256sum", "sleep", "true", "head", "dd", "ls")


def put(repository: Repository, layer: estargz.Layer, tag: str = "latest") -> None:
    repository.put_manifest([layer.put(repository)], [digest_of(layer.tar)], tag)


def is_complete(engine: Engine, layer: estargz.Layer) -> bool:
    return engine.images.layers.exists(digest_of(layer.tar))


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def helpers(root: Path) -> list[int]:
    """The processes that fetch layers of a root: the guardian and its child, the worker."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            files = {os.readlink(fd) for fd in (process / "fd").iterdir()}
            if any(file.startswith(f"{root}/layers/.ingest/") for file in files):
                found.append(int(process.name))
    return sorted(found)


def wait_for_end(engine: Engine) -> None:
    """All has come, or been given up: nothing is left of the way there."""
    root = Path(engine.store.path)
    wait(lambda: not helpers(root), "the helper has not ended")
    assert not list((Path(engine.store.run_dir) / "lazy").iterdir())
    assert {path.name for path in (root / "layers/.ingest").iterdir()} <= {"empty"}


def wait_until_complete(engine: Engine, layer: estargz.Layer) -> None:
    wait(lambda: is_complete(engine, layer), "the layer has not arrived")
    wait_for_end(engine)


def sha256sum(jubako: Jubako, *args: str) -> str:
    return "sha256:" + jubako.ok(*args).split()[0]


def test_a_container_runs_before_its_layer_is_here(
    engine: Engine, jubako: Jubako, repository: Repository, proxy: Proxy, layer: estargz.Layer
) -> None:
    put(repository, layer)
    name = f"{proxy.host}/{repository.path}"
    command = ("run", "--lazy", "--rm", "--network", "none", name)
    assert sha256sum(jubako, *command, "sha256sum", "/etc/small") == digest_of(SMALL)
    assert not is_complete(engine, layer)
    assert proxy.received < len(layer.blob) / 2
    [shown] = engine.images.list()
    assert shown["RepoTags"] == [f"{name}:latest"]
    # The next one needs no flag, and the registry for nothing that was read before.
    proxy.stall_each = 0
    plain = ("run", "--rm", "--network", "none", name)
    assert sha256sum(jubako, *plain, "sha256sum", "/etc/link") == digest_of(SMALL)
    proxy.resume()
    wait_until_complete(engine, layer)
    assert engine.images.list()[0]["Size"] == shown["Size"]


def test_a_read_fetches_the_part_that_it_needs(
    jubako: Jubako, repository: Repository, proxy: Proxy, layer: estargz.Layer, engine: Engine
) -> None:
    put(repository, layer)
    name = f"{proxy.host}/{repository.path}"
    jubako.ok("run", "-d", "--lazy", "--name", "one", "--network", "none", name, "sleep", "1000")
    assert proxy.stalled.wait(10)  # the rest comes no further
    assert jubako.ok("exec", "one", "ls", "-ln", "/etc/small").split()[2:5] == ["7", "8", "100000"]
    jubako.ok("exec", "one", "head", "-c", "1", "/bin/busybox")
    for command, part in (
        (("cat", "/etc/small"), SMALL),
        (("dd", "if=/big", "bs=65536", "skip=160", "count=1"), BIG[10 * MIB :][:65536]),
    ):
        before = proxy.received
        out = jubako("exec", "one", "sh", "-c", f"{' '.join(command)} | sha256sum").stdout
        assert out.split()[0] == digest_of(part).partition(":")[2]
        assert (
            60_000 < proxy.received - before < 600_000
        )  # a part, or two where the kernel reads on
    proxy.resume()
    wait_until_complete(engine, layer)
    # The container goes on with what it has, others begin with the layer as pulls make it.
    assert sha256sum(jubako, "exec", "one", "sha256sum", "/big") == digest_of(BIG)
    jubako.ok("rm", "-f", "one")


def test_at_the_end_it_is_as_after_a_normal_pull(
    engine: Engine, jubako: Jubako, repository: Repository, layer: estargz.Layer, tmp_path: Path
) -> None:
    put(repository, layer)
    jubako.ok("pull", "--lazy", repository.name)
    wait_until_complete(engine, layer)
    assert b"".join(engine.images.layers.archive(digest_of(layer.tar))) == layer.tar
    assert jubako.ok("image", "verify") == "Nothing is damaged."
    other = Engine(str(tmp_path / "other"))
    try:
        other.images.pull(repository.name)
        lazily, usually = engine.images.list(), other.images.list()
        for one in (*lazily, *usually):
            del one["Created"]
        assert lazily == usually
    finally:
        other.close()
        shutil.rmtree(other.store.run_dir)


def test_what_shows_is_what_the_tar_has(
    engine: Engine, jubako: Jubako, repository: Repository, proxy: Proxy, layer: estargz.Layer
) -> None:
    put(repository, layer)
    name = f"{proxy.host}/{repository.path}"
    jubako.ok("pull", "--lazy", name)
    assert proxy.stalled.wait(10)
    arriving = tree_of(engine, name)
    assert not is_complete(engine, layer)
    proxy.resume()
    wait_until_complete(engine, layer)
    assert tree_of(engine, name) == arriving


def tree_of(engine: Engine, name: str) -> dict[str, tuple[Any, ...]]:
    """What each name of an image is, with the content of all files but the large one."""
    images = engine.images
    view = images.layers.open_view(images.diff_ids(images.resolve(name)), why="look at it")
    found: dict[str, tuple[Any, ...]] = {}
    try:
        root = Path(f"/proc/self/fd/{view}")
        for path in root.rglob("*"):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and path.name != "big" else b""
            target = os.readlink(path) if path.is_symlink() else ""
            owner = (status.st_uid, status.st_gid, status.st_mode, status.st_nlink)
            times = (status.st_mtime_ns, status.st_size * path.is_file())
            found[str(path.relative_to(root))] = (*owner, *times, target, content)
        return found
    finally:
        os.close(view)


def test_what_has_to_wait_until_it_is_here(
    engine: Engine,
    jubako: Jubako,
    repository: Repository,
    proxy: Proxy,
    layer: estargz.Layer,
    tmp_path: Path,
) -> None:
    put(repository, layer)
    name = f"{proxy.host}/{repository.path}"
    jubako.ok("pull", "--lazy", name)
    for command in (
        ("rmi", name),
        ("rmi", "-f", name),
        ("save", "-o", str(tmp_path / "file"), name),
        ("push", name),
        ("image", "verify", name),
    ):
        refused = jubako(*command)
        assert refused.status == 1 and "still arriving" in refused.stderr, command
    assert "still arriving" not in jubako.ok("pull", "--lazy", name)
    # A pull without the flag waits.
    waiting = jubako.start("pull", name)
    time.sleep(0.5)
    assert waiting.poll() is None
    proxy.resume()
    assert waiting.wait(30) == 0
    assert is_complete(engine, layer)
    wait_until_complete(engine, layer)
    jubako.ok("rmi", name)
