"""What the engine is and where it runs: the answers of `version` and `info`, in the API's shape."""

from __future__ import annotations

import os

from jubako.containers.logs.options import DRIVERS
from jubako.containers.times import now
from jubako.errors import Unsupported
from jubako.linux.cgroups import detect
from jubako.linux.cgroups.support import supports
from jubako.linux.mountinfo import filesystem_of
from jubako.store import settings
from jubako.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services
    from jubako.linux.cgroups import Layout
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
    """The API's SystemInfo object.  Raises Unsupported (no cgroups), KernelError, InvalidArgument
    (settings)."""
    system = os.uname()
    chosen = settings.load(services.store.path)
    layout = detect()
    counts = containers.count()
    release = _os_release()
    return {
        "ID": _identity(services.store),
        "Containers": sum(counts.values()),
        "ContainersRunning": counts.get("running", 0) + counts.get("restarting", 0),
        "ContainersPaused": counts.get("paused", 0),
        "ContainersStopped": sum(counts.values())
        - sum(counts.get(status, 0) for status in ("running", "restarting", "paused")),
        "Images": len(services.images.list(all=True)),
        **_storage(services),
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": list(DRIVERS),
        },
        **_limits(layout),
        "IPv4Forwarding": _flag("/proc/sys/net/ipv4/ip_forward"),
        "Debug": False,
        "NFd": len(os.listdir("/proc/self/fd")),
        "OomKillDisable": supports(layout, "oom_kill_disable"),
        "NGoroutines": 0,
        "SystemTime": now(),
        "LoggingDriver": chosen.log_driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if layout.kind == "v2" else "1",
        "NEventsListener": 0,
        "KernelVersion": system.release,
        "OperatingSystem": release.get("PRETTY_NAME", "Linux"),
        "OSVersion": release.get("VERSION_ID", ""),
        "OSType": "linux",
        "Architecture": system.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "IndexConfigs": {},
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "Mirrors": None,
        },
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "GenericResources": None,
        "DockerRootDir": services.store.path,
        "HttpProxy": _proxy("http_proxy"),
        "HttpsProxy": _proxy("https_proxy"),
        "NoProxy": _proxy("no_proxy"),
        "Name": system.nodename,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": {RUNTIME: {"path": "jubako-runtime"}},
        "DefaultRuntime": RUNTIME,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,  # a container never depends on another process of ours
        "Isolation": "",
        "InitBinary": RUNTIME,
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": _security(layout),
        "CDISpecDirs": list(chosen.cdi_spec_dirs),
        "Warnings": _warnings(layout),
    }


def _storage(services: Services) -> dict[str, Any]:
    """The driver that makes new layers, why it does, and by which driver each layer was made."""
    status = [["Backing Filesystem", filesystem_of(services.store.path)]]
    try:
        choice = services.images.layers.choice()
    except Unsupported as exc:  # the settings ask for what cannot be: pulls fail, info does not
        name, reason = settings.load(services.store.path).storage_driver, exc.message
    else:
        name, reason = choice.name, choice.reason
    status.append(["Chosen because", reason])
    query = "SELECT driver, count(*) FROM layers GROUP BY driver ORDER BY driver"
    counts = [f"{count} {driver}" for driver, count in services.store.db.execute(query)]
    status.append(["Layers", ", ".join(counts) or "0"])
    return {"Driver": name, "DriverStatus": status}


def _limits(layout: Layout) -> dict[str, bool]:
    kernel_tcp = layout.find("memory")
    file = f"{kernel_tcp.path}/memory.kmem.tcp.limit_in_bytes" if kernel_tcp else ""
    limits = {
        "MemoryLimit": supports(layout, "memory"),
        "SwapLimit": supports(layout, "swap"),
        "CpuCfsPeriod": supports(layout, "cpu_cfs"),
        "CpuCfsQuota": supports(layout, "cpu_cfs"),
        "CPUShares": supports(layout, "cpu_shares"),
        "CPUSet": supports(layout, "cpuset"),
        "PidsLimit": supports(layout, "pids"),
    }
    if os.path.exists(file):
        limits["KernelMemoryTCP"] = True
    return limits


def _warnings(layout: Layout) -> list[str] | None:
    """What Docker warns of, in its words."""
    missing = {
        "memory": "No memory limit support",
        "swap": "No swap limit support",
        "cpu_cfs": "No cpu cfs quota support",
        "cpu_shares": "No cpu shares support",
        "cpuset": "No cpuset support",
    }
    found = [f"WARNING: {text}" for name, text in missing.items() if not supports(layout, name)]
    if not _flag("/proc/sys/net/ipv4/ip_forward"):
        found.append("WARNING: IPv4 forwarding is disabled")
    return found or None


def _security(layout: Layout) -> list[str]:
    options = ["name=seccomp,profile=builtin"]
    if layout.kind == "v2":
        options.append("name=cgroupns")
    return options


def _proxy(name: str) -> str:
    """A proxy of the environment, without the password that it may have."""
    value = os.environ.get(name) or os.environ.get(name.upper()) or ""
    scheme, found, rest = value.rpartition("://")
    if "@" not in rest:
        return value
    return f"{scheme}{found}xxxxx:xxxxx@{rest.rpartition('@')[2]}"


def _python_version() -> str:
    import sys

    return ".".join(map(str, sys.version_info[:3]))


def _identity(store: Store) -> str:
    """A name for this root on this machine that stays the same, in the form of a UUID."""
    import hashlib

    text = _read("/etc/machine-id") + store.path
    digits = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _os_release() -> dict[str, str]:
    """os-release(5) of the host."""
    lines = (line.partition("=") for line in _read("/etc/os-release").split("\n"))
    return {key: value.strip("\"'") for key, found, value in lines if found}


def _flag(path: str) -> bool:
    return _read(path) == "1"


def _read(path: str) -> str:
    """A small file without its last newline; "" when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(65536).rstrip("\n")
    except OSError:
        return ""
