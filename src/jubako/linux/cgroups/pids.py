"""The pids controller; the files are the same in both versions.  OCI `pids`: limit."""

from __future__ import annotations

from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.linux.cgroups.files import Find


def apply(path: str, pids: Mapping[str, Any]) -> None:
    """A negative limit is none, 0 or None leaves it alone.  Raises KernelError."""
    limit = pids.get("limit")
    if limit:
        files.write(f"{path}/pids.max", "max" if limit < 0 else str(limit))


def stats(path: str, find: Find = files.find) -> dict[str, Any]:
    """current, and limit: 0 when there is none."""
    limit = files.read_int(f"{path}/pids.max", find)
    return {"current": files.read_int(f"{path}/pids.current", find), "limit": max(limit, 0)}
