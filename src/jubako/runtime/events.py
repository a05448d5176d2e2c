"""`events`: a container's counters, and its out-of-memory kills."""

from __future__ import annotations

import re
import time

from jubako.errors import InvalidArgument, NotFound, WrongState
from jubako.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.runtime.builtin import BuiltinRuntime

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def stats(runtime: BuiltinRuntime, container_id: str) -> dict[str, Any]:
    """One event with the counters of now."""
    return {"type": "stats", "id": container_id, "data": runtime.stats(container_id)}


def follow(
    runtime: BuiltinRuntime, container_id: str, interval_s: float
) -> Iterator[dict[str, Any]]:
    """Counters every `interval_s` and each OOM kill, until the container ends."""
    path = runtime.record(container_id)["cgroup"]
    kills = cgroups.Cgroup(path).oom_kills() if path else 0
    while True:
        try:
            yield stats(runtime, container_id)
        except (NotFound, WrongState):
            return
        time.sleep(interval_s)
        if path and (now := cgroups.Cgroup(path).oom_kills()) > kills:
            kills = now
            yield {"type": "oom", "id": container_id}


def parse_interval(text: str) -> float:
    """Seconds of a Go duration such as `5s`, `1m30s`, `500ms`.  Raises InvalidArgument."""
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f"invalid duration {text!r}")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds <= 0:
        raise InvalidArgument("duration interval must be greater than 0")
    return seconds
