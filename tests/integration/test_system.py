"""What `system df` says is what lies on the disk, and what comes back is what it promised."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako
from tests.integration.image_tools import seen

pytestmark = pytest.mark.root
OFF = {"NetworkMode": "none"}


def _bytes_below(path: Path) -> int:
    """The lengths of all files, each once however many names it has."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            found = os.lstat(f"{directory}/{name}")
            if not stat.S_ISDIR(found.st_mode):
                seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def _layer_bytes(engine: Engine, root: Path) -> int:
    """The trees of the layers, without what is kept beside them to write their tars again."""
    total = 0
    for path in (root / "layers").glob("[!.]*"):
        with seen(engine.images.layers, f"sha256:{path.name}") as top:
            total += _bytes_below(top)
    return total


def test_df_to_the_byte_and_prune(
    storage_driver: str, engine: Engine, busybox: str, root_dir: Path
) -> None:
    write = ["sh", "-c", "echo abc >/file; ln /file /other; ln -s /file /link; echo 12345 >/v/data"]
    binds = {**OFF, "Binds": ["named:/v"]}
    engine.containers.run(busybox, write, name="one", remove=False, host_config=binds)
    engine.containers.commit("one", "made:1")
    busy = engine.containers.run_detached(busybox, ["sleep", "1000"], host_config=OFF)
    usage = engine.system.disk_usage()
    assert usage["LayersSize"] == _layer_bytes(engine, root_dir)
    assert usage["ContainerUsage"]["TotalSize"] == sum(
        _bytes_below(path) for path in (root_dir / "containers").glob("*/upper")
    )
    assert usage["VolumeUsage"]["TotalSize"] == _bytes_below(root_dir / "volumes") == 6
    base = engine.images.inspect(busybox)["Size"]
    shared = {
        tag: image["SharedSize"] for image in usage["Images"] for tag in image["RepoTags"] or ()
    }
    assert shared == {"busybox:latest": base, "made:1": base}
    promised = usage["ImageUsage"]["Reclaimable"] + usage["ContainerUsage"]["Reclaimable"]
    done = engine.system.prune(all_images=True, volumes=True)
    assert done["SpaceReclaimed"] == promised > 0
    assert done["VolumesDeleted"] == []  # it has a name
    left = engine.system.disk_usage()
    assert left["LayersSize"] == _layer_bytes(engine, root_dir) == base
    assert [one["Id"] for one in left["Containers"]] == [busy]
    assert left["ContainerUsage"]["Reclaimable"] == left["ImageUsage"]["Reclaimable"] == 0


def test_prune_with_filters(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "one", "--label", "keep=1", busybox)
    jubako.ok("create", "--name", "two", "--label", "keep=0", busybox)
    assert jubako.ok("system", "prune", "-f", "--filter", "until=1h") == (
        "Total reclaimed space: 0B"
    )
    jubako.ok("container", "prune", "-f", "--filter", "label!=keep=0")
    assert jubako.ok("ps", "-a", "--format", "{{.Names}}") == "two"
    jubako.ok("system", "prune", "-f", "--filter", "label=keep")
    assert jubako.ok("ps", "-aq") == ""
    assert jubako.ok("images", "-q") != ""
    found = jubako("system", "prune", "-f", "--filter", "foo=x")
    assert (found.status, found.stderr) == (1, "jubako: invalid filter 'foo'\n")
    told = jubako.ok("events", "--since", "1h", "--until", "0s", "-f", "event=prune")
    kinds = [line.split()[1] for line in told.splitlines()]
    assert kinds == [
        *("container", "network", "image"),
        "container",
        *("container", "network", "image"),
    ]
