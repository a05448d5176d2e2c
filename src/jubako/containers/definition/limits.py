"""What the limits of a container must fulfil, with Docker's sentences when they do not."""

from __future__ import annotations

import os

from jubako.containers.definition import cpulist
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.model import HostConfig

MIN_MEMORY_BYTES = 6 << 20  # what a start itself needs, with room
ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
    "stack".split()
)


def check_resources(host: HostConfig, *, update: bool = False) -> None:
    """Check limits.  update: they change those of a container.  Raises InvalidArgument."""
    _check_memory(host, update=update)
    _check_cpu(host)


def _check_memory(host: HostConfig, *, update: bool) -> None:
    memory, swap, soft = host["Memory"], host["MemorySwap"], host["MemoryReservation"]
    if memory and memory < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if 0 < swap < memory:
        raise InvalidArgument(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if memory == 0 and swap > 0 and not update:
        raise InvalidArgument(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if swap < -1:
        raise InvalidArgument(f"invalid memory swap: {swap}")
    swappiness = host["MemorySwappiness"]
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )
    if 0 < soft < MIN_MEMORY_BYTES:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if memory and memory < soft:
        raise InvalidArgument(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if host["ShmSize"] < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host["OomScoreAdj"] <= 1000:
        raise InvalidArgument(
            f"Invalid value {host['OomScoreAdj']}, range for oom score adj is [-1000, 1000]"
        )


def _check_cpu(host: HostConfig) -> None:
    nano, period, quota = host["NanoCpus"], host["CpuPeriod"], host["CpuQuota"]
    if nano > 0 and period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if nano > 0 and quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    count = os.cpu_count() or 1
    if nano and not 0 < nano <= count * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"
        )
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host["CpuShares"] < 0:
        raise InvalidArgument(
            f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer"
        )
    if 0 < host["CpuRealtimePeriod"] < host["CpuRealtimeRuntime"]:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")
    if host["BlkioWeight"] and not 10 <= host["BlkioWeight"] <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if host["CpusetCpus"]:
        cpulist.check_cpus(host["CpusetCpus"])
    if host["CpusetMems"]:
        cpulist.check_mems(host["CpusetMems"])


def check_disks(host: HostConfig) -> None:
    """Check limits of single disks.  Raises InvalidArgument."""
    for key, entries, what in (
        ("BlkioWeightDevice", host["BlkioWeightDevice"], "Weight"),
        ("BlkioDeviceReadBps", host["BlkioDeviceReadBps"], "Rate"),
        ("BlkioDeviceWriteBps", host["BlkioDeviceWriteBps"], "Rate"),
        ("BlkioDeviceReadIOps", host["BlkioDeviceReadIOps"], "Rate"),
        ("BlkioDeviceWriteIOps", host["BlkioDeviceWriteIOps"], "Rate"),
    ):
        for entry in entries:
            path, value = entry.get("Path"), entry.get(what)
            if not isinstance(path, str) or "\0" in path or type(value) is not int or value < 0:
                raise InvalidArgument(
                    f"invalid value of HostConfig.{key}: it needs a Path and a {what}", subject=key
                )


def check_ulimit(name: str, soft: int, hard: int) -> None:
    """Check a limit of the processes (setrlimit(2)); -1 is none.  Raises InvalidArgument."""
    if name.lower() not in ULIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}", subject=name)
    for value in (soft, hard):
        if type(value) is not int or value < -1:
            raise InvalidArgument(f"invalid ulimit argument: {name}={soft}:{hard}", subject=name)
    if hard != -1 and soft == -1:
        raise InvalidArgument(
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), "
            f"hard: {hard}",
            subject=name,
        )
    if hard != -1 and soft > hard:
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}",
            subject=name,
        )
