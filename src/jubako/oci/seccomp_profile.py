"""Docker's seccomp profiles, resolved for one container into the OCI runtime's form.

A profile file of Docker may ask more than the OCI object can say: rules that hold only with a
capability, on an architecture or from a kernel version on.  `resolve` answers these questions and
leaves what libseccomp can take.
"""

from __future__ import annotations

import json
import os

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

MAX_PROFILE_BYTES = 4 << 20  # Docker's own is 14 KB; the text arrives inside an API request

# what uname says -> (the word in `arches`, the constant in `archMap`)
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "loongarch64": ("loongarch64", "SCMP_ARCH_LOONGARCH64"),
    "mips64": ("mips64", "SCMP_ARCH_MIPS64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
}

# Fields of the OCI object that a profile may set and that are passed on as they are.
_PASSED_ON = ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
_RULE_FIELDS = ("action", "errnoRet", "args")


def load(text: str, capabilities: Collection[str]) -> dict[str, Any] | None:
    """Resolve the text of a profile file for a container with this bounding set.

    Returns None for a profile without rules (`{}`), which switches the filter off.
    Raises InvalidArgument if the text is no profile.
    """
    if len(text) > MAX_PROFILE_BYTES:
        raise InvalidArgument(f"decoding seccomp profile failed: over {MAX_PROFILE_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"decoding seccomp profile failed: {exc}") from exc
    if not isinstance(document, dict):
        raise InvalidArgument("decoding seccomp profile failed: not a JSON object")
    if not document.get("defaultAction") and not document.get("syscalls"):
        return None
    try:
        return resolve(document, capabilities)
    except (AttributeError, TypeError, KeyError, ValueError) as exc:
        raise InvalidArgument(f"decoding seccomp profile failed: wrong type: {exc}") from exc


def resolve(
    document: Mapping[str, Any],
    capabilities: Collection[str],
    *,
    machine: str | None = None,
    kernel: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The OCI `linux.seccomp` object: rules whose conditions fail are left out.

    document: a decoded profile.  machine, kernel: as `uname` says, by default of this host.
    Raises InvalidArgument for contradictory fields, and whatever a wrong type raises.
    """
    uname = os.uname()
    word, constant = _MACHINES.get(machine or uname.machine, (machine or uname.machine, ""))
    version = kernel or kernel_version(uname.release)
    if document.get("architectures") and document.get("archMap"):
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    result: dict[str, Any] = {key: document[key] for key in _PASSED_ON if document.get(key)}
    architectures = list(document.get("architectures") or [])
    for entry in document.get("archMap") or []:
        if entry["architecture"] == constant:
            architectures = [constant, *(entry.get("subArchitectures") or [])]
            break
    if architectures:
        result["architectures"] = architectures
    rules = []
    for rule in document.get("syscalls") or []:
        if _applies(rule, word, version, capabilities):
            rules.append(
                {"names": _names(rule)}
                | {key: rule[key] for key in _RULE_FIELDS if rule.get(key) not in (None, [])}
            )
    result["syscalls"] = rules
    return result


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 18) from `6.18.3-amd64`; (0, 0) when there is no number."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = ""
        for character in part:
            if not character.isascii() or not character.isdigit():
                break
            digits += character
        numbers.append(int(digits or 0))
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)


def _names(rule: Mapping[str, Any]) -> list[str]:
    if rule.get("name"):
        if rule.get("names"):
            raise InvalidArgument(
                "both 'name' and 'names' are specified in the seccomp profile, "
                "use either 'name' or 'names'"
            )
        return [rule["name"]]
    return list(rule["names"])


def _applies(
    rule: Mapping[str, Any], machine: str, kernel: tuple[int, int], capabilities: Collection[str]
) -> bool:
    excludes = rule.get("excludes") or {}
    if machine in (excludes.get("arches") or ()):
        return False
    if any(capability in capabilities for capability in excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and kernel >= kernel_version(excludes["minKernel"]):
        return False
    includes = rule.get("includes") or {}
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if not all(capability in capabilities for capability in includes.get("caps") or ()):
        return False
    return not includes.get("minKernel") or kernel >= kernel_version(includes["minKernel"])
