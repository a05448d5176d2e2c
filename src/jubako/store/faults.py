"""Named points at which a test may kill the process.

`JUBAKO_FAULT=containers.start.network` in the environment kills the process that reaches the point
of this name with SIGKILL, as a crash would; `NAME:2` lets the first arrival pass.
Unset, a point costs one test of a global.
"""

from __future__ import annotations

import os
import signal

_armed, _, _count = os.environ.get("JUBAKO_FAULT", "").partition(":")
_remaining = int(_count) if _count.isdigit() else 1


def point(name: str) -> None:
    """Die here if the environment asks for it."""
    global _remaining
    if _armed and name == _armed:
        _remaining -= 1
        if _remaining <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
