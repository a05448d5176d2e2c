"""Named points at which a test may kill the process.

`JUBAKO_FAULT=containers.start.network` in the environment kills the process that reaches the point
of this name with SIGKILL, as a crash would; `NAME:2` lets the first arrival pass, and several names
are separated by commas.  Unset, a point costs one test of a global.
"""

from __future__ import annotations

import os
import signal

_armed: dict[str, int] = {}  # name: how many arrivals are left
if _names := os.environ.get("JUBAKO_FAULT"):
    for _name, _, _count in (_entry.partition(":") for _entry in _names.split(",")):
        _armed[_name] = int(_count) if _count.isdigit() else 1


def point(name: str) -> None:
    """Die here if the environment asks for it."""
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
