"""What every container gets unless it asks for something else: Docker's defaults.

The values are facts of the Docker engine (its default OCI spec); the masked paths are those of its
newest release, which hides two leaks that 26.1 still shows (/proc/interrupts, thermal_throttle).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.2.0"

PATH_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHM_SIZE_BYTES = 64 << 20

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",  # GHSA-6fw5-f8r9-fgfm: keystroke timing
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",  # GHSA-jq35-85cj-fj4p: power side channel
    "/sys/firmware",
)

READONLY_PATHS = (
    "/proc/bus",
    "/proc/dynamic_debug",  # Docker leaves it writable: the host kernel's debug messages
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

_CPU_DIRECTORY = "/sys/devices/system/cpu"

_MOUNTS = (
    ("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    ("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ("ro", "nosuid", "noexec", "nodev")),
    ("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777")),
)

# (major, minor, allow): zero, null, urandom, random, tty, console; fuse is refused.  The runtime
# adds what it makes itself (full, ptmx, pts/*) and mknod of anything, as every OCI runtime does.
_DEVICE_RULES = (
    (1, 5, True),
    (1, 3, True),
    (1, 9, True),
    (1, 8, True),
    (5, 0, True),
    (5, 1, True),
    (10, 229, False),
)


def masked_paths() -> list[str]:
    """The default masked paths, with those that depend on this machine's processors."""
    paths = list(MASKED_PATHS)
    try:
        names = os.listdir(_CPU_DIRECTORY)
    except OSError:
        return paths
    numbers = sorted(int(name[3:]) for name in names if name[:3] == "cpu" and name[3:].isdigit())
    for number in numbers:
        path = f"{_CPU_DIRECTORY}/cpu{number}/thermal_throttle"  # GHSA-6fw5-f8r9-fgfm
        if os.path.exists(path):
            paths.append(path)
    return paths


def mounts() -> list[dict[str, Any]]:
    """The default mounts of an OCI spec, fresh lists and dicts each time."""
    return [
        {"destination": target, "type": fstype, "source": source, "options": list(options)}
        for target, fstype, source, options in _MOUNTS
    ]


def device_rules() -> list[dict[str, Any]]:
    """The default `linux.resources.devices`: nothing is allowed but the harmless ones."""
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for major, minor, allow in _DEVICE_RULES:
        rules.append({"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"})
    return rules
