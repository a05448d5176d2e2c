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

# Index is the capability's number (linux/capability.h).
ALL_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
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


def last_capability() -> int:
    """The number of the highest capability that this kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return len(ALL_CAPABILITIES) - 1


def all_capabilities() -> list[str]:
    """The names of every capability that this process can hand on: known here and in its bounding
    set (a container inside a container cannot give what it does not have)."""
    bounding = -1
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"CapBnd:"):
                    bounding = int(line[7:], 16)
                    break
    except OSError:
        pass
    last = last_capability()
    return [
        name
        for number, name in enumerate(ALL_CAPABILITIES)
        if number <= last and (bounding >> number) & 1
    ]
