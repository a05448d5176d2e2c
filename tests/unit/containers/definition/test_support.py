"""Limits that a kernel cannot set: Docker's warnings, and what becomes of the request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jubako.containers.definition import support
from jubako.errors import InvalidArgument
from jubako.linux.cgroups import Hierarchy, Layout


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A host with cgroup v1 and nothing but limits of memory, without swap accounting."""
    (tmp_path / "memory.limit_in_bytes").touch()
    layout = Layout([Hierarchy(str(tmp_path), 1, ["memory", "blkio", "cpu"])])
    monkeypatch.setattr(support, "_layout", lambda: layout)
    return layout


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("host", "left", "warning"),
    [
        ({"Memory": 1 << 30, "MemorySwap": 2 << 30}, {"Memory": 1 << 30, "MemorySwap": -1},
         "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
         "Memory limited without swap."),
        ({"MemorySwappiness": 0}, {"MemorySwappiness": None},
         "Your kernel does not support memory swappiness capabilities or the cgroup is not "
         "mounted. Memory swappiness discarded."),
        ({"MemoryReservation": 9 << 20}, {"MemoryReservation": 0},
         "Your kernel does not support memory soft limit capabilities or the cgroup is not "
         "mounted. Limitation discarded."),
        ({"OomKillDisable": True}, {"OomKillDisable": None},
         "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
        ({"PidsLimit": 5}, {"PidsLimit": None},
         "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
         "PIDs limit discarded."),
        ({"CpuShares": 5}, {"CpuShares": 0},
         "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."),
        ({"CpuPeriod": 5000, "CpuQuota": 5000}, {"CpuPeriod": 0, "CpuQuota": 0},
         "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."),
        ({"CpusetCpus": "0", "CpusetMems": "0"}, {"CpusetCpus": "", "CpusetMems": ""},
         "Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded."),
        ({"BlkioWeight": 5}, {"BlkioWeight": 0},
         "Your kernel does not support Block I/O weight or the cgroup is not mounted. "
         "Weight discarded."),
        ({"BlkioWeightDevice": [{}]}, {"BlkioWeightDevice": []},
         "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
         "Weight-device discarded."),
        ({"BlkioDeviceReadBps": [{}]}, {"BlkioDeviceReadBps": []},
         "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. "
         "Block I/O BPS read limit discarded."),
        ({"BlkioDeviceWriteIOps": [{}]}, {"BlkioDeviceWriteIOps": []},
         "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. "
         "Block I/O IOPS write limit discarded."),
        ({"CpuPercent": 5}, {"CpuPercent": 0},
         "linux does not support CPU percent. Percent discarded."),
    ],
)  # fmt: skip
def test_discarded(host: dict[str, Any], left: dict[str, Any], warning: str) -> None:
    assert support.discard(host) == [warning]
    assert host == left


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"NanoCpus": 1}, "NanoCPUs can not be set, as your kernel does not support CPU CFS"),
        ({"CpuRealtimeRuntime": 1}, "Your kernel does not support CPU real-time scheduler"),
    ],
)
def test_refused(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        support.discard(host)


@pytest.mark.usefixtures("bare")
def test_what_is_not_asked_for_is_not_missed() -> None:
    assert support.discard({"OomKillDisable": False, "MemorySwappiness": None}) == []
    host = {"PidsLimit": -1}
    assert support.discard(host) == []
    assert host == {"PidsLimit": None}


def test_no_memory_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = Layout([Hierarchy(str(tmp_path), 1, ["cpu"])])
    monkeypatch.setattr(support, "_layout", lambda: layout)
    host = {"Memory": 1 << 30}
    assert support.discard(host) == [
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded."
    ]
    assert host == {"Memory": 0, "MemorySwap": -1}


def test_kernel_memory_is_history() -> None:
    assert support.discard({}, kernel_memory=5) == [
        "Your kernel does not support kernel memory limit capabilities or the cgroup is not "
        "mounted. Limitation discarded."
    ]


def test_the_killer_is_off_and_nothing_is_limited() -> None:
    warnings = support.discard({"OomKillDisable": True})
    assert len(warnings) == 1 and "OOM" in warnings[0].upper()
