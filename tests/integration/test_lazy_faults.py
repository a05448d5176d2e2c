"""Lazy layers that lie, registries that cannot, helpers that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.engine import Jubako
from tests.integration import estargz
from tests.integration.lazy_tools import (
    MIB,
    SMALL,
    busybox_layer,
    helpers,
    is_complete,
    put,
    wait,
    wait_for_end,
    wait_until_complete,
)
from tests.integration.registry_images import Proxy, Repository, digest_of

JSON = dict[str, Any]


def entry_of(toc: JSON, name: str) -> JSON:
    found: JSON = next(one for one in toc["entries"] if one["name"] == name)
    return found


# --- tables of contents that lie -----------------------------------------------------------------


def _set(name: str, key: str, value: Any) -> Callable[[JSON], None]:
    return lambda toc: entry_of(toc, name).__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("etc/small", "name", "../../etc/passwd"), "leads out of the archive"),
        (_set("etc/small", "offset", 1 << 40), "beyond the table of contents"),
        (_set("etc/small", "offset", -1), "offset is -1"),
        (_set("etc/small", "size", 1 << 60), "size is"),
        (_set("etc/small", "size", 1 << 40), "more than"),
        (_set("big", "chunkDigest", ""), "has no chunkDigest"),
        (_set("etc/small", "type", "socket"), "unknown"),
        (_set("etc/link", "linkName", "nowhere"), "invalid hard link"),
        (lambda toc: toc.update(version=2), "no version 1"),
        (lambda toc: toc.update(entries=7), "no version 1"),
        (lambda toc: toc["entries"].append([]), "no object"),
        (lambda toc: toc["entries"].extend([{"name": "x" * 5000, "type": "dir"}]), "no name"),
    ],
)
def test_a_table_that_no_writer_makes_is_refused(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    change: Callable[[JSON], None],
    words: str,
) -> None:
    put(lazy_repository, busybox_layer(change=change))
    refused = jubako("pull", "--lazy", lazy_repository.name)
    assert refused.status == 1
    assert words in refused.stderr
    wait_for_end(engine)
    assert engine.images.list() == []


def test_a_table_of_another_digest_is_refused(
    engine: Engine, jubako: Jubako, lazy_repository: Repository
) -> None:
    layer = busybox_layer()
    put(lazy_repository, layer._replace(toc_digest=digest_of(b"another")))
    refused = jubako("pull", "--lazy", lazy_repository.name)
    assert refused.status == 1
    assert "table of contents: expected" in refused.stderr
    wait_for_end(engine)


def test_content_that_the_table_does_not_promise_cannot_be_read(
    engine: Engine, jubako: Jubako, lazy_repository: Repository, slow_proxy: Proxy
) -> None:
    layer = busybox_layer(change=_set("etc/small", "chunkDigest", digest_of(b"another")))
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    run = ("run", "--lazy", "--rm", "--network", "none", name)
    failed = jubako(*run, "cat", "/etc/small")
    assert failed.status == 1
    assert "Input/output error" in failed.stderr
    assert failed.stdout == ""
    log = Path(engine.store.run_dir, "lazy.log").read_text()
    assert f"expected {digest_of(b'another')}, found {digest_of(SMALL)}" in log
    slow_proxy.resume()
    wait_for_end(engine)
    # The blob is what the manifest promises: by a pull the image is whole.
    jubako.ok("pull", name)
    assert is_complete(engine, layer)
    assert jubako("run", "--rm", "--network", "none", name, "cat", "/etc/small").status == 0


# --- where it is not possible --------------------------------------------------------------------


def test_without_a_table_it_is_a_normal_pull(
    engine: Engine, jubako: Jubako, lazy_repository: Repository
) -> None:
    layer = busybox_layer()
    lazy_repository.put_image([layer.tar], "latest")
    pulled = jubako.ok("pull", "--lazy", lazy_repository.name)
    assert "cannot start before it is here: its layers have no table of contents" in pulled
    assert is_complete(engine, layer)


def test_with_the_overlay_driver_it_is_a_normal_pull(
    engine: Engine, jubako: Jubako, lazy_repository: Repository
) -> None:
    Path(engine.store.path, "config.json").write_text('{"storage-driver": "overlay"}')
    layer = busybox_layer()
    put(lazy_repository, layer)
    assert "needs the storage driver erofs" in jubako.ok("pull", "--lazy", lazy_repository.name)
    assert is_complete(engine, layer)


def test_on_a_file_system_without_such_events_it_is_a_normal_pull(
    lazy_repository: Repository, tmp_path: Path
) -> None:
    layer = busybox_layer()
    put(lazy_repository, layer)
    root = tmp_path / "tmpfs"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root], check=True)
    other = Jubako(root / "root")
    engine = Engine(str(root / "root"))
    try:
        pulled = other.ok("pull", "--lazy", lazy_repository.name)
        assert "cannot start before it is here: it needs" in pulled
        assert is_complete(engine, layer)
    finally:
        engine.close()
        other.close()
        shutil.rmtree(engine.store.run_dir)
        subprocess.run(["umount", "-l", root], check=True)


def test_a_registry_without_ranges_gets_a_normal_pull(
    engine: Engine, jubako: Jubako, bad_registry: BadRegistry
) -> None:
    bad_registry.ranges = "ignored"
    layer = busybox_layer()
    put_bad(bad_registry, layer)
    pulled = jubako.ok("pull", "--lazy", f"{bad_registry.host}/app")
    assert "serves no ranges" in pulled
    assert is_complete(engine, layer)
    wait_for_end(engine)


def put_bad(bad: BadRegistry, layer: estargz.Layer) -> None:
    stored = bad.add_image("app", [layer.tar])
    blob = bad.describe(estargz.MEDIA_TYPE, layer.blob)
    blob["annotations"] = {estargz.TOC_ANNOTATION: layer.toc_digest}
    bad.add_manifest("app", {**stored.manifest, "layers": [blob]})


# --- killed --------------------------------------------------------------------------------------


@pytest.fixture
def running(
    jubako: Jubako, engine: Engine, lazy_repository: Repository, slow_proxy: Proxy
) -> Iterator[estargz.Layer]:
    """A container `one` whose layer does not come further than its beginning."""
    layer = busybox_layer()
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    jubako.ok("run", "-d", "--lazy", "--name", "one", "--network", "none", name, "sleep", "1000")
    jubako.ok("exec", "one", "true")
    assert slow_proxy.stalled.wait(10)
    yield layer
    jubako.ok("rm", "-f", "one")
    slow_proxy.resume()
    wait(lambda: not helpers(Path(engine.store.path)), "the helper has not ended")


def wait_until_gone(root: Path, pid: int) -> None:
    wait(lambda: pid not in helpers(root), "the worker has not died")


def small_is_right(jubako: Jubako) -> bool:
    out = jubako("exec", "one", "sha256sum", "/etc/small", timeout_s=20)
    return out.stdout.split()[:1] == [digest_of(SMALL).partition(":")[2]]


@pytest.mark.parametrize("who", ["guardian", "worker"])
def test_one_of_the_helpers_is_killed(
    jubako: Jubako, engine: Engine, slow_proxy: Proxy, running: estargz.Layer, who: str
) -> None:
    guardian, worker = helpers(Path(engine.store.path))
    os.kill(guardian if who == "guardian" else worker, signal.SIGKILL)
    assert small_is_right(jubako)
    slow_proxy.resume()
    wait_until_complete(engine, running)
    assert jubako.ok("exec", "one", "sha256sum", "/big")


@pytest.mark.parametrize("who", ["guardian", "worker"])
def test_one_of_the_helpers_is_killed_while_somebody_waits(
    jubako: Jubako, engine: Engine, slow_proxy: Proxy, running: estargz.Layer, who: str
) -> None:
    guardian, worker = helpers(Path(engine.store.path))
    os.kill(worker, signal.SIGSTOP)
    reading = jubako.start("exec", "one", "sha256sum", "/etc/small")
    time.sleep(0.5)
    assert reading.poll() is None
    os.kill(guardian if who == "guardian" else worker, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGCONT)
    out, _ = reading.communicate(timeout=20)
    assert out.split()[:1] == [digest_of(SMALL).partition(":")[2]]


def test_no_container_starts_with_what_both_have_left(
    jubako: Jubako,
    engine: Engine,
    slow_proxy: Proxy,
    running: estargz.Layer,
    lazy_repository: Repository,
) -> None:
    for pid in helpers(Path(engine.store.path)):
        os.kill(pid, signal.SIGKILL)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    failed = jubako("run", "--rm", "--network", "none", name, "true")
    assert failed.status == 125
    assert "pull the image again" in failed.stderr
    slow_proxy.resume()
    jubako.ok("pull", name)
    assert is_complete(engine, running)
    jubako.ok("run", "--rm", "--network", "none", name, "true")


def test_the_command_is_killed_before_the_image_is_written_down(
    jubako: Jubako, engine: Engine, lazy_repository: Repository
) -> None:
    layer = busybox_layer()
    put(lazy_repository, layer)
    fault = {"JUBAKO_FAULT": "images.pull.stored"}
    assert jubako("pull", "--lazy", lazy_repository.name, env=fault).status == -signal.SIGKILL
    wait_for_end(engine)
    assert engine.images.list() == []
    jubako.ok("pull", "--lazy", lazy_repository.name)
    wait_until_complete(engine, layer)


def test_a_worker_that_dies_again_and_again_leaves_errors_and_no_zeros(
    jubako: Jubako, engine: Engine, running: estargz.Layer
) -> None:
    root = Path(engine.store.path)
    for _ in range(7):
        pids = helpers(root)
        if len(pids) < 2:
            break
        os.kill(pids[1], signal.SIGKILL)
        wait_until_gone(root, pids[1])
        time.sleep(0.5)
    failed = jubako("exec", "one", "cat", "/etc/small")
    assert failed.status != 0 and failed.stdout == ""


@pytest.mark.parametrize("point", ["images.lazy.filled", "images.layer.renamed"])
def test_the_worker_is_killed_at_each_try_to_finish(
    jubako: Jubako, engine: Engine, lazy_repository: Repository, slow_proxy: Proxy, point: str
) -> None:
    layer = busybox_layer()
    put(lazy_repository, layer)
    slow_proxy.resume()
    slow_proxy.stall_each = None
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    jubako.ok("pull", "--lazy", name, env={"JUBAKO_FAULT": point})
    wait(lambda: not helpers(Path(engine.store.path)), "the helper has not ended")
    assert not is_complete(engine, layer)
    # What has come is not fetched again.
    before = slow_proxy.received
    jubako.ok("pull", name)
    assert is_complete(engine, layer)
    assert slow_proxy.received - before < MIB
    wait_for_end(engine)
    assert jubako.ok("image", "verify") == "Nothing is damaged."


def test_the_worker_is_killed_before_anything_can_start(
    jubako: Jubako, engine: Engine, lazy_repository: Repository
) -> None:
    put(lazy_repository, busybox_layer())
    fault = {"JUBAKO_FAULT": "images.lazy.prepared"}
    failed = jubako("pull", "--lazy", lazy_repository.name, env=fault)
    assert failed.status == 1
    assert "the process that fetches the layers has died" in failed.stderr
    wait_for_end(engine)
    assert engine.images.list() == []
