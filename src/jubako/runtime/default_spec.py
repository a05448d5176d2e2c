"""The configuration that `jubako-runtime spec` writes: a shell, isolated, nothing shared."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def default_spec(*, rootless: bool = False) -> dict[str, Any]:
    """An OCI configuration for a root file system at `rootfs`.

    rootless: in a user namespace that maps the caller, without limits.
    """
    spec: dict[str, Any] = {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": _CAPABILITIES,
                "effective": _CAPABILITIES,
                "permitted": _CAPABILITIES,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "jubako",
        "mounts": [
            _mount("/proc", "proc", "proc", ()),
            _mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
            _mount(
                "/dev/pts",
                "devpts",
                "devpts",
                ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            ),
            _mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            ),
            _mount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
            _mount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", "ro")),
            _mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                ("nosuid", "noexec", "nodev", "relatime", "ro"),
            ),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
            ],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ],
        },
    }
    if rootless:
        _make_rootless(spec)
    return spec


def _mount(path: str, fstype: str, source: str, options: tuple[str, ...]) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": path, "type": fstype, "source": source}
    if options:
        mount["options"] = list(options)
    return mount


def _make_rootless(spec: dict[str, Any]) -> None:
    linux = spec["linux"]
    del linux["resources"]
    linux["namespaces"] = [
        entry for entry in linux["namespaces"] if entry["type"] not in ("network", "cgroup")
    ] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] not in ("cgroup", "sysfs")]
    for mount in spec["mounts"]:
        if mount["type"] == "devpts":
            mount["options"].remove("gid=5")  # not mapped
    spec["mounts"].append(
        _mount("/sys", "none", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro"))
    )
