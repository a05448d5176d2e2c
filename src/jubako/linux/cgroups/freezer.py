"""Freezing: `freezer.state` in v1, `cgroup.freeze` in v2."""

from __future__ import annotations

import errno
import time

from jubako.errors import KernelError, Unavailable
from jubako.linux.cgroups import files

_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.02


def freeze(path: str, version: int, timeout_s: float, *, why: str = "") -> None:
    """Stop every process in `path` and below; returns when they are stopped.

    Raises Unavailable when that takes longer than `timeout_s` (a process in uninterruptible sleep);
    the group runs again then.  Raises KernelError.
    """
    deadline = time.monotonic() + timeout_s
    wait_s = _FIRST_WAIT_S
    if version == 2:
        files.write(f"{path}/cgroup.freeze", "1", why=why)
    while True:
        if version == 1:
            # Written again each time: a process forked meanwhile may keep it at FREEZING for ever.
            files.write(f"{path}/freezer.state", "FROZEN", why=why)
        if is_frozen(path, version):
            return
        if time.monotonic() >= deadline:
            thaw(path, version, why="it could not be stopped in time")
            raise Unavailable(f"freeze {path}: not frozen after {timeout_s:g} s", subject=path)
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def thaw(path: str, version: int, *, why: str = "") -> None:
    """Let the processes run again.  Idempotent; a group that is gone is no error."""
    try:
        if version == 1:
            files.write(f"{path}/freezer.state", "THAWED", why=why)
        else:
            files.write(f"{path}/cgroup.freeze", "0", why=why)
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def is_frozen(path: str, version: int) -> bool:
    """Whether every process is stopped; False for a group that is gone."""
    if version == 1:
        return (files.find(f"{path}/freezer.state") or "").strip() == "FROZEN"
    return files.read_flat(f"{path}/cgroup.events").get("frozen", 0) == 1
