"""`update`: which limits reach the kernel, which the record, and what is refused in whose words."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.containers import update
from jubako.containers.definition import config
from jubako.errors import Conflict, InvalidArgument

MB = 1 << 20


def host(**given: Any) -> Any:
    return config.merge({"Cmd": ["x"]}, given, None)[1]


def limits(old: Any, **request: Any) -> dict[str, Any]:
    return update._limits(old, request)


def test_only_what_changes_reaches_the_kernel() -> None:
    old = host(Memory=64 * MB, CpuShares=5, PidsLimit=7, MemorySwappiness=3)
    assert limits(old, CpuShares=9) == {"cpu": {"shares": 9}}
    assert limits(old, PidsLimit=-1) == {"pids": {"limit": -1}}
    assert limits(old, NanoCpus=1_500_000_000) == {"cpu": {"period": 100_000, "quota": 150_000}}
    assert limits(old, RestartPolicy={"Name": "always"}) == {}


def test_the_sum_of_memory_and_swap_stays_what_it_was() -> None:
    """In v2 swap is a limit of its own: when memory grows, it has to shrink."""
    old = host(Memory=64 * MB, MemorySwap=128 * MB)
    memory = limits(old, Memory=96 * MB)["memory"]
    assert memory == {"limit": 96 * MB, "swap": 128 * MB, "checkBeforeUpdate": True}
    memory = limits(old, MemorySwap=256 * MB)["memory"]
    assert (memory["limit"], memory["swap"]) == (64 * MB, 256 * MB)
    assert limits(old, MemorySwap=-1)["memory"]["swap"] == -1


def test_the_record_gets_the_changes() -> None:
    old = host(Memory=64 * MB, MemorySwap=-1, PidsLimit=5)
    new: Any = update._merged(old, {"Memory": 32 * MB, "PidsLimit": 0, "CpusetCpus": ""})
    assert {key: new[key] for key in new if new[key] != old[key]} == {"Memory": 32 * MB}
    policy = {"Name": "on-failure", "MaximumRetryCount": 3}
    new = update._merged(old, {"RestartPolicy": policy})
    assert new["RestartPolicy"] == policy and old["RestartPolicy"]["Name"] == "no"


@pytest.mark.parametrize(
    ("old", "request_", "message"),
    [
        ({"CpuPeriod": 5000}, {"NanoCpus": 5},
         "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"),
        ({"CpuQuota": 5000}, {"NanoCpus": 5},
         "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"),
        ({"NanoCpus": 5}, {"CpuPeriod": 5000},
         "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"),
        ({"NanoCpus": 5}, {"CpuQuota": 5000},
         "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        ({"Memory": 10, "MemorySwap": 20}, {"Memory": 30},
         "Memory limit should be smaller than already set memoryswap limit, update the memoryswap "
         "at the same time"),
        ({"AutoRemove": True}, {"RestartPolicy": {"Name": "always"}},
         "Restart policy cannot be updated because AutoRemove is enabled for the container"),
    ],
)  # fmt: skip
def test_conflicts(old: dict[str, Any], request_: dict[str, Any], message: str) -> None:
    with pytest.raises(Conflict) as caught:
        update._merged(host(**old), request_)
    assert str(caught.value) == message


def test_what_undoes_an_update() -> None:
    old = host(Memory=64 * MB, CpuShares=5)
    new = limits(old, Memory=32 * MB, MemorySwap=64 * MB, CpuShares=7, CpusetCpus="0", PidsLimit=3)
    undo = update.as_in(old, new)
    assert undo["memory"] == {"limit": 64 * MB, "swap": 128 * MB}
    assert undo["cpu"]["shares"] == 5 and undo["cpu"]["cpus"]
    assert undo["pids"] == {"limit": -1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Memory": 5 * MB}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": "5"}, "invalid value of HostConfig.Memory: wrong type"),
        ({"Memory": True}, "invalid value of HostConfig.Memory: wrong type"),
        ({"CpusetCpus": 5}, "invalid value of HostConfig.CpusetCpus: wrong type"),
        ({"CpusetCpus": "8000"}, "Requested CPUs are not available"),
        ({"RestartPolicy": "always"}, "invalid value of HostConfig.RestartPolicy: wrong type"),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": "3"}},
         "invalid value of HostConfig.RestartPolicy: wrong type"),
        ({"RestartPolicy": {"Name": "foo"}}, "invalid restart policy: unknown policy 'foo'"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}},
         "maximum retry count can only be used with 'on-failure'"),
        ({"Privileged": True}, "cannot update Privileged: only limits and the restart policy"),
        ({"NanoCpus": 1, "CpuQuota": 5000}, "Nano CPUs and CPU Quota cannot both be set"),
    ],
)  # fmt: skip
def test_values_that_nothing_can_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        update._checked(changes)
