"""Which devices a cgroup may make, read and write.

OCI `devices` is a list of rules {allow, type a|b|c, major, minor, access} of which the last match
counts.  `Rules` turns it into what both kernels work with: a default and its exceptions.

    v1   `a` to devices.deny or devices.allow, then one line for each exception
    v2   a BPF program (`device_program`) attached to the cgroup
"""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

ANY = -1  # a major or minor number that stands for all


class Rules:
    """default: whether a device without an exception is allowed.

    exceptions: (type, major, minor) -> access letters for which the opposite holds.
    """

    __slots__ = ("default", "exceptions")

    def __init__(self, rules: Iterable[Mapping[str, Any]]):
        # A new cgroup allows what its parent allows.
        self.default = True
        self.exceptions: dict[tuple[str, int, int], str] = {}
        for rule in rules:
            self._add(rule)

    def _add(self, rule: Mapping[str, Any]) -> None:
        kind = rule.get("type") or "a"
        access = rule.get("access") or "rwm"
        major, minor = (ANY if rule.get(key) is None else rule[key] for key in ("major", "minor"))
        allow = bool(rule.get("allow"))
        if kind not in ("a", "b", "c", "u", "p") or set(access) - set("rwm"):
            raise InvalidArgument(f"device rule: type {kind!r}, access {access!r}")
        if kind == "p":
            return  # a pipe needs no permission
        if kind == "u":
            kind = "c"
        if kind == "a":
            if (major, minor) != (ANY, ANY) or set(access) != set("rwm"):
                raise InvalidArgument("device rule: type 'a' is for all devices and all access")
            self.default = allow
            self.exceptions.clear()
            return
        key = (kind, major, minor)
        have = self.exceptions.get(key, "")
        if allow == self.default:
            left = "".join(letter for letter in have if letter not in access)
            if left:
                self.exceptions[key] = left
            else:
                self.exceptions.pop(key, None)
        else:
            self.exceptions[key] = "".join(letter for letter in "rwm" if letter in have + access)


def _text(number: int) -> str:
    return "*" if number < 0 else str(number)


def apply_v1(path: str, rules: Iterable[Mapping[str, Any]]) -> None:
    """Replace what the group may do.  Raises InvalidArgument, KernelError (EPERM: the parent)."""
    wanted = Rules(rules)
    files.write(f"{path}/devices.{'allow' if wanted.default else 'deny'}", "a")
    file = f"{path}/devices.{'deny' if wanted.default else 'allow'}"
    for (kind, major, minor), access in wanted.exceptions.items():
        files.write(file, f"{kind} {_text(major)}:{_text(minor)} {access}")


def apply_v2(path: str, rules: Iterable[Mapping[str, Any]]) -> None:
    """Replace what the group may do.  Raises InvalidArgument, KernelError (EPERM: no CAP_BPF)."""
    from jubako.linux.cgroups import device_program

    why = "which devices may be used: a program that the kernel asks each time"
    device_program.attach(path, Rules(rules), why=why)
