"""SIGKILL at each named step of making and removing images: the next command finds a clean root."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.images import ImageService
from jubako.store import Store

_PROGRAM = """
import sys
from jubako.images import ImageService
from jubako.store import Store
images = ImageService(Store(sys.argv[1]))
command, argument = sys.argv[2:]
if command == "import":
    images.import_tar(open(argument, "rb"), "new:1")
elif command == "load":
    images.load(open(argument, "rb"))
elif command == "remove":
    images.remove(argument)
elif command == "prune":
    images.prune(all_unused=True)
"""

POINTS = {
    "import": [
        "images.layer.begin",
        "images.layer.extracted",
        "images.layer.synced",
        "images.layer.renamed",
        "images.blob.synced",
        "images.blob.committed",
        "images.import.published",
        "images.import.recorded",
        "images.import.done",
    ],
    "load": [
        "images.layer.begin",
        "images.layer.extracted",
        "images.layer.extracted:2",
        "images.load.read",
        "images.layer.synced",
        "images.layer.renamed",
        "images.layer.renamed:2",
        "images.blob.synced",
        "images.blob.committed",
        "images.load.published",
        "images.load.recorded",
        "images.load.done",
    ],
    "remove": [
        "images.remove.recorded",
        "images.collect.forgotten",
        "images.collect.renamed",
    ],
    "prune": ["images.prune.recorded", "images.collect.forgotten", "images.collect.renamed"],
}
# Reached after the change was committed.
DONE = {"images.import.done", "images.load.done", "images.collect.forgotten"}
DONE |= {"images.collect.renamed"}


def layer(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
    return out.getvalue()


@pytest.fixture
def images(root_dir: Path, storage_driver: str) -> Iterator[ImageService]:
    store = Store(str(root_dir))
    service = ImageService(store)
    service.import_tar(io.BytesIO(layer(old="1")), "old:1")
    yield service
    store.close()


@pytest.fixture
def arguments(tmp_path: Path, images: ImageService) -> dict[str, str]:
    """What each command works on."""
    (tmp_path / "new.tar").write_bytes(layer(new="1" * 5000))
    service = images
    parent = service.import_tar(io.BytesIO(layer(a="1")), "saved:1")
    service.commit(parent, io.BytesIO(layer(b="2")), {}, reference="saved:2")
    with open(tmp_path / "saved.tar", "wb") as out:
        service.save(["saved:2"], out)
    service.remove("saved:2")
    service.remove("saved:1")
    return {
        "import": str(tmp_path / "new.tar"),
        "load": str(tmp_path / "saved.tar"),
        "remove": "old:1",
        "prune": "",
    }


def run(root: str, command: str, argument: str, fault: str = "") -> int:
    environment = {**os.environ, "JUBAKO_FAULT": fault}
    argv = [sys.executable, "-c", _PROGRAM, root, command, argument]
    return subprocess.run(argv, env=environment, timeout=60).returncode


def consistent(images: ImageService) -> None:
    """Disk and database agree, nothing temporary is left, every layer is whole."""
    root = Path(images.store.path)
    known = {row[0] for row in images.store.db.execute("SELECT diff_id FROM layers")}
    used = {row[0] for row in images.store.db.execute("SELECT diff_id FROM image_layers")}
    assert known == used
    on_disk = {f"sha256:{name}" for name in os.listdir(root / "layers") if name != ".ingest"}
    assert on_disk == known
    assert os.listdir(root / "layers" / ".ingest") == []
    assert os.listdir(root / "content" / ".ingest") == []
    blobs = {f"sha256:{name}" for name in os.listdir(root / "content" / "sha256")}
    assert blobs == {row[0] for row in images.store.db.execute("SELECT id FROM images")}
    for diff_id in known:
        for _ in images.layers.archive(diff_id):
            pass


CASES = [(command, point) for command, points in POINTS.items() for point in points]


@pytest.mark.parametrize(("command", "point"), CASES)
def test_killed_at_a_step(
    images: ImageService, arguments: dict[str, str], command: str, point: str
) -> None:
    before = [summary["Id"] for summary in images.list(all=True)]
    status = run(images.store.path, command, arguments[command], point)
    assert status == -signal.SIGKILL, "the step was not reached"
    after = [summary["Id"] for summary in images.list(all=True)]
    assert (after != before) == (point in DONE)
    # The next change of images, whatever it is, cleans up.
    images.import_tar(io.BytesIO(layer(other="1")), "other:1")
    consistent(images)
    # And the same command succeeds now.
    if command != "remove" or point not in DONE:
        assert run(images.store.path, command, arguments[command]) == 0
    consistent(images)


def test_every_step_is_in_the_table(repository: Path) -> None:
    sources = (repository / "src/jubako/images").rglob("*.py")
    found = {
        name for path in sources for name in re.findall(r'\bpoint\("(.+?)"\)', path.read_text())
    }
    # Their cases: test_pull_kills.py, test_image_verify.py, test_lazy_faults.py.
    elsewhere = ("images.pull.", "images.push.", "images.verify.", "images.lazy.")
    found = {name for name in found if not name.startswith(elsewhere)}
    assert found == {point.partition(":")[0] for _, point in CASES}


def test_a_living_process_is_not_disturbed(images: ImageService, tmp_path: Path) -> None:
    """`recover` and removals beside an import that is still reading its input."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [sys.executable, "-c", _PROGRAM, images.store.path, "import", str(fifo)]
    process = subprocess.Popen(argv)
    data = layer(slow="x" * 100_000)
    with open(fifo, "wb") as out:
        out.write(data[:70_000])
        out.flush()
        ingest = Path(images.store.path) / "layers" / ".ingest"
        while not any(path.name in ("slow", "index") for path in ingest.rglob("*")):
            assert process.poll() is None
        images.recover()
        images.remove("old:1")
        out.write(data[70_000:])
    assert process.wait(30) == 0
    assert [summary["RepoTags"] for summary in images.list()] == [["new:1"]]
    images.collect()
    consistent(images)
