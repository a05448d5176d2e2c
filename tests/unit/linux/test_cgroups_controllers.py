"""cgroups: what is written into which file, on directories that stand in for the kernel's.

What the kernel makes of it is for tests/integration/test_linux_cgroups.py.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux.cgroups import Cgroup, Hierarchy, Layout, blkio, cpu, files, hugetlb, memory, pids
from jubako.linux.cgroups.devices import Rules


def tree(path: Path, *names: str, **contents: str) -> str:
    """Files that exist, as in a cgroup's directory."""
    for name in names:
        (path / name).write_text("")
    for name, text in contents.items():
        (path / name.replace("__", ".")).write_text(text)
    return str(path)


def texts(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir() if file.read_text()}


def test_memory_v2(tmp_path: Path) -> None:
    names = ("memory.max", "memory.swap.max", "memory.low")
    limits = {"limit": 1 << 20, "swap": 3 << 20, "reservation": 1 << 19}
    memory.apply_v2(tree(tmp_path, *names), limits)
    assert texts(tmp_path) == {
        "memory.max": "1048576",
        "memory.swap.max": "2097152",
        "memory.low": "524288",
    }
    tree(tmp_path, *names)
    memory.apply_v2(str(tmp_path), {"limit": -1})
    assert texts(tmp_path) == {"memory.max": "max", "memory.swap.max": "max"}


@pytest.mark.parametrize(
    ("limit", "swap", "expected"),
    [(0, 0, None), (10, 0, None), (-1, 0, -1), (10, -1, -1), (10, 10, 0), (10, 25, 15)],
)
def test_swap_is_a_sum_in_oci_and_alone_in_v2(limit: int, swap: int, expected: int | None) -> None:
    assert memory.swap_v2(limit, swap) == expected


@pytest.mark.parametrize(("limit", "swap"), [(0, 10), (10, 5)])
def test_impossible_swap_limits(limit: int, swap: int) -> None:
    with pytest.raises(InvalidArgument):
        memory.swap_v2(limit, swap)


def test_memory_v2_without_swap_accounting(tmp_path: Path) -> None:
    path = tree(tmp_path, "memory.max")
    memory.apply_v2(path, {"limit": 10, "swap": 10})  # no swap at all: nothing to limit
    with pytest.raises(KernelError) as caught:
        memory.apply_v2(path, {"limit": 10, "swap": 20})
    assert caught.value.errno == errno.ENOENT


def test_memory_v2_checks_before_it_would_kill(tmp_path: Path) -> None:
    path = tree(tmp_path, "memory.max", memory__current="100\n")
    with pytest.raises(KernelError) as caught:
        memory.apply_v2(path, {"limit": 50, "checkBeforeUpdate": True})
    assert caught.value.errno == errno.EBUSY
    assert "100 in use" in str(caught.value)


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000), (10_000_000, 10000), (1, 1)]
)
def test_cpu_weights(shares: int, weight: int) -> None:
    assert cpu.weight(shares) == weight


def test_cpu_v2_keeps_the_half_that_is_not_given(tmp_path: Path) -> None:
    path = tree(tmp_path, "cpu.weight", cpu__max="20000 50000\n")
    cpu.apply_v2(path, {"shares": 1024, "quota": 30000})
    assert texts(tmp_path)["cpu.max"].split("\n")[0] == "30000 50000"
    cpu.apply_v2(path, {"quota": -1, "period": 10000})
    assert texts(tmp_path)["cpu.max"].startswith("max 10000")
    assert texts(tmp_path)["cpu.weight"] == "39"


def test_pids(tmp_path: Path) -> None:
    path = tree(tmp_path, "pids.max", pids__current="3\n")
    for limit, text in ((7, "7"), (-1, "max")):
        (tmp_path / "pids.max").write_text("")
        pids.apply(path, {"limit": limit})
        assert (tmp_path / "pids.max").read_text() == text
    assert pids.stats(path) == {"current": 3, "limit": 0}
    pids.apply(path, {"limit": 0})
    pids.apply(path, {"limit": None})
    assert (tmp_path / "pids.max").read_text() == "max"


def test_blkio_v2(tmp_path: Path) -> None:
    path = tree(tmp_path, "io.weight", "io.max")
    device = {"major": 8, "minor": 16}
    blkio.apply_v2(path, {"weight": 1000, "throttleWriteIOPSDevice": [{**device, "rate": 50}]})
    assert texts(tmp_path) == {"io.weight": "10000", "io.max": "8:16 wiops=50"}
    assert blkio.weight_v2(10) == 1


def test_blkio_v1_prefers_the_file_that_exists(tmp_path: Path) -> None:
    path = tree(tmp_path, "blkio.bfq.weight", "blkio.throttle.read_bps_device")
    rate = {"major": 8, "minor": 0, "rate": 1024}
    blkio.apply_v1(path, {"weight": 300, "throttleReadBpsDevice": [rate]})
    assert texts(tmp_path) == {
        "blkio.bfq.weight": "300",
        "blkio.throttle.read_bps_device": "8:0 1024",
    }
    (tmp_path / "blkio.bfq.weight").unlink()
    with pytest.raises(KernelError) as caught:
        blkio.apply_v1(path, {"weight": 300})
    assert caught.value.errno == errno.ENOENT


