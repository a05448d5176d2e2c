"""What `system df` adds up is what `du` finds: `--all` to the block, the table to a few percent."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import Repository

pytestmark = pytest.mark.root
OFF = {"NetworkMode": "none"}
TOLERANCE = 0.03  # of lengths to du's: directories, and what a container has beside its files


def du(path: Path, *options: str) -> int:
    argv = ["du", "-sx", *options, str(path)]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()[0])


def fill(engine: Engine, root: Path, registry: Registry) -> str:
    """Images with a shared layer, kept blobs, a container that wrote, a volume, a download."""
    remote = Repository(registry, f"df/{abs(hash(str(root)))}")
    shared = layer_of({f"d{n}/file": noise(200_000, n) for n in range(10)})
    for tag in (1, 2):
        own = layer_of({"own": noise(1_000_000, 100 + tag), "text": b"line\n" * 100_000})
        remote.put_image([shared, own], str(tag))
    engine.images.pull(remote.name, all_tags=True)
    partial = root / "content/.partial" / f"sha256-{'a' * 64}"
    partial.write_bytes(noise(300_000, 7))
    return remote.name


def test_all_is_what_du_says(
    engine: Engine,
    jubako: Jubako,
    root_dir: Path,
    busybox: str,
    registry: Registry,
    storage_driver: str,
) -> None:
    fill(engine, root_dir, registry)
    write = ["sh", "-c", "head -c 500000 /dev/urandom | tee /file >/v/data; seq 20000"]
    binds = {**OFF, "Binds": ["named:/v"]}
    engine.containers.run(busybox, write, name="one", remove=False, host_config=binds)
    orphan = root_dir / "layers" / ("a" * 64)
    orphan.mkdir()
    (orphan / "file").write_bytes(b"x" * 50_000)
    (orphan / "link").hardlink_to(orphan / "file")
    rows = {row["Kind"]: row for row in engine.system.disk_account()}
    assert sum(row["Size"] for row in rows.values()) == du(root_dir, "--block-size=1")
    assert sum(row["Count"] for row in rows.values()) == len(set(inodes(root_dir)))
    assert set(rows) == {
        *("layers of images", "layers without image", "compressed layers", "manifests and configs"),
        *("interrupted downloads", "work in progress", "containers' files", "containers' logs"),
        *("volumes", "database", "reserve for a full disk", "other"),
    }
    assert rows["interrupted downloads"]["Size"] == du(
        root_dir / "content/.partial", "--block-size=1"
    )
    assert rows["volumes"]["Size"] == du(root_dir / "volumes", "--block-size=1")
    assert rows["layers without image"]["Size"] == du(orphan, "--block-size=1")
    assert rows["containers' logs"]["Size"] >= 108_894  # of `seq`, and each line in JSON
    assert rows["other"]["Size"] < 64 << 10
    table = jubako.ok("system", "df", "--all").splitlines()
    assert table[0].split() == ["KIND", "FILES", "ON", "DISK", "FREED", "BY"]
    assert table[-1].startswith("total ")
    told = [
        json.loads(line)
        for line in jubako.ok("system", "df", "--all", "--format", "json").splitlines()
    ]
    assert {row["Kind"] for row in told} == set(rows)


def inodes(root: Path) -> list[int]:
    return [root.lstat().st_ino, *(path.lstat().st_ino for path in root.rglob("*"))]


def test_the_table_is_what_du_says(
    engine: Engine, root_dir: Path, registry: Registry, storage_driver: str
) -> None:
    name = fill(engine, root_dir, registry)
    usage = engine.system.disk_usage()
    found = du(root_dir / "layers", "-b") + du(root_dir / "content", "-b")
    assert usage["ImageUsage"]["TotalSize"] == pytest.approx(found, rel=TOLERANCE)
    assert usage["ImageUsage"]["Reclaimable"] == usage["ImageUsage"]["TotalSize"]
    one, two = usage["Images"]
    assert one["SharedSize"] == two["SharedSize"] == 2_000_000
    assert [image["Size"] - image["SharedSize"] for image in (one, two)] == [1_500_000] * 2
    assert usage["LayersSize"] == 2_000_000 + 2 * 1_500_000  # what is shared counts once
    made = engine.containers.create({"Image": f"{name}:1", "Cmd": ["x"]}, OFF)["Id"]
    promised = engine.system.disk_usage()["ImageUsage"]
    removed, freed = engine.images.prune(all_unused=True)
    assert freed == promised["Reclaimable"] > 300_000
    left = engine.system.disk_usage()["ImageUsage"]
    assert left["TotalSize"] == promised["TotalSize"] - freed
    assert left["Reclaimable"] == 0
    found = du(root_dir / "layers", "-b") + du(root_dir / "content", "-b")
    assert left["TotalSize"] == pytest.approx(found, rel=TOLERANCE)
    engine.containers.remove(made)


@pytest.mark.parametrize("blobs", ["keep", "drop", "rebuild"])
def test_prune_frees_what_df_promised(
    engine: Engine, root_dir: Path, registry: Registry, blobs: str
) -> None:
    fill(engine, root_dir, registry)
    (root_dir / "config.json").write_text(json.dumps({"blobs": blobs}))
    from jubako import Engine as Another

    other = Another(str(root_dir))  # which reads the settings anew
    try:
        promised = other.system.disk_usage()["ImageUsage"]["Reclaimable"]
        before = du(root_dir, "-b")
        freed = other.images.prune(all_unused=True)[1]
        assert freed == promised
        assert before - du(root_dir, "-b") == pytest.approx(freed, rel=TOLERANCE)
    finally:
        other.close()
