"""The hugetlb controller.  OCI `hugepageLimits`: [{pageSize: "2MB", limit: bytes}]."""

from __future__ import annotations

from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def apply_v1(path: str, limits: Iterable[Mapping[str, Any]]) -> None:
    """Raises KernelError (ENOENT: the machine has no pages of that size)."""
    for item in limits:
        prefix, limit = f"{path}/hugetlb.{item['pageSize']}", str(item["limit"])
        files.write(f"{prefix}.limit_in_bytes", limit)
        # 5.7: also what is reserved, so that mmap fails instead of a later page fault (SIGBUS)
        files.write_if_exists(f"{prefix}.rsvd.limit_in_bytes", limit)


def apply_v2(path: str, limits: Iterable[Mapping[str, Any]]) -> None:
    """Raises KernelError."""
    for item in limits:
        prefix, limit = f"{path}/hugetlb.{item['pageSize']}", str(item["limit"])
        files.write(f"{prefix}.max", limit)
        files.write_if_exists(f"{prefix}.rsvd.max", limit)
