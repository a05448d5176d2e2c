"""Which limits a host can set, by the files that its cgroups have."""

from __future__ import annotations

from pathlib import Path

from jubako.linux.cgroups import Hierarchy, Layout
from jubako.linux.cgroups.support import supports


def test_v1_goes_by_the_files(tmp_path: Path) -> None:
    (tmp_path / "memory.limit_in_bytes").touch()
    (tmp_path / "memory.swappiness").touch()
    layout = Layout([Hierarchy(str(tmp_path), 1, ["memory", "blkio", "pids"])])
    assert supports(layout, "memory") and supports(layout, "swappiness")
    assert not supports(layout, "swap")
    assert supports(layout, "pids")  # the root has no pids.max
    assert not supports(layout, "blkio_weight") and not supports(layout, "cpuset")
    (tmp_path / "blkio.bfq.weight").touch()
    assert supports(layout, "blkio_weight")


def unified(tmp_path: Path, **groups: str) -> Layout:
    """A v2 hierarchy with these groups: the names of files, and what controllers are on."""
    for name, text in groups.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.controllers").write_text("cpu io memory pids\n")
        for file in text.split():
            (tmp_path / name / file).touch()
    return Layout([Hierarchy(str(tmp_path), 2, ["cpu", "io", "memory", "pids"])])


def test_v2_goes_by_the_files_of_a_group(tmp_path: Path) -> None:
    layout = unified(tmp_path, system="memory.max cpu.max cpu.weight pids.max io.max")
    for feature in ("memory", "cpu_cfs", "cpu_shares", "pids", "read_bps", "write_iops"):
        assert supports(layout, feature), feature
    for feature in ("swap", "blkio_weight", "blkio_weight_device", "cpuset"):
        assert not supports(layout, feature), feature
    (tmp_path / "system" / "memory.swap.max").touch()
    (tmp_path / "system" / "io.weight").touch()
    assert supports(layout, "swap") and supports(layout, "blkio_weight")


def test_v2_without_any_group_goes_by_the_controllers(tmp_path: Path) -> None:
    layout = unified(tmp_path)
    assert supports(layout, "memory") and supports(layout, "swap")
    assert not supports(layout, "cpuset")


def test_what_only_v1_has(tmp_path: Path) -> None:
    layout = unified(tmp_path)
    for feature in ("swappiness", "oom_kill_disable", "cpu_realtime"):
        assert not supports(layout, feature), feature
