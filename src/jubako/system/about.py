"""What the engine is and where it runs: the answers of `version` and `info`, in the API's shape."""

from __future__ import annotations

import os
import time

from jubako.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services
    from jubako.store import Store

API_VERSION = "1.51"  # of the Engine API whose shapes we use
MIN_API_VERSION = "1.24"
RUNTIME = "jubako"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> dict[str, Any]:
    """The API's Version object; Components has the engine alone, for it is all there is."""
    system = os.uname()
    architecture = _ARCHITECTURES.get(system.machine, system.machine)
    python = _python_version()
    return {
        "Platform": {"Name": "Jubako"},
        "Components": [
            {
                "Name": "Engine",
                "Version": __version__,
                "Details": {
                    "ApiVersion": API_VERSION,
                    "Arch": architecture,
                    "BuildTime": "",
                    "Experimental": "false",
                    "GitCommit": "",
                    "GoVersion": "",
                    "KernelVersion": system.release,
                    "MinAPIVersion": MIN_API_VERSION,
                    "Os": "linux",
                    "PythonVersion": python,
                },
            }
        ],
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "PythonVersion": python,
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": system.release,
        "BuildTime": "",
    }


def info(services: Services, containers: ContainerService) -> dict[str, Any]:
    """The API's SystemInfo object.  Raises Unsupported (no cgroups), KernelError."""
    from jubako.linux.cgroups import detect

    system = os.uname()
    layout = detect()
    states = [container["State"] for container in containers.list(all=True)]
    running, paused = states.count("running"), states.count("paused")
    return {
        "ID": _identity(services.store),
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(services.images.list(all=True)),
        "Driver": "overlay",
        "DriverStatus": [["Backing Filesystem", _filesystem(services.store.path)]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "IPv4Forwarding": _flag("/proc/sys/net/ipv4/ip_forward"),
        "Debug": False,
        "SystemTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if layout.kind == "v2" else "1",
        "KernelVersion": system.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": system.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": services.store.path,
        "Name": system.nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {RUNTIME: {"path": "jubako-runtime"}},
        "DefaultRuntime": RUNTIME,
        "LiveRestoreEnabled": True,  # a container never depends on another process of ours
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "Warnings": None,
    }


def _python_version() -> str:
    import sys

    return ".".join(map(str, sys.version_info[:3]))


def _identity(store: Store) -> str:
    """A name for this root on this machine that stays the same, in the form of a UUID."""
    import hashlib

    text = _read("/etc/machine-id") + store.path
    digits = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _filesystem(path: str) -> str:
    """The type of the file system that holds `path`."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(" ")
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return "unknown"


def _operating_system() -> str:
    for line in _read("/etc/os-release").split("\n"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _flag(path: str) -> bool:
    return _read(path) == "1"


def _read(path: str) -> str:
    """A small file without its last newline; "" when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(65536).rstrip("\n")
    except OSError:
        return ""
