"""Limits and devices: the resource part of HostConfig as OCI `linux.resources`."""

from __future__ import annotations

import os

from jubako.containers.definition import devices
from jubako.errors import InvalidArgument
from jubako.oci import runtime_defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.containers.model import HostConfig, Json

CPU_PERIOD_US = 100_000  # what --cpus is measured against


def of(host: HostConfig) -> Json:
    """The OCI `linux.resources` of a container, device rules included.

    Raises InvalidArgument for a device that is not there.
    """
    result: Json = {"devices": device_rules(host)}
    result.update(limits(host))
    return result


def limits(host: HostConfig) -> Json:
    """Memory, CPU, pids and block I/O as OCI resources; what is not limited is left out."""
    result: Json = {}
    memory: Json = {}
    if host["Memory"] > 0:
        memory["limit"] = host["Memory"]
    if host["MemoryReservation"] > 0:
        memory["reservation"] = host["MemoryReservation"]
    if host["MemorySwap"] > 0 or (host["MemorySwap"] == -1 and host["Memory"] > 0):
        memory["swap"] = host["MemorySwap"]
    if host["MemorySwappiness"] is not None:
        memory["swappiness"] = host["MemorySwappiness"]
    if host["OomKillDisable"] is not None:
        memory["disableOOMKiller"] = host["OomKillDisable"]
    if memory:
        result["memory"] = memory
    cpu = _cpu(host)
    if cpu:
        result["cpu"] = cpu
    if host["PidsLimit"] is not None:
        result["pids"] = {"limit": host["PidsLimit"] if host["PidsLimit"] > 0 else -1}
    result["blockIO"] = _block_io(host)
    return result


def device_nodes(host: HostConfig) -> list[Json]:
    """The OCI `linux.devices`: those of --device, and all of the host's when privileged."""
    nodes = devices.host_devices() if host["Privileged"] else []
    for mapping in host["Devices"]:
        inside = mapping.get("PathInContainer") or mapping["PathOnHost"]
        if host["Privileged"] and inside == mapping["PathOnHost"]:
            continue  # already there
        nodes.extend(devices.from_path(mapping["PathOnHost"], inside))
    return nodes


def device_rules(host: HostConfig) -> list[Json]:
    """The OCI `linux.resources.devices`."""
    if host["Privileged"]:
        return [{"allow": True, "access": "rwm"}]
    rules = runtime_defaults.device_rules()
    for mapping in host["Devices"]:
        inside = mapping.get("PathInContainer") or mapping["PathOnHost"]
        for node in devices.from_path(mapping["PathOnHost"], inside):
            rules.append(devices.rule(node, mapping.get("CgroupPermissions") or "rwm"))
    for text in host["DeviceCgroupRules"] or ():
        rules.append(devices.parse_rule(text))
    return rules


def _cpu(host: HostConfig) -> Json:
    cpu: Json = {}
    if host["CpuShares"]:
        if host["CpuShares"] < 0:
            raise InvalidArgument(
                f"invalid CPU shares ({host['CpuShares']}): value must be a positive integer"
            )
        cpu["shares"] = host["CpuShares"]
    if host["CpusetCpus"]:
        cpu["cpus"] = host["CpusetCpus"]
    if host["CpusetMems"]:
        cpu["mems"] = host["CpusetMems"]
    if host["NanoCpus"] > 0:
        cpu["period"] = CPU_PERIOD_US
        cpu["quota"] = host["NanoCpus"] * CPU_PERIOD_US // 1_000_000_000
    for key, value in (
        ("period", host["CpuPeriod"]),
        ("quota", host["CpuQuota"]),
        ("realtimePeriod", host["CpuRealtimePeriod"]),
        ("realtimeRuntime", host["CpuRealtimeRuntime"]),
    ):
        if value:
            cpu[key] = value
    return cpu


def _block_io(host: HostConfig) -> Json:
    result: Json = {}
    if host["BlkioWeight"]:
        result["weight"] = host["BlkioWeight"]
    if host["BlkioWeightDevice"]:
        result["weightDevice"] = _per_device(host["BlkioWeightDevice"], "Weight")
    for key, limits_of in (
        ("throttleReadBpsDevice", host["BlkioDeviceReadBps"]),
        ("throttleWriteBpsDevice", host["BlkioDeviceWriteBps"]),
        ("throttleReadIOPSDevice", host["BlkioDeviceReadIOps"]),
        ("throttleWriteIOPSDevice", host["BlkioDeviceWriteIOps"]),
    ):
        if limits_of:
            result[key] = _per_device(limits_of, "Rate")
    return result


def _per_device(entries: Sequence[Any], what: str) -> list[Json]:
    result = []
    for entry in entries:
        try:
            number = os.stat(entry["Path"]).st_rdev
        except OSError as exc:
            reason = os.strerror(exc.errno or 0).lower()
            raise InvalidArgument(f"stat {entry['Path']}: {reason}", subject=entry["Path"]) from exc
        result.append(
            {"major": os.major(number), "minor": os.minor(number), what.lower(): entry[what]}
        )
    return result
