"""The options of `jubako-runtime update`: which limits to change."""

from __future__ import annotations

import json
import sys

from jubako.errors import InvalidArgument, KernelError
from jubako.runtime.flags import NUMBER, TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.runtime.flags import Values

OPTIONS = {
    "resources": TEXT,
    "blkio-weight": NUMBER,
    "cpu-period": NUMBER,
    "cpu-quota": NUMBER,
    "cpu-burst": NUMBER,
    "cpu-share": NUMBER,
    "cpu-rt-period": NUMBER,
    "cpu-rt-runtime": NUMBER,
    "cpuset-cpus": TEXT,
    "cpuset-mems": TEXT,
    "cpu-idle": NUMBER,
    "memory": TEXT,
    "memory-reservation": TEXT,
    "memory-swap": TEXT,
    "pids-limit": NUMBER,
}

# option -> where it goes in linux.resources
_PLACES = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "cpu-idle": ("cpu", "idle"),
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "pids-limit": ("pids", "limit"),
}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def resources(options: Values) -> dict[str, Any]:
    """An OCI linux.resources object of what is to change.

    Raises InvalidArgument, KernelError (the file).
    """
    resources: dict[str, Any] = {}
    if options.has("resources"):
        path = options.text("resources")
        try:
            if path == "-":
                resources = json.loads(sys.stdin.buffer.read())
            else:
                with open(path, "rb") as file:
                    resources = json.loads(file.read())
        except OSError as error:
            raise KernelError.from_oserror("read", error, path=path) from error
        except ValueError as error:
            raise InvalidArgument(f"read {path}: {error}") from error
    for name, (group, key) in _PLACES.items():
        if options.has(name):
            resources.setdefault(group, {})[key] = _resource(name, options.text(name))
    return resources


def _resource(name: str, text: str) -> int | str:
    if name.startswith("cpuset"):
        return text
    if not name.startswith("memory"):
        return int(text)
    number = text.lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:].isalpha() else ""
    digits = number.removesuffix(unit) if unit else number
    if unit not in _UNITS or not digits.lstrip("-").isdigit():
        raise InvalidArgument(f"invalid value {text!r} for --{name}")
    return int(digits) * _UNITS[unit]
