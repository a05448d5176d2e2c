"""The memory controller.

OCI `memory`: limit, reservation, swap (memory *and* swap together, as v1 counts), swappiness,
kernelTCP, disableOOMKiller, checkBeforeUpdate; `kernel` is ignored since the kernel ignores it.
"""

from __future__ import annotations

import errno

from jubako.errors import InvalidArgument, KernelError
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.linux.cgroups.files import Find


def apply_v1(path: str, memory: Mapping[str, Any]) -> None:
    """Raises KernelError (EBUSY: more is in use than the new limit and cannot be reclaimed)."""
    _apply_limits_v1(path, memory.get("limit") or 0, memory.get("swap") or 0)
    if memory.get("reservation"):
        files.write(f"{path}/memory.soft_limit_in_bytes", str(memory["reservation"]))
    if memory.get("kernelTCP"):
        files.write(f"{path}/memory.kmem.tcp.limit_in_bytes", str(memory["kernelTCP"]))
    if memory.get("disableOOMKiller"):
        files.write(f"{path}/memory.oom_control", "1")
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness != -1:
        files.write(f"{path}/memory.swappiness", str(swappiness))


def _apply_limits_v1(path: str, limit: int, swap: int) -> None:
    """0 leaves a limit alone, -1 lifts it."""
    limit_file = f"{path}/memory.limit_in_bytes"
    swap_file = f"{path}/memory.memsw.limit_in_bytes"
    if limit == -1 and swap == 0:
        swap = -1  # memory without a limit under a limited sum is what nobody means by -1
    # At every moment the kernel wants limit <= memsw: going up memsw is first, going down last.
    if limit == -1:
        _write_swap(swap_file, swap)
        files.write(limit_file, "-1")
    elif limit and not swap:
        files.write(limit_file, str(limit))
    elif limit:
        try:
            files.write(limit_file, str(limit))
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
            _write_swap(swap_file, swap)
            files.write(limit_file, str(limit))
        else:
            _write_swap(swap_file, swap)
    elif swap:
        _write_swap(swap_file, swap)


def _write_swap(swap_file: str, swap: int) -> None:
    if not files.write_if_exists(swap_file, str(swap)) and swap > 0:
        # Swap accounting is off (swapaccount=0): the limit of memory holds, swap is unlimited.
        return


def swap_v2(limit: int, swap: int) -> int | None:
    """`memory.swap.max` for OCI's sum of memory and swap; None leaves it, -1 lifts it."""
    if swap == 0:
        return -1 if limit == -1 else None
    if swap < 0:
        return -1
    if limit <= 0:
        raise InvalidArgument("a swap limit needs a memory limit")
    if swap < limit:
        raise InvalidArgument(f"the swap limit {swap} is less than the memory limit {limit}")
    return swap - limit


def apply_v2(path: str, memory: Mapping[str, Any]) -> None:
    """Raises InvalidArgument (swap), KernelError (EBUSY: checkBeforeUpdate, too much in use)."""
    limit = memory.get("limit") or 0
    swap = swap_v2(limit, memory.get("swap") or 0)
    if memory.get("checkBeforeUpdate") and limit > 0:
        current = _reclaimed_v2(path, limit)
        if current > limit:  # v2 would rather kill than refuse
            raise KernelError("write", errno.EBUSY, path=f"{path}/memory.max",
                              detail=f"'{limit}' with {current} in use")  # fmt: skip
    if swap is not None:
        value = "max" if swap < 0 else str(swap)
        if not files.write_if_exists(f"{path}/memory.swap.max", value) and swap > 0:
            raise KernelError("write", errno.ENOENT, path=f"{path}/memory.swap.max")
    if limit:
        files.write(f"{path}/memory.max", "max" if limit < 0 else str(limit))
    if memory.get("reservation"):
        low = memory["reservation"]
        files.write(f"{path}/memory.low", "max" if low < 0 else str(low))


def _reclaimed_v2(path: str, limit: int) -> int:
    """The memory in use, after caches that stand in the way of `limit` are given up."""
    current = files.read_int(f"{path}/memory.current")
    if current > limit:
        try:
            files.write_if_exists(f"{path}/memory.reclaim", str(current - limit))  # kernel 5.19
        except KernelError as error:
            if error.errno != errno.EAGAIN:  # less than that could be had
                raise
        current = files.read_int(f"{path}/memory.current")
    return current


def stats_v1(path: str, find: Find = files.find) -> dict[str, Any]:
    """The `memory` part of the statistics; limits are -1 when there is none."""

    def usage(prefix: str) -> dict[str, int]:
        return {
            "usage": files.read_int(f"{path}/{prefix}.usage_in_bytes", find),
            "max": files.read_int(f"{path}/{prefix}.max_usage_in_bytes", find),
            "limit": files.read_int(f"{path}/{prefix}.limit_in_bytes", find),
            "failcnt": files.read_int(f"{path}/{prefix}.failcnt", find),
        }

    raw = files.read_flat(f"{path}/memory.stat", find)
    return {
        "usage": usage("memory"),
        "swap": usage("memory.memsw"),
        "cache": raw.get("total_cache", 0),
        "raw": raw,
    }


def stats_v2(path: str, find: Find = files.find) -> dict[str, Any]:
    """As `stats_v1`; swap is the sum of memory and swap there, so it is here."""
    raw = files.read_flat(f"{path}/memory.stat", find)
    events = files.read_flat(f"{path}/memory.events", find)
    current = files.read_int(f"{path}/memory.current", find)
    limit = files.read_int(f"{path}/memory.max", find)
    swap = files.read_int(f"{path}/memory.swap.current", find)
    swap_limit = files.read_int(f"{path}/memory.swap.max", find)
    return {
        "usage": {
            "usage": current,
            "max": files.read_int(f"{path}/memory.peak", find),
            "limit": limit,
            "failcnt": events.get("max", 0),
        },
        "swap": {
            "usage": current + swap,
            "max": 0,
            "limit": -1 if limit < 0 or swap_limit < 0 else limit + swap_limit,
            "failcnt": 0,
        },
        "cache": raw.get("file", 0),
        "raw": raw,
    }


def oom_kills_v1(path: str) -> int:
    """How many processes the kernel has killed for want of memory (kernel 4.13)."""
    return files.read_flat(f"{path}/memory.oom_control").get("oom_kill", 0)


def oom_kills_v2(path: str) -> int:
    """The same."""
    return files.read_flat(f"{path}/memory.events").get("oom_kill", 0)
