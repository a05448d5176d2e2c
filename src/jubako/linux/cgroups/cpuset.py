"""The cpuset controller: OCI `cpu.cpus` and `cpu.mems`.

A v1 cpuset starts empty and takes no task until it has processors and memory nodes, which its
parent must have as well.  `ensure_v1` copies them downwards and switches `cgroup.clone_children` on
in the directories that it fills, so that the next container's directory is complete from mkdir on.
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

_FILES = ("cpuset.cpus", "cpuset.mems")


def ensure_v1(mount: str, path: str, *, why: str = "") -> None:
    """Give `path`, a directory below `mount`, what its parent has where it has nothing."""
    if all((files.find(f"{path}/{name}") or "").strip() for name in _FILES):
        return
    parent = os.path.dirname(path)
    if path != mount and parent != mount:
        ensure_v1(mount, parent, why=why)
        try:
            files.write(f"{parent}/cgroup.clone_children", "1", why=why)
        except KernelError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise  # not ours: then each child is filled by hand
    for name in _FILES:
        if not files.read(f"{path}/{name}").strip():
            files.write(f"{path}/{name}", files.read(f"{parent}/{name}").strip(), why=why)


def apply(path: str, cpu: Mapping[str, Any]) -> None:
    """Both versions.  Raises KernelError (EINVAL, EACCES: not among the parent's)."""
    if cpu.get("cpus"):
        files.write(f"{path}/cpuset.cpus", cpu["cpus"], why="it runs on these processors only")
    if cpu.get("mems"):
        why = "it gets memory of these nodes only"
        files.write(f"{path}/cpuset.mems", cpu["mems"], why=why)
