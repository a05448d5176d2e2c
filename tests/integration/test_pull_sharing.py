"""Interrupted pulls go on, pulls at the same time share their work, nothing is fetched twice."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from isal import isal_zlib

from jubako import Engine
from jubako.errors import JubakoError
from jubako.images.progress import Event
from jubako.oci import media
from tests.fixtures.engine import Jubako, use_storage_driver
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import Proxy, Repository, proxy_to, requests_in

MIB = 1 << 20
OVERHEAD = 64 << 10  # headers, the manifest, the config


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with proxy_to(registry) as running:
        yield running


@pytest.fixture
def repository(registry: Registry, tmp_path: Path) -> Repository:
    """One of the test's own, with the image `big` of one layer of 16 MiB and a small one."""
    made = Repository(registry, f"sharing/{tmp_path.name.replace('_', '-').lower()}")
    made.put_image([layer_of({"big": noise(16 * MIB)}), layer_of({"small": b"x"})], "big")
    return made


def partials(root: Path) -> list[Path]:
    directory = root / "content" / ".partial"
    return sorted(directory.iterdir()) if directory.exists() else []


def leftovers(root: Path) -> list[str]:
    """Temporary directories of layers and blobs."""
    found = [*(root / "layers/.ingest").glob("*"), *(root / "content/.ingest").glob("*")]
    return [path.name for path in found if path.name != "empty"]


