"""Limits as OCI resources."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.containers.definition import config, resources
from jubako.errors import InvalidArgument


def limits(**host: Any) -> dict[str, Any]:
    _, merged, _ = config.merge({"Cmd": ["x"]}, host, None)
    return dict(resources.limits(merged))


def test_nothing_is_limited_by_default() -> None:
    assert limits() == {"memory": {"disableOOMKiller": False}, "blockIO": {}}


@pytest.mark.parametrize(
    ("host", "key", "expected"),
    [
        ({"Memory": 100, "MemorySwap": -1}, "memory",
         {"limit": 100, "swap": -1, "disableOOMKiller": False}),
        ({"Memory": 100}, "memory", {"limit": 100, "swap": 200, "disableOOMKiller": False}),
        ({"MemoryReservation": 9, "MemorySwappiness": 0}, "memory",
         {"reservation": 9, "swappiness": 0, "disableOOMKiller": False}),
        ({"NanoCpus": 1_500_000_000}, "cpu", {"period": 100_000, "quota": 150_000}),
        ({"CpuPeriod": 50_000, "CpuQuota": 25_000}, "cpu", {"period": 50_000, "quota": 25_000}),
        ({"CpuShares": 512, "CpusetCpus": "0-1", "CpusetMems": "0"}, "cpu",
         {"shares": 512, "cpus": "0-1", "mems": "0"}),
        ({"CpuRealtimePeriod": 10, "CpuRealtimeRuntime": 5}, "cpu",
         {"realtimePeriod": 10, "realtimeRuntime": 5}),
        ({"PidsLimit": 7}, "pids", {"limit": 7}),
        ({"PidsLimit": 0}, "pids", {"limit": -1}),
        ({"PidsLimit": -5}, "pids", {"limit": -1}),
        ({"BlkioWeight": 300}, "blockIO", {"weight": 300}),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1024}]}, "blockIO",
         {"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1024}]}),
        ({"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 20}]}, "blockIO",
         {"weightDevice": [{"major": 1, "minor": 3, "weight": 20}]}),
    ],
)  # fmt: skip
def test_limits(host: dict[str, Any], key: str, expected: dict[str, Any]) -> None:
    assert limits(**host)[key] == expected


def test_a_missing_block_device() -> None:
    with pytest.raises(InvalidArgument, match="^stat /no/such: no such file or directory$"):
        limits(BlkioDeviceWriteIOps=[{"Path": "/no/such", "Rate": 1}])
