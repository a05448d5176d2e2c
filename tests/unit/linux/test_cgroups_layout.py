"""cgroups: which hierarchies a host has."""

from __future__ import annotations

from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, Unsupported
from jubako.linux.cgroups import Cgroup, Hierarchy, Layout, detect

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:30 / /elsewhere/memory rw - cgroup cgroup rw,memory
"""
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
UNIFIED = "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def unified(tmp_path: Path, directory: str, controllers: str) -> str:
    path = tmp_path / directory.lstrip("/")
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text(controllers)
    return str(tmp_path)


def test_v1() -> None:
    layout = detect(V1)
    assert layout.kind == "v1"
    assert layout.v2 is None
    assert [hierarchy.path for hierarchy in layout.v1] == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/systemd",
    ]
    cpu = layout.find("cpuacct")
    assert cpu is not None
    assert cpu is layout.find("cpu")
    assert layout.v1[2].name == "systemd"
    assert layout.find("pids") is None


def test_v2(tmp_path: Path) -> None:
    root = unified(tmp_path, "/sys/fs/cgroup", "cpu io memory pids\n")
    layout = detect(V2, root)
    assert layout.kind == "v2"
    memory = layout.find("memory")
    assert memory is not None
    assert (memory.version, memory.path) == (2, f"{root}/sys/fs/cgroup")


def test_hybrid(tmp_path: Path) -> None:
    root = unified(tmp_path, "/sys/fs/cgroup/unified", "hugetlb\n")
    layout = detect(V1 + UNIFIED, root)
    assert layout.kind == "hybrid"
    versions = {name: layout.find(name) for name in ("memory", "hugetlb")}
    assert {name: found.version for name, found in versions.items() if found} == {
        "memory": 1,
        "hugetlb": 2,
    }


def test_v2_beside_a_named_v1_hierarchy_is_v2(tmp_path: Path) -> None:
    root = unified(tmp_path, "/sys/fs/cgroup/unified", "cpu memory\n")
    text = "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    layout = detect(text + UNIFIED, root)
    assert (layout.kind, layout.v1) == ("v2", [])


def test_no_cgroups() -> None:
    with pytest.raises(Unsupported):
        detect("22 1 254:1 / / rw - ext4 /dev/vda1 rw\n")


@pytest.mark.parametrize("path", ["", "/", "/a/../b", "."])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(InvalidArgument):
        Cgroup(path, Layout([Hierarchy("/none", 2, [])]))


def test_this_machine() -> None:
    assert detect().kind in ("v1", "v2", "hybrid")