def wait_for(condition: object, timeout_s: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def check_image(jubako: Jubako, name: str) -> None:
    """All of its layers are there and whole."""
    engine = Engine(str(jubako.root))
    try:
        for diff_id in engine.images.diff_ids(engine.images.resolve(name)):
            for _ in engine.images.layers.archive(diff_id):
                pass
    finally:
        engine.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_only_what_is_missing_comes_after_an_interruption(
    jubako: Jubako, repository: Repository, proxy: Proxy, how: signal.Signals
) -> None:
    name = f"{proxy.host}/{repository.path}:big"
    proxy.stall_after = 10 * MIB
    process = jubako.start("pull", name)
    assert proxy.stalled.wait(20)
    wait_for(lambda: sum(file.stat().st_size for file in partials(jubako.root)) > 6 * MIB)
    process.send_signal(how)
    process.wait(20)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    if how == signal.SIGINT:
        assert leftovers(jubako.root) == []
    kept = sum(file.stat().st_size for file in partials(jubako.root))
    assert 6 * MIB < kept <= 11 * MIB
    proxy.resume()
    time.sleep(0.2)  # what still was in the sockets of the dead process
    before = proxy.received
    plan = jubako.ok("pull", "--dry-run", name)
    assert "to fetch in 1 of 2 layers" in plan or "to fetch in 2 of 2 layers" in plan
    jubako.ok("pull", name)
    check_image(jubako, name)
    assert proxy.received - before < 16 * MIB - kept + 2 * OVERHEAD
    assert partials(jubako.root) == []
    assert leftovers(jubako.root) == []


def test_two_pulls_at_once_fetch_once(
    jubako: Jubako, repository: Repository, proxy: Proxy, registry: Registry
) -> None:
    name = f"{proxy.host}/{repository.path}:big"
    proxy.stall_after = 4 * MIB
    first = jubako.start("pull", name)
    assert proxy.stalled.wait(20)
    second = jubako.start("pull", name)
    time.sleep(1)
    assert second.poll() is None
    proxy.resume()
    outputs = [process.communicate(timeout=30) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert "Already exists" in outputs[1][0]
    assert "Pull complete" in outputs[0][0]
    blobs = requests_in(registry.log, f"GET /v2/{repository.path}/blobs/")
    assert len(set(blobs)) == 3
    # The small config may have been fetched by both.
    assert proxy.received < 17 * MIB
    check_image(jubako, name)


def test_a_pull_goes_on_from_the_bytes_of_one_that_was_killed_beside_it(
    jubako: Jubako, repository: Repository, proxy: Proxy
) -> None:
    name = f"{proxy.host}/{repository.path}:big"
    proxy.stall_after = 10 * MIB
    first = jubako.start("pull", name)
    assert proxy.stalled.wait(20)
    second = jubako.start("pull", name)
    wait_for(lambda: sum(file.stat().st_size for file in partials(jubako.root)) > 6 * MIB)
    time.sleep(0.5)
    first.kill()
    first.wait(10)
    proxy.resume()
    output = second.communicate(timeout=30)
    assert second.returncode == 0, output
    assert proxy.received < 20 * MIB  # and not twice 16
    check_image(jubako, name)


def test_layers_that_were_ready_are_not_fetched_again(
    jubako: Jubako, repository: Repository, registry: Registry
) -> None:
    name = f"{repository.name}:big"
    killed = jubako("pull", name, env={"JUBAKO_FAULT": "images.pull.layer"})
    assert killed.status == -signal.SIGKILL
    blobs = f"GET /v2/{repository.path}/blobs/"
    before = len(requests_in(registry.log, blobs))
    out = jubako.ok("pull", name)
    ready = re.findall(r"^(\w{12}): Already exists$", out, re.MULTILINE)
    assert ready
    again = requests_in(registry.log, blobs)[before:]
    assert not [line for line in again if any(f"sha256:{layer}" in line for layer in ready)]
    check_image(jubako, name)


def test_a_layer_that_fails_does_not_undo_the_others(
    engine: Engine, repository: Repository, registry: Registry
) -> None:
    good = layer_of({"good": noise(100_000, 1)})
    bad = layer_of({"bad": noise(100_000, 2)})
    put = repository.put_image([good, bad], "two")
    manifest = repository.registry.blob_path(put["digest"])
    layers = json.loads(manifest.read_text())["layers"]
    blob = registry.blob_path(layers[1]["digest"])
    kept = blob.read_bytes()
    blob.unlink()
    name = f"{repository.name}:two"
    with pytest.raises(JubakoError):
        engine.images.pull(name)
    assert engine.images.list(all=True) == []
    blob.write_bytes(kept)
    events: list[Event] = []
    engine.images.pull(name, progress=events.append)
    first = next(event for event in events if event.id == layers[0]["digest"][7:19])
    # It had come, or was broken off by the failure of the other before it had.
    assert first.status in ("Already exists", "Pulling fs layer")


def test_damaged_bytes_of_an_earlier_pull_are_fetched_anew(
    jubako: Jubako, repository: Repository
) -> None:
    name = f"{repository.name}:big"
    killed = jubako("pull", name, env={"JUBAKO_FAULT": "images.pull.appended:6"})
    assert killed.status == -signal.SIGKILL
    for file in partials(jubako.root):
        data = bytearray(file.read_bytes())
        if data:
            data[len(data) // 2] ^= 0xFF
            file.write_bytes(data)
    jubako.ok("pull", name)
    check_image(jubako, name)


def test_garbage_collection_meanwhile(
    jubako: Jubako, repository: Repository, proxy: Proxy, busybox: str
) -> None:
    name = f"{proxy.host}/{repository.path}:big"
    proxy.stall_after = 4 * MIB
    pulling = jubako.start("pull", name)
    assert proxy.stalled.wait(20)
    jubako.ok("image", "prune", "--all", "--force")
    jubako.ok("system", "prune", "--all", "--force")
    proxy.resume()
    output = pulling.communicate(timeout=30)
    assert pulling.returncode == 0, output
    check_image(jubako, name)
    assert jubako("image", "inspect", busybox).status == 1


_MEASURED = """
import re, sys
from jubako import Engine
Engine(sys.argv[1]).images.pull(sys.argv[2])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("driver", "layers"), [("overlay", 1), ("erofs", 6)])
def test_memory(
    root_dir: Path, registry: Registry, tmp_path: Path, driver: str, layers: int
) -> None:
    """480 MB, in one layer and in six at once: below 150 MB at any time."""
    use_storage_driver(root_dir, driver)
    repository = Repository(registry, f"memory/{layers}-{driver}")
    descriptors, diff_ids = [], []
    for number in range(layers):
        path = tmp_path / f"layer-{number}"
        diff_ids.append(write_layer(path, 480 * 10**6 // layers, number))
        descriptors.append(repository.put_blob(path, media.OCI_LAYER_GZIP))
        path.unlink()
    repository.put_manifest(descriptors, diff_ids, "big")
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(root_dir), f"{repository.name}:big"],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout) * 1024 < 150 * 10**6


def write_layer(path: Path, size: int, seed: int) -> str:
    """A gzip of a tar with one file, half as large; returns the diff ID."""
    entry = tarfile.TarInfo("file")
    entry.size = size
    block = noise(MIB, seed).hex().encode()
    hasher = hashlib.sha256()
    deflate = isal_zlib.compressobj(0, wbits=31)
    with path.open("wb") as out:

        def write(data: bytes) -> None:
            hasher.update(data)
            out.write(deflate.compress(data))

        write(entry.tobuf())
        for at in range(0, size, len(block)):
            write(block[: size - at])
        write(bytes(-size % 512 + 1024))
        out.write(deflate.flush())
    return f"sha256:{hasher.hexdigest()}"
