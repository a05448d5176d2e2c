"""Platforms, `os/architecture[/variant]`, in the words of Go that the image specification uses."""

from __future__ import annotations

import os
import re

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jubako.oci.image import Platform

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+\Z")

# uname's word, or one that users write -> (architecture, variant)
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "386": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "arm": ("arm", "v7"),
    "ppc64le": ("ppc64le", ""),
    "ppc64el": ("ppc64le", ""),
    "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}

# further words of Go for architectures
_OTHER_ARCHITECTURES = frozenset(
    "amd64p32 arm64be armbe loong64 mips mips64le mips64p32 mips64p32le mipsle ppc ppc64 riscv "
    "s390 sparc sparc64 wasm".split()
)

# What is meant when no variant is named; not written then.
_BASE_VARIANTS = {"amd64": "v1", "arm64": "v8"}
_MAX_VARIANTS = {"amd64": 4, "arm": 8, "arm64": 9}
_MIN_VARIANTS = {"amd64": 1, "arm": 5, "arm64": 8}

# Beyond the first level, in the kernel's words (osxsave is part of xsave, lzcnt of abm).
_AMD64_LEVELS = (
    "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3",
    "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "avx512bw avx512cd avx512dq avx512f avx512vl",
)

# Debian's names, for the architectures whose name differs
_DEBIAN = {"386": "i386", "ppc64le": "ppc64el", "loong64": "loong64", "mips64le": "mips64el"}


def host() -> Platform:
    """The platform of this machine."""
    return _platform("linux", os.uname().machine, "")


def processor() -> Platform:
    """The same with the highest variant that this machine's processor has: `linux/amd64/v3`.

    For choosing among what others offer; images that are made here are for `host`.
    """
    found = host()
    if found["architecture"] == "amd64":
        found = _platform("linux", "amd64", f"v{_amd64_level(_processor_flags())}")
    return found


def _amd64_level(flags: frozenset[str]) -> int:
    """The microarchitecture level of the x86-64 psABI."""
    level = 1
    for needed in _AMD64_LEVELS:
        if not flags.issuperset(needed.split()):
            break
        level += 1
    return level


def _processor_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass  # no /proc: what every amd64 has
    return frozenset()


def parse(text: str) -> Platform:
    """A platform as users write it: `linux/arm64/v8`, `arm64`, `linux`.  Raises InvalidArgument."""
    parts = text.split("/")
    if len(parts) > 3 or not all(_COMPONENT.match(part) for part in parts):
        raise InvalidArgument(
            f'"{text[:80]}": cannot parse platform specifier: invalid argument',
            hint="write it as os/architecture[/variant], for example linux/arm64",
        )
    if len(parts) == 1:
        word = parts[0].lower()
        if word in ("linux", "windows", "darwin", "freebsd"):
            return _platform(word, os.uname().machine, "")
        if word not in _ARCHITECTURES and word not in _OTHER_ARCHITECTURES:
            raise InvalidArgument(
                f'"{text}": unknown operating system or architecture: invalid argument'
            )
        return _platform("linux", word, "")
    return _platform(parts[0].lower(), parts[1].lower(), parts[2] if len(parts) == 3 else "")


def _platform(system: str, machine: str, variant: str) -> Platform:
    architecture, default = _ARCHITECTURES.get(machine, (machine, ""))
    found: Platform = {"architecture": architecture, "os": system}
    variant = variant or default
    if variant.isdigit():
        variant = f"v{variant}"
    if variant and _BASE_VARIANTS.get(architecture) != variant:
        found["variant"] = variant
    return found


def of_config(image_config: Mapping[str, Any]) -> Platform:
    """The platform that an image's configuration names."""
    found: Platform = {
        "architecture": image_config.get("architecture") or "",
        "os": image_config.get("os") or "linux",
    }
    if image_config.get("variant"):
        found["variant"] = image_config["variant"]
    return found


def matches(wanted: Platform, offered: Platform) -> bool:
    """Whether an image whose config names `offered` runs as `wanted`, as Docker decides it.

    That of `rank`; and where the config names no variant, as many do not, any is meant.
    """
    if rank(wanted, offered) is not None:
        return True
    machine, _ = _ARCHITECTURES.get(offered["architecture"], (offered["architecture"], ""))
    same = (wanted["os"], wanted["architecture"]) == (offered["os"], machine)
    return same and not offered.get("variant")


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well an image for `offered` runs as `wanted`: 0 is best, None not at all.

    As containerd decides it: a machine runs the images of lower variants, the higher the better
    (arm/v7 before arm/v6, amd64/v3 before amd64); amd64 those for 386, arm64 those for arm.
    """
    system = offered.get("os") or "linux"
    machine = offered.get("architecture") or ""
    normal = _platform(system, machine, offered.get("variant") or "")
    return next((place for place, fit in enumerate(_runnable(wanted)) if fit == normal), None)


def _runnable(wanted: Platform) -> Iterator[Platform]:
    """What a machine runs, the best first."""
    system, architecture = wanted["os"], wanted["architecture"]
    own = _platform(system, architecture, wanted.get("variant", ""))
    yield own
    if architecture in _MIN_VARIANTS:
        named = own.get("variant") or _BASE_VARIANTS[architecture]
        level = re.match(r"v(\d)", named)
        start = min(int(level[1]), _MAX_VARIANTS[architecture]) if level else 0
        for lower in range(start, _MIN_VARIANTS[architecture] - 1, -1):
            found = _platform(system, architecture, f"v{lower}")
            if found != own:
                yield found
    if architecture == "amd64":
        yield _platform(system, "386", "")
    elif architecture == "arm64":
        yield from _runnable({"os": system, "architecture": "arm", "variant": "v8"})


def is_component(text: str) -> bool:
    """Whether a text can be a part of a platform."""
    return _COMPONENT.match(text) is not None


def text(platform: Platform) -> str:
    """`linux/arm/v7`, as commands show it."""
    parts = [platform["os"], platform["architecture"], platform.get("variant", "")]
    return "/".join(part for part in parts if part)


def debian_architecture(platform: Platform) -> str:
    """Debian's name of the architecture (dpkg --print-architecture)."""
    architecture = platform["architecture"]
    if architecture == "arm":
        return "armel" if platform.get("variant") in ("v5", "v6") else "armhf"
    return _DEBIAN.get(architecture, architecture)
