"""What flags of `run` accept one value at a time; each raises ValueError with Docker's sentence."""

from __future__ import annotations

import os

from jubako.cli.flags import Kind, parse_int
from jubako.cli.units import parse_cpus, parse_swap
from jubako.golang.duration import parse_duration
from jubako.golang.quote import quote
from jubako.golang.size import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_RLIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending"
    " stack".split()
)
_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax"
    " kernel.shmmni kernel.shm_rmid_forced".split()
)


def attach(text: str) -> str:
    """A stream for `--attach`."""
    name = text.lower()
    if name in ("stdin", "stdout", "stderr"):
        return name
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def environment(text: str) -> str:
    """`NAME=value`, or `NAME` for the value it has here; unset names pass through bare."""
    name, has_value, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if has_value or name not in os.environ:
        return text
    return f"{name}={os.environ[name]}"


def label(text: str) -> str:
    name = text.partition("=")[0].lstrip(" \t")
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in name or "\t" in name:
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address in its canonical form."""
    packed = _address(text.strip())
    if packed is None:
        raise ValueError(f"IP address is not correctly formatted: {text}")
    import socket

    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def extra_host(text: str) -> str:
    """`name:address` or `name=address`; the address may stand in brackets or be host-gateway."""
    name, found, address = text.partition("=")
    if not found:
        name, found, address = text.partition(":")
    if not found or not name or ":" in name:
        raise ValueError(f"bad format for add-host: {quote(text)}")
    if address != "host-gateway":
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        if _address(address) is None:
            raise ValueError(f"invalid IP address in add-host: {quote(address)}")
    return f"{name}:{address}"


def _address(text: str) -> bytes | None:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return None


def dns_search(text: str) -> str:
    import re

    text = text.strip(" ")
    if text == ".":
        return text
    part = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9])"
    match = re.match(rf"({part}(?:\.{part})*)\.?\s*\Z", text, re.ASCII)
    if not re.search("[a-zA-Z]", text) or match is None or len(match[1]) >= 255:
        raise ValueError(f"{text} is not a valid domain")
    return match[1]


def sysctl(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def ulimit(text: str) -> dict[str, Any]:
    """`nofile=soft[:hard]` as the API's Ulimit."""
    name, found, limits = text.partition("=")
    if not found:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _RLIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(
            f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        )
    hard = parse_int(parts[-1], base=10)
    soft = parse_int(parts[0], base=10)
    if hard != -1:
        what = "ulimit soft limit must be less than or equal to hard limit"
        if soft == -1:
            raise ValueError(f"{what}: soft: -1 (unlimited), hard: {hard}")
        if soft > hard:
            raise ValueError(f"{what}: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def device_rule(text: str) -> str:
    import re

    if not re.match(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}\Z", text, re.ASCII):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def device_weight(text: str) -> dict[str, Any]:
    path, value = _device(text)
    try:
        weight = parse_int(value, bits=16, signed=False, base=10)
    except ValueError:
        weight = 1
    if weight and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": weight}


def device_bytes(text: str) -> dict[str, Any]:
    return _device_rate(
        text, parse_bytes, "[<unit>]", ". Unit is optional and can be kb, mb, or gb"
    )


def device_operations(text: str) -> dict[str, Any]:
    return _device_rate(text, lambda value: parse_int(value, signed=False, base=10), "", "")


def _device(text: str) -> tuple[str, str]:
    path, found, value = text.partition(":")
    if not found or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def _device_rate(text: str, parse: Callable[[str], int], unit: str, more: str) -> dict[str, Any]:
    path, value = _device(text)
    try:
        return {"Path": path, "Rate": parse(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>{unit}."
            f" Number must be a positive integer{more}"
        ) from None


def mount(text: str) -> dict[str, Any]:
    """`--mount` as the API's Mount; its grammar is in a module of its own."""
    from jubako.cli.mount_options import parse_mount

    return parse_mount(text)


def gpus(text: str) -> dict[str, Any]:
    """`--gpus` as the API's DeviceRequest; its grammar is in a module of its own."""
    from jubako.cli.device_options import gpus as parse_gpus

    return parse_gpus(text)


def secret(text: str) -> dict[str, Any]:
    """`--secret` as the engine takes it; its grammar is in a module of its own."""
    from jubako.cli.secret_options import parse_secret

    return parse_secret(text)


def key_value(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


DEVICES = Kind("list", str, many=True, zero=(), shown="[]")
MAP = Kind("map", key_value, many=True, zero=(), shown="map[]")
BYTES = Kind("bytes", parse_bytes, zero=0)
SWAP = Kind("bytes", parse_swap, zero=0)
CPUS = Kind("decimal", parse_cpus, zero=0)
DURATION = Kind("duration", parse_duration, zero=0)
ULIMIT = Kind("ulimit", ulimit, many=True, zero=(), shown="[]")
STRINGS = Kind("strings", str, many=True, zero=())
MOUNT = Kind("mount", mount, many=True, zero=())
NETWORK = Kind("network", str, many=True, zero=())
UINT16 = Kind("uint16", lambda text: parse_int(text, bits=16, signed=False), zero=0)
GPUS = Kind("gpu-request", gpus, many=True, zero=())
