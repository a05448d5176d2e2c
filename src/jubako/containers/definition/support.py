"""What this host's kernel cannot do is taken out of a request, with Docker's warning.

Docker starts the container without such a limit; so do we, and say so.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.linux.cgroups import Layout

_MEMORY = "Your kernel does not support {} capabilities or the cgroup is not mounted. {} discarded."
_THROTTLE = (
    "Your kernel does not support {0} limit or the cgroup is not mounted. Block I/O {1} limit "
    "discarded."
)
# key, feature, warning, what takes its place; in the order in which Docker warns
_DISCARDED: tuple[tuple[str, str, str, object], ...] = (
    (
        "MemorySwappiness",
        "swappiness",
        _MEMORY.format("memory swappiness", "Memory swappiness"),
        None,
    ),
    ("MemoryReservation", "reservation", _MEMORY.format("memory soft limit", "Limitation"), 0),
    (
        "OomKillDisable",
        "oom_kill_disable",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        None,
    ),
    ("PidsLimit", "pids", _MEMORY.format("PIDs limit", "PIDs limit"), None),
    (
        "CpuShares",
        "cpu_shares",
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
        0,
    ),
    (
        "BlkioWeight",
        "blkio_weight",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. "
        "Weight discarded.",
        0,
    ),
    (
        "BlkioWeightDevice",
        "blkio_weight_device",
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
        "Weight-device discarded.",
        [],
    ),
    ("BlkioDeviceReadBps", "read_bps", _THROTTLE.format("BPS Block I/O read", "BPS read"), []),
    ("BlkioDeviceWriteBps", "write_bps", _THROTTLE.format("BPS Block I/O write", "BPS write"), []),
    ("BlkioDeviceReadIOps", "read_iops", _THROTTLE.format("IOPS Block read", "IOPS read"), []),
    ("BlkioDeviceWriteIOps", "write_iops", _THROTTLE.format("IOPS Block write", "IOPS write"), []),
)
_LIMITS = frozenset(
    "Memory MemorySwap NanoCpus CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus "
    "CpusetMems CpuPercent".split()
).union(key for key, *_ in _DISCARDED)


def discard(host: Any, *, kernel_memory: int = 0) -> list[str]:
    """Take limits that cannot be set out of `host`, a HostConfig whose keys may be missing.

    kernel_memory: of the request; a HostConfig has no such key any more.
    Returns warnings.  Raises InvalidArgument for what Docker refuses instead.
    """
    warnings = []
    if kernel_memory > 0:  # gone from the kernel since 5.4, and from Docker's API
        warnings.append(_MEMORY.format("kernel memory limit", "Limitation"))
    if not any(host.get(key) for key in _LIMITS) and host.get("MemorySwappiness") is None:
        return warnings  # the common case reads nothing
    warnings += _memory(host)
    for key, feature, warning, nothing in _DISCARDED:
        value = host.get(key)
        # MemorySwappiness 0 is a limit as well
        wanted = value is not None if key == "MemorySwappiness" else bool(value)
        if wanted and not _can(feature):
            if not isinstance(value, int) or value > 0 or key == "MemorySwappiness":
                warnings.append(warning)
            host[key] = nothing
        if key == "OomKillDisable" and host.get(key) and not host.get("Memory"):
            warnings.append(
                "OOM killer is disabled for the container, but no memory limit is set, "
                "this can result in the system running out of resources."
            )
    warnings += _processors(host)
    return warnings


def _can(feature: str) -> bool:
    """Imported here: most containers have no limits, and then nothing asks."""
    from jubako.linux.cgroups.support import supports

    return supports(_layout(), feature)


def _layout() -> Layout:
    from jubako.linux.cgroups import detect

    return detect()


def _memory(host: Any) -> list[str]:
    warnings = []
    if (host.get("Memory") or 0) > 0:
        if not _can("memory"):
            warnings.append(_MEMORY.format("memory limit", "Limitation"))
            host["Memory"], host["MemorySwap"] = 0, -1
        elif host.get("MemorySwap") != -1 and not _can("swap"):
            warnings.append(
                "Your kernel does not support swap limit capabilities or the cgroup is not "
                "mounted. Memory limited without swap."
            )
            host["MemorySwap"] = -1
    return warnings


def _processors(host: Any) -> list[str]:
    warnings = []
    if (host.get("NanoCpus") or 0) > 0 and not _can("cpu_cfs"):
        raise InvalidArgument(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
            "cgroup is not mounted"
        )
    if (host.get("CpuPeriod") or host.get("CpuQuota")) and not _can("cpu_cfs"):
        warnings.append(
            "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
        )
        host["CpuPeriod"] = host["CpuQuota"] = 0
    if (host.get("CpuRealtimePeriod") or host.get("CpuRealtimeRuntime")) and not _can(
        "cpu_realtime"
    ):
        raise InvalidArgument("Your kernel does not support CPU real-time scheduler")
    if (host.get("CpuPercent") or 0) > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
        host["CpuPercent"] = 0
    if (host.get("CpusetCpus") or host.get("CpusetMems")) and not _can("cpuset"):
        warnings.append(
            "Your kernel does not support cpuset or the cgroup is not mounted. CPUset discarded."
        )
        host["CpusetCpus"] = host["CpusetMems"] = ""
    return warnings
