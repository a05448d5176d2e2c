"""OCI `linux.resources` -> the controllers of a layout."""

from __future__ import annotations

from jubako.errors import InvalidArgument, Unsupported
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.linux.cgroups.layout import Layout

    Resources = Mapping[str, Any]

# OCI key of `resources` -> controllers, for what may live in the v2 hierarchy of a hybrid host
_CONTROLLERS_OF = {
    "memory": ("memory",),
    "cpu": ("cpu", "cpuset"),
    "pids": ("pids",),
    "blockIO": ("blkio", "io"),
    "hugepageLimits": ("hugetlb",),
    "rdma": ("rdma",),
}


def needs_unified(layout: Layout, resources: Resources) -> bool:
    """Whether a group with these limits needs a directory in the v2 hierarchy.

    On a hybrid host that one is left alone unless a limit can only be there: a process that joins
    it waits for the global lock (5 ms and more), which v1's `tasks` does not take.
    """
    if layout.kind != "hybrid" or layout.v2 is None:
        return layout.kind == "v2"
    if resources.get("unified"):
        return True
    if resources.get("devices") and layout.find("devices") is None:
        return True
    return any(
        layout.find(controller) is layout.v2
        for key, controllers in _CONTROLLERS_OF.items()
        if resources.get(key)
        for controller in controllers
    )


def place(
    layout: Layout, group: str, controller: str, settings: Mapping[str, Any]
) -> tuple[str, int]:
    """Directory and version of a controller; ("", 0) when nothing is asked of a missing one.

    Raises Unsupported when something is.
    """
    hierarchy = layout.find(controller)
    if hierarchy is None and controller == "blkio":
        hierarchy = layout.find("io")
    if hierarchy is not None:
        return hierarchy.path + group, hierarchy.version
    if any(settings.values()):
        raise Unsupported(
            f"cgroup {group}: this host has no {controller} controller", subject=controller
        )
    return "", 0


def apply(layout: Layout, group: str, resources: Resources) -> None:
    """See `Cgroup.apply`.

    Modules are imported where they are needed: a container without limits has devices only.
    """
    if resources.get("devices"):
        from jubako.linux.cgroups import devices

        hierarchy = layout.find("devices")
        if hierarchy is not None:
            devices.apply_v1(hierarchy.path + group, resources["devices"])
        else:
            devices.apply_v2(_unified(layout, group), resources["devices"])
    if resources.get("memory"):
        from jubako.linux.cgroups import memory

        path, version = place(layout, group, "memory", resources["memory"])
        if path:
            (memory.apply_v1 if version == 1 else memory.apply_v2)(path, resources["memory"])
    if resources.get("cpu"):
        _apply_cpu(layout, group, resources["cpu"])
    if resources.get("pids"):
        from jubako.linux.cgroups import pids

        path, _ = place(layout, group, "pids", resources["pids"])
        if path:
            pids.apply(path, resources["pids"])
    if resources.get("blockIO"):
        from jubako.linux.cgroups import blkio

        path, version = place(layout, group, "blkio", resources["blockIO"])
        if path:
            (blkio.apply_v1 if version == 1 else blkio.apply_v2)(path, resources["blockIO"])
    if resources.get("hugepageLimits"):
        from jubako.linux.cgroups import hugetlb

        sizes = resources["hugepageLimits"]
        path, version = place(layout, group, "hugetlb", {"limits": sizes})
        (hugetlb.apply_v1 if version == 1 else hugetlb.apply_v2)(path, sizes)
    if resources.get("network"):
        _apply_network(layout, group, resources["network"])
    if resources.get("rdma"):
        _apply_rdma(layout, group, resources["rdma"])
    if resources.get("unified"):
        _apply_unified(layout, group, resources["unified"])


def _unified(layout: Layout, group: str) -> str:
    if layout.v2 is None:
        raise Unsupported(f"cgroup {group}: this host has no cgroup v2")
    return layout.v2.path + group


def _apply_cpu(layout: Layout, group: str, settings: Mapping[str, Any]) -> None:
    from jubako.linux.cgroups import cpu, cpuset

    of_set = {key: settings.get(key) for key in ("cpus", "mems")}
    if any(of_set.values()):
        path, _ = place(layout, group, "cpuset", of_set)
        cpuset.apply(path, of_set)
    rest = {key: value for key, value in settings.items() if key not in of_set}
    if any(value is not None for value in rest.values()):
        path, version = place(layout, group, "cpu", rest)
        if path:
            (cpu.apply_v1 if version == 1 else cpu.apply_v2)(path, rest)


def _apply_network(layout: Layout, group: str, settings: Mapping[str, Any]) -> None:
    """v1 only; ignored on v2, where nftables and BPF look at the cgroup itself."""
    class_id = layout.find("net_cls")
    if settings.get("classID") and class_id is not None:
        files.write(f"{class_id.path}{group}/net_cls.classid", str(settings["classID"]))
    priorities = layout.find("net_prio")
    if priorities is not None:
        for item in settings.get("priorities") or ():
            path = f"{priorities.path}{group}/net_prio.ifpriomap"
            files.write(path, f"{item['name']} {item['priority']}")


def _apply_rdma(layout: Layout, group: str, settings: Mapping[str, Mapping[str, int]]) -> None:
    path, _ = place(layout, group, "rdma", settings)
    for device, limits in settings.items():
        words = [device]
        if limits.get("hcaHandles") is not None:
            words.append(f"hca_handle={limits['hcaHandles']}")
        if limits.get("hcaObjects") is not None:
            words.append(f"hca_object={limits['hcaObjects']}")
        files.write(f"{path}/rdma.max", " ".join(words))


def _apply_unified(layout: Layout, group: str, settings: Mapping[str, object]) -> None:
    for name, value in settings.items():
        if "/" in name:
            raise InvalidArgument(f"unified cgroup file {name!r}", subject=name)
        for line in str(value).splitlines():  # one write a line: several disks of io.max
            files.write(f"{_unified(layout, group)}/{name}", line)
