"""Lists of processors and memory nodes: `0-3,7` as --cpuset-cpus takes them."""

from __future__ import annotations

from jubako.errors import InvalidArgument

_ONLINE = {"cpus": "/sys/devices/system/cpu/online", "mems": "/sys/devices/system/node/online"}
_MAX_NUMBER = 8191  # of CPUs that any kernel can be built for; bounds what a range may cost


def parse(text: str) -> set[int]:
    """The numbers in a list of numbers and ranges.  Raises InvalidArgument."""
    numbers: set[int] = set()
    for part in text.split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidArgument(f"invalid format: {part}", subject=part)
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high > _MAX_NUMBER:
            raise InvalidArgument(f"invalid format: {part}", subject=part)
        numbers.update(range(low, high + 1))
    return numbers


def check_cpus(text: str) -> None:
    """Refuse a list of processors that this host does not have.  Raises InvalidArgument."""
    _check(text, online("cpus"), "cpuset cpus", "CPUs")


def check_mems(text: str) -> None:
    """Refuse a list of memory nodes that this host does not have.  Raises InvalidArgument."""
    _check(text, online("mems"), "cpuset mems", "memory nodes")


def online(kind: str) -> str:
    """All that this host has of `cpus` or `mems`, as a list."""
    try:
        with open(_ONLINE[kind]) as file:
            return file.read(4096).strip()
    except FileNotFoundError:
        return "0"  # a kernel without NUMA has one node


def _check(text: str, available: str, option: str, what: str) -> None:
    try:
        wanted = parse(text)
    except InvalidArgument as exc:
        raise InvalidArgument(f"Invalid value {text} for {option}: {exc}", subject=text) from exc
    if not wanted <= parse(available):
        raise InvalidArgument(
            f"Requested {what} are not available - requested {text}, available: {available}",
            subject=text,
        )