def test_blkio_stats_have_one_shape(tmp_path: Path) -> None:
    v1, v2 = tmp_path / "v1", tmp_path / "v2"
    v1.mkdir()
    v2.mkdir()
    name = "blkio.throttle.io_service_bytes_recursive"
    (v1 / name).write_text("8:0 Read 4096\n8:0 Write 0\nTotal 4096\n")
    (v2 / "io.stat").write_text("8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n")
    expected = [
        {"major": 8, "minor": 0, "op": "Read", "value": 4096},
        {"major": 8, "minor": 0, "op": "Write", "value": 0},
    ]
    assert blkio.stats_v1(str(v1))["ioServiceBytesRecursive"] == expected
    assert blkio.stats_v2(str(v2))["ioServiceBytesRecursive"] == expected


def test_hugetlb(tmp_path: Path) -> None:
    path = tree(tmp_path, "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max")
    hugetlb.apply_v2(path, [{"pageSize": "2MB", "limit": 4 << 20}])
    assert set(texts(tmp_path).values()) == {str(4 << 20)}


def test_numbers_of_the_kernel(tmp_path: Path) -> None:
    path = tree(tmp_path, a="max\n", b=f"{0x7FFFFFFFFFFFF000}\n", c="12\n")
    read = [files.read_int(f"{path}/{name}") for name in ("a", "b", "c", "none")]
    assert read == [-1, -1, 12, 0]


def test_an_error_shows_path_and_data(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        files.write(f"{tmp_path}/none", "12")
    assert str(caught.value) == f"write {tmp_path}/none ('12'): No such file or directory"


def deny(kind: str = "a", **more: Any) -> dict[str, Any]:
    return {"allow": False, "type": kind, "access": "rwm", **more}


def allow(kind: str, major: int | None, minor: int | None, access: str = "rwm") -> dict[str, Any]:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


def test_device_rules_become_a_default_and_exceptions() -> None:
    rules = Rules([deny(), allow("c", 1, 3), allow("c", None, None, "m"), allow("b", 8, -1, "r")])
    assert rules.default is False
    assert rules.exceptions == {("c", 1, 3): "rwm", ("c", -1, -1): "m", ("b", 8, -1): "r"}


def test_later_device_rules_add_and_take_away() -> None:
    rules = Rules([deny(), allow("c", 1, 3, "rw"), allow("c", 1, 3, "m"), allow("c", 5, 0)])
    assert rules.exceptions == {("c", 1, 3): "rwm", ("c", 5, 0): "rwm"}
    rules = Rules([deny(), allow("c", 1, 3), deny("c", major=1, minor=3, access="w")])
    assert rules.exceptions == {("c", 1, 3): "rm"}
    rules = Rules([deny(), allow("c", 1, 3), {"allow": True}])
    assert (rules.default, rules.exceptions) == (True, {})
    rules = Rules([{"allow": True}, deny("b", major=8)])
    assert (rules.default, rules.exceptions) == (True, {("b", 8, -1): "rwm"})


@pytest.mark.parametrize("rule", [deny("z"), deny("c", access="x"), deny("a", major=1)])
def test_bad_device_rules(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Rules([rule])


def test_a_limit_whose_controller_is_missing(tmp_path: Path) -> None:
    group = Cgroup("/jubako-test/a", Layout([Hierarchy(str(tmp_path), 1, ["freezer"])]))
    group.create({"memory": {"limit": 0}, "pids": {"limit": 0}, "cpu": {"cpus": ""}})
    for resources in (
        {"memory": {"limit": 1}},
        {"pids": {"limit": 5}},
        {"cpu": {"cpus": "0"}},
        {"blockIO": {"weight": 100}},
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]},
    ):
        with pytest.raises(Unsupported, match="controller"):
            group.apply(resources)


def test_a_failed_create_leaves_nothing(tmp_path: Path) -> None:
    layout = Layout([Hierarchy(str(tmp_path), 1, ["freezer"])])
    group = Cgroup("/jubako-test/a", layout)
    with pytest.raises(Unsupported):
        group.create({"pids": {"limit": 5}})
    assert not group.exists()


def test_controllers_are_switched_on_from_the_top(tmp_path: Path) -> None:
    layout = Layout([Hierarchy(str(tmp_path), 2, ["cpu", "memory"])])
    for directory in (tmp_path, tmp_path / "parent", tmp_path / "parent/child"):
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text("cpu memory\n")
        (directory / "cgroup.subtree_control").write_text("")
    Cgroup("/parent/child", layout).create({})
    for directory in (tmp_path, tmp_path / "parent"):
        assert (directory / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert (tmp_path / "parent/child/cgroup.subtree_control").read_text() == ""
