"""SIGKILL at every step of a pull and of a push, and disks that fill: what is left is whole, the
next command cleans up, and the next try goes on where this one stopped."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jubako.errors import KernelError
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry, Stored
from tests.fixtures.engine import use_storage_driver
from tests.integration.fault_tools import full
from tests.integration.pull_tools import Root, layer_of, noise

_PROGRAM = """
import sys
from jubako.images import ImageService
from jubako.store import Store
images = ImageService(Store(sys.argv[1]))
getattr(images, sys.argv[2])(sys.argv[3])
"""
LAYERS = [layer_of({f"file{n}": noise(1_500_000, n)}) for n in range(3)]

PULL = [
    "images.pull.resolved",
    "images.pull.appended",
    "images.pull.appended:3",
    "images.layer.begin",
    "images.layer.begin:3",
    "images.pull.downloaded",
    "images.pull.downloaded:2",
    "images.layer.extracted",
    "images.layer.extracted:3",
    "images.pull.unpacked",
    "images.layer.synced",
    "images.layer.renamed",
    "images.pull.published",
    "images.pull.layer",
    "images.pull.fetched",
    "images.pull.kept",
    "images.pull.kept:2",
    "images.blob.synced",
    "images.blob.committed",
    "images.blob.committed:2",
    "images.pull.stored",
    "images.pull.recorded",
    "images.pull.done",
]
# All bytes of all layers were here by then.
COMPLETE = PULL.index("images.pull.fetched")
PUSH = ["images.push.sent", "images.blob.synced", "images.blob.committed", "images.push.recorded"]


@pytest.fixture
def root(
    root_dir: Path, tmp_path: Path, bad_registry: BadRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Root]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    found = Root(root_dir, bad_registry)
    yield found
    found.close()


@pytest.fixture
def image(bad_registry: BadRegistry) -> Stored:
    return bad_registry.add_image("app", LAYERS)


def start(root: Root, command: str, name: str, fault: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, "JUBAKO_FAULT": fault}
    argv = [sys.executable, "-c", _PROGRAM, str(root.path), command, f"{root.bad.host}/{name}"]
    return subprocess.Popen(argv, env=environment)


def fetched_bytes(bad: BadRegistry, image: Stored) -> int:
    """What was asked for of the layers, in bytes."""
    total = 0
    for request in bad.requests:
        digest = request.path.rpartition("/")[2]
        if request.method == "GET" and digest in image.layers:
            match = re.match(r"bytes=(\d+)-", request.headers.get("range", ""))
            total += len(bad.blobs[digest]) - (int(match[1]) if match else 0)
    return total


# --- pull ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", PULL)
def test_a_pull_killed_at_a_step(
    point: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    assert start(root, "pull", "app", point).wait(60) == -signal.SIGKILL, "was not reached"
    done = point == "images.pull.done"
    check_and_go_on(root, bad_registry, image, done=done)
    if PULL.index(point) >= COMPLETE:
        assert not fetched_bytes(bad_registry, image), "everything was here"


def check_and_go_on(root: Root, bad: BadRegistry, image: Stored, *, done: bool) -> None:
    """The next pull goes on with what this one has fetched, and leaves nothing of it."""
    before = [summary["RepoTags"] for summary in root.images.list()]
    assert before == ([[f"{bad.host}/app:latest"]] if done else [])
    kept = sum(root.partial().values())
    bad.behave()
    root.pull()
    root.check("app")
    assert root.partial() == {}
    total = sum(len(bad.blobs[digest]) for digest in image.layers)
    assert fetched_bytes(bad, image) <= total - kept


@pytest.mark.parametrize("point", ["images.pull.appended:3", "images.pull.unpacked", *PULL[10::2]])
def test_another_command_after_a_killed_pull(
    point: str, storage_driver: str, root: Root, image: Stored
) -> None:
    """It cleans up, and a pull succeeds all the same."""
    assert start(root, "pull", "app", point).wait(60) == -signal.SIGKILL
    done = ["app"] if point == "images.pull.done" else []
    root.images.recover()
    root.check(*done)
    root.pull()
    root.check("app")
    assert root.partial() == {}


@pytest.mark.parametrize("point", ["images.pull.appended", "images.layer.renamed"])
def test_other_commands_clean_up_after_a_killed_pull(point: str, root: Root, image: Stored) -> None:
    assert start(root, "pull", "app", point).wait(60) == -signal.SIGKILL
    root.images.import_tar(io.BytesIO(LAYERS[0]), f"{root.bad.host}/other:latest")
    root.check("other")
    root.images.remove(f"{root.bad.host}/other:latest")
    root.check()


@pytest.mark.parametrize("sent_bytes", [0, 1, 100_000, 1_400_000])
def test_a_pull_killed_in_the_middle_of_a_layer(
    sent_bytes: int, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    started = threading.Event()
    killed = threading.Event()

    def stop(good: faults.Answer, request: faults.Request) -> faults.Answer:
        def body() -> Iterator[bytes]:
            data = good.data
            yield data[:sent_bytes]
            started.set()
            killed.wait(30)
            yield data[sent_bytes:]

        return replace(good, body=body())

    bad_registry.on(f"GET .*{image.layers[1]}", stop)
    process = start(root, "pull", "app")
    assert started.wait(30)
    time.sleep(0.3)  # so that what was sent may arrive
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    killed.set()
    assert root.partial().get(image.layers[1], 0) <= sent_bytes
    check_and_go_on(root, bad_registry, image, done=False)


@pytest.mark.parametrize(
    "request_line", ["HEAD .*/manifests/", "GET .*/manifests/", "GET .*/blobs/{config}"]
)
def test_a_pull_killed_while_it_waits_for_the_registry(
    request_line: str, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    asked, killed = threading.Event(), threading.Event()
    bad_registry.on(request_line.format(config=image.config), wait_for(asked, killed))
    process = start(root, "pull", "app")
    assert asked.wait(30)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    killed.set()
    check_and_go_on(root, bad_registry, image, done=False)


def wait_for(asked: threading.Event, go_on: threading.Event) -> faults.Fault:
    """The good answer, but only when somebody says so."""

    def fault(good: faults.Answer, request: faults.Request) -> faults.Answer:
        asked.set()
        go_on.wait(30)
        return good

    return fault


def test_a_pull_beside_one_that_is_killed(
    root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    """It waits for the layer that the other one fetches, and takes over."""
    asked, killed = threading.Event(), threading.Event()
    bad_registry.on(f"GET .*{image.layers[0]}", wait_for(asked, killed), times=1)
    first = start(root, "pull", "app")
    assert asked.wait(30)
    second = start(root, "pull", "app")
    while len(bad_registry.lines("HEAD .*/manifests/")) < 2:
        assert second.poll() is None
    first.kill()
    assert first.wait(30) == -signal.SIGKILL
    assert second.wait(60) == 0
    killed.set()
    root.check("app")
    assert root.partial() == {}


# --- push ----------------------------------------------------------------------------------------


@pytest.fixture
def to_push(root: Root) -> Root:
    """With an image of three layers that no registry has."""
    name = f"{root.bad.host}/app:latest"
    parent = root.images.import_tar(io.BytesIO(LAYERS[0]))
    for layer in LAYERS[1:]:
        parent = root.images.commit(parent, io.BytesIO(layer), {})
    root.images.tag(parent, name)
    return root


@pytest.mark.parametrize("point", PUSH)
def test_a_push_killed_at_a_step(point: str, to_push: Root) -> None:
    assert start(to_push, "push", "app", point).wait(60) == -signal.SIGKILL, "was not reached"
    push_again(to_push)


@pytest.mark.parametrize(
    ("request_line", "skip"),
    [
        ("HEAD .*/blobs/", 0),
        ("POST .*/blobs/uploads/", 0),
        ("POST .*/blobs/uploads/", 2),
        ("PATCH", 0),
        ("PUT .*/blobs/uploads/", 0),
        ("PUT .*/blobs/uploads/", 2),
        ("PUT .*/manifests/", 0),
    ],
)
def test_a_push_killed_while_it_waits_for_the_registry(
    request_line: str, skip: int, to_push: Root
) -> None:
    asked, killed = threading.Event(), threading.Event()
    to_push.bad.on(request_line, wait_for(asked, killed), skip=skip)
    process = start(to_push, "push", "app")
    while not asked.wait(0.05):
        if process.poll() is not None:
            pytest.skip(f"a push sends no {request_line}")
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    killed.set()
    push_again(to_push)


def push_again(root: Root) -> None:
    """A push sends what is missing; whoever pulls it gets the image that was pushed."""
    images_before = {row[0] for row in root.store.db.execute("SELECT id FROM images")}
    root.images.recover()
    root.bad.behave()
    there = set(root.bad.blobs)
    [pushed] = root.images.push(f"{root.bad.host}/app")
    assert not [line for line in root.bad.lines("PUT") if any(digest in line for digest in there)]
    assert {row[0] for row in root.store.db.execute("SELECT id FROM images")} == images_before
    data, _ = root.bad.manifests["app", "latest"]
    assert root.bad.manifests["app", str(pushed.digest)][0] == data
    [pulled] = root.images.pull(f"{root.bad.host}/app")
    assert pulled.image_id in images_before
    assert pulled.status == "Image is up to date"


# --- a disk that fills ---------------------------------------------------------------------------


@pytest.fixture(params=["overlay", "erofs"])
def small_root(request: pytest.FixtureRequest, root_dir: Path, tmp_path: Path) -> Iterator[None]:
    """The root has 24 MB; the mount exists in the namespace of the tests alone."""
    root_dir.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tests", str(root_dir)]
    if request.param == "erofs":  # which no kernel mounts from files of a tmpfs
        image = tmp_path / "disk"
        with image.open("wb") as file:
            file.truncate(24 << 20)
        format = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(image)]
        subprocess.run(format, check=True)
        mount = ["mount", "-o", "loop", str(image), str(root_dir)]
    subprocess.run(mount, check=True)
    try:
        use_storage_driver(root_dir, request.param)
        yield
    finally:
        subprocess.run(["umount", "-l", root_dir], check=True)


@pytest.mark.parametrize("leave_bytes", [0, 200_000, 1_000_000, 2_500_000, 5_000_000, 8_500_000])
def test_a_pull_to_a_disk_that_fills(
    leave_bytes: int, small_root: None, root: Root, bad_registry: BadRegistry, image: Stored
) -> None:
    """Three layers of 1.5 MB, each of which is kept and unpacked."""
    root.images.recover()  # makes the directories
    with full(root.path, leave_bytes=leave_bytes):
        with pytest.raises(KernelError, match="No space left on device|disk is full|disk I/O"):
            root.pull()
    root.images.recover()
    root.check()
    root.pull()
    root.check("app")
    assert root.partial() == {}


# --- the tables above ----------------------------------------------------------------------------


def test_every_step_is_in_the_table(repository: Path) -> None:
    sources = (repository / "src/jubako/images").rglob("*.py")
    found = {
        name
        for path in sources
        for name in re.findall(r'\bpoint\("(images\.pu(?:ll|sh)\..+?)"\)', path.read_text())
    }
    assert found <= {point.partition(":")[0] for point in (*PULL, *PUSH)}
