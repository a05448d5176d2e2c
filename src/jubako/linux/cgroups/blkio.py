"""The blkio (v1) or io (v2) controller.

OCI `blockIO`: weight, leafWeight, weightDevice[], throttle{Read,Write}{Bps,IOPS}Device[].
"""

from __future__ import annotations

import errno

from jubako.errors import KernelError
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.linux.cgroups.files import Find

# OCI key, v1 file, v2 key in io.max
_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)


def _number(item: Mapping[str, Any]) -> str:
    return f"{item['major']}:{item['minor']}"


def _write_first(path: str, names: tuple[str, ...], data: str) -> None:
    """Into the first of the files that exists: CFQ's (before 5.0) or BFQ's."""
    for name in names:
        if files.write_if_exists(f"{path}/{name}", data):
            return
    raise KernelError("write", errno.ENOENT, path=f"{path}/{names[-1]}", detail=repr(data))


def apply_v1(path: str, block_io: Mapping[str, Any]) -> None:
    """Raises KernelError (ENOENT: weights need the BFQ scheduler; ENODEV: no such disk)."""
    if block_io.get("weight"):
        data = str(block_io["weight"])
        _write_first(path, ("blkio.weight", "blkio.bfq.weight"), data)
    if block_io.get("leafWeight"):
        files.write(f"{path}/blkio.leaf_weight", str(block_io["leafWeight"]))
    for item in block_io.get("weightDevice") or ():
        if item.get("weight"):
            data = f"{_number(item)} {item['weight']}"
            _write_first(path, ("blkio.weight_device", "blkio.bfq.weight_device"), data)
        if item.get("leafWeight"):
            data = f"{_number(item)} {item['leafWeight']}"
            files.write(f"{path}/blkio.leaf_weight_device", data)
    for key, name, _ in _THROTTLES:
        for item in block_io.get(key) or ():
            files.write(f"{path}/{name}", f"{_number(item)} {item['rate']}")


def weight_v2(weight: int) -> int:
    """blkio's 10 to 1000 on io.weight's 1 to 10000."""
    return 1 + (weight - 10) * 9999 // 990


def apply_v2(path: str, block_io: Mapping[str, Any]) -> None:
    """Raises KernelError."""
    weight = block_io.get("weight")
    if weight and not files.write_if_exists(f"{path}/io.bfq.weight", str(weight)):
        files.write(f"{path}/io.weight", str(weight_v2(weight)))
    for item in block_io.get("weightDevice") or ():
        if item.get("weight"):
            files.write(f"{path}/io.bfq.weight", f"{_number(item)} {item['weight']}")
    for key, _, name in _THROTTLES:
        for item in block_io.get(key) or ():
            rate = item["rate"] or "max"
            files.write(f"{path}/io.max", f"{_number(item)} {name}={rate}")


def stats_v1(path: str, find: Find = files.find) -> dict[str, Any]:
    """`ioServiceBytesRecursive` and `ioServicedRecursive`: {major, minor, op, value} entries."""
    return {
        "ioServiceBytesRecursive": _entries_v1(path, "io_service_bytes", find),
        "ioServicedRecursive": _entries_v1(path, "io_serviced", find),
    }


def _entries_v1(path: str, name: str, find: Find) -> list[dict[str, Any]]:
    # BFQ's files are empty unless BFQ schedules the disk; the throttle layer counts always.
    for file in (f"blkio.bfq.{name}_recursive", f"blkio.throttle.{name}_recursive"):
        entries = []
        for line in (find(f"{path}/{file}") or "").splitlines():
            words = line.split()
            if len(words) == 3:
                major, _, minor = words[0].partition(":")
                entries.append(_entry(int(major), int(minor), words[1], int(words[2])))
        if entries:
            return entries
    return []


def _entry(major: int, minor: int, op: str, value: int) -> dict[str, Any]:
    return {"major": major, "minor": minor, "op": op, "value": value}


def stats_v2(path: str, find: Find = files.find) -> dict[str, Any]:
    """As `stats_v1`."""
    bytes_: list[dict[str, Any]] = []
    operations: list[dict[str, Any]] = []
    for number, fields in files.read_nested(f"{path}/io.stat", find).items():
        major, _, minor = number.partition(":")
        for op, of_bytes, of_operations in (
            ("Read", "rbytes", "rios"),
            ("Write", "wbytes", "wios"),
        ):
            bytes_.append(_entry(int(major), int(minor), op, fields.get(of_bytes, 0)))
            operations.append(_entry(int(major), int(minor), op, fields.get(of_operations, 0)))
    return {"ioServiceBytesRecursive": bytes_, "ioServicedRecursive": operations}
