"""The cpu and cpuacct controllers.

OCI `cpu`: shares, quota, burst, period (microseconds), realtimeRuntime, realtimePeriod, idle.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.linux.cgroups.files import Find

_TICKS = 100  # USER_HZ: /proc and cpuacct.stat count hundredths of a second
_NS_PER_TICK = 1_000_000_000 // _TICKS


def apply_v1(path: str, cpu: Mapping[str, Any]) -> None:
    """Raises KernelError (EINVAL: out of range, or more than an ancestor has)."""
    if cpu.get("shares"):
        files.write(f"{path}/cpu.shares", str(cpu["shares"]))
    _write_pair(path, "cpu.cfs_period_us", cpu.get("period"), "cpu.cfs_quota_us", cpu.get("quota"))
    if cpu.get("burst") is not None:
        files.write(f"{path}/cpu.cfs_burst_us", str(cpu["burst"]))
    period, runtime = cpu.get("realtimePeriod"), cpu.get("realtimeRuntime")
    try:
        _write_pair(path, "cpu.rt_period_us", period, "cpu.rt_runtime_us", runtime)
    except KernelError as error:
        if error.errno == errno.EINVAL:  # a new group has none, whatever the root has
            error.hint = (
                f"the group above needs as much: write it to {os.path.dirname(path)}"
                "/cpu.rt_runtime_us"
            )
        raise
    if cpu.get("idle") is not None:
        files.write(f"{path}/cpu.idle", str(cpu["idle"]))


def _write_pair(
    path: str, period_file: str, period: int | None, file: str, value: int | None
) -> None:
    """The period first; second where the present quota does not allow that."""
    late = False
    if period:
        try:
            files.write(f"{path}/{period_file}", str(period))
        except KernelError as error:
            if error.errno != errno.EINVAL or not value:
                raise
            late = True
    if value:
        files.write(f"{path}/{file}", str(value))
    if late:
        files.write(f"{path}/{period_file}", str(period))


def weight(shares: int) -> int:
    """v1 shares (2 to 262144) on v2's scale (1 to 10000), by the formula all runtimes use."""
    return min(10000, max(1, 1 + (shares - 2) * 9999 // 262142))


def apply_v2(path: str, cpu: Mapping[str, Any]) -> None:
    """Raises KernelError.  Real-time settings have no counterpart in v2 and are ignored."""
    if cpu.get("idle") is not None:
        files.write(f"{path}/cpu.idle", str(cpu["idle"]))
    if cpu.get("shares"):
        try:
            files.write(f"{path}/cpu.weight", str(weight(cpu["shares"])))
        except KernelError as error:
            if error.errno != errno.EINVAL or not cpu.get("idle"):
                raise  # an idle group has no weight
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    burst = cpu.get("burst")
    if burst == 0:
        files.write(f"{path}/cpu.max.burst", "0")  # a burst may not exceed the quota: down first
    if quota or period:
        words = (files.find(f"{path}/cpu.max") or "max 100000").split()
        if quota:
            words[0] = str(quota) if quota > 0 else "max"
        if period:
            words[1] = str(period)
        files.write(f"{path}/cpu.max", " ".join(words))
    if burst:
        files.write(f"{path}/cpu.max.burst", str(burst))


def stats_v1(cpu_path: str, cpuacct_path: str, find: Find = files.find) -> dict[str, Any]:
    """Nanoseconds.  Either path may be "".  find: reads a file."""
    ticks = files.read_flat(f"{cpuacct_path}/cpuacct.stat", find) if cpuacct_path else {}
    percpu = find(f"{cpuacct_path}/cpuacct.usage_percpu") if cpuacct_path else None
    throttling = files.read_flat(f"{cpu_path}/cpu.stat", find) if cpu_path else {}
    return {
        "usage": {
            "total": files.read_int(f"{cpuacct_path}/cpuacct.usage", find) if cpuacct_path else 0,
            "percpu": [int(word) for word in (percpu or "").split()],
            "kernel": ticks.get("system", 0) * _NS_PER_TICK,
            "user": ticks.get("user", 0) * _NS_PER_TICK,
        },
        "throttling": {
            "periods": throttling.get("nr_periods", 0),
            "throttledPeriods": throttling.get("nr_throttled", 0),
            "throttledTime": throttling.get("throttled_time", 0),
        },
    }


def stats_v2(path: str, find: Find = files.find) -> dict[str, Any]:
    """As `stats_v1`; v2 does not tell the single processors."""
    stat = files.read_flat(f"{path}/cpu.stat", find)
    return {
        "usage": {
            "total": stat.get("usage_usec", 0) * 1000,
            "percpu": [],
            "kernel": stat.get("system_usec", 0) * 1000,
            "user": stat.get("user_usec", 0) * 1000,
        },
        "throttling": {
            "periods": stat.get("nr_periods", 0),
            "throttledPeriods": stat.get("nr_throttled", 0),
            "throttledTime": stat.get("throttled_usec", 0) * 1000,
        },
    }
