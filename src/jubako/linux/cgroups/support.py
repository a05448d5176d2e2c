"""Which limits this host's kernel and its cgroup mounts can set.

A limit is there when its file is.  In v2 the root has no such files: the group of this process and
the groups directly below the root are looked at, and where there is none the controller decides.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.cgroups.layout import Layout

# feature -> controller, its files in v1 (any of them), its files in v2; () means: not in v2
_FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "memory": ("memory", ("memory.limit_in_bytes",), ("memory.max",)),
    "swap": ("memory", ("memory.memsw.limit_in_bytes",), ("memory.swap.max",)),
    "swappiness": ("memory", ("memory.swappiness",), ()),
    "reservation": ("memory", ("memory.soft_limit_in_bytes",), ("memory.low",)),
    "oom_kill_disable": ("memory", ("memory.oom_control",), ()),
    "pids": ("pids", (), ("pids.max",)),
    "cpu_shares": ("cpu", ("cpu.shares",), ("cpu.weight",)),
    "cpu_cfs": ("cpu", ("cpu.cfs_quota_us",), ("cpu.max",)),
    "cpu_realtime": ("cpu", ("cpu.rt_runtime_us",), ()),
    "cpuset": ("cpuset", (), ("cpuset.cpus",)),
    "blkio_weight": ("blkio", ("blkio.weight", "blkio.bfq.weight"), ("io.weight", "io.bfq.weight")),
    # a weight for one disk is a matter of the BFQ scheduler alone
    "blkio_weight_device": (
        "blkio",
        ("blkio.weight_device", "blkio.bfq.weight_device"),
        ("io.bfq.weight",),
    ),
    "read_bps": ("blkio", ("blkio.throttle.read_bps_device",), ("io.max",)),
    "write_bps": ("blkio", ("blkio.throttle.write_bps_device",), ("io.max",)),
    "read_iops": ("blkio", ("blkio.throttle.read_iops_device",), ("io.max",)),
    "write_iops": ("blkio", ("blkio.throttle.write_iops_device",), ("io.max",)),
}


def supports(layout: Layout, feature: str) -> bool:
    """Whether limits of this kind can be set; `feature` is one of those above."""
    controller, v1_files, v2_files = _FILES[feature]
    hierarchy = layout.find(controller)
    if hierarchy is None and controller == "blkio":
        hierarchy = layout.find("io")
    if hierarchy is None:
        return False
    if hierarchy.version == 1:
        return not v1_files or _any(hierarchy.path, v1_files)
    if not v2_files:
        return False
    groups = [path for path in _groups_v2(hierarchy.path) if _has(path, hierarchy.path, controller)]
    return not groups or any(_any(path, v2_files) for path in groups)


def _any(directory: str, names: tuple[str, ...]) -> bool:
    return any(os.path.exists(f"{directory}/{name}") for name in names)


def _has(path: str, mount: str, controller: str) -> bool:
    """Whether the controller is switched on in this group: only then are its files there."""
    try:
        with open(f"{path}/cgroup.controllers") as file:
            words = file.read().split()
    except OSError:
        return False
    return path != mount and ("io" if controller == "blkio" else controller) in words


def _groups_v2(mount: str) -> list[str]:
    try:
        with os.scandir(mount) as entries:
            groups = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    own = [mount + line.removeprefix("0::") for line in lines if line.startswith("0::/")]
    return [*own, *groups]
