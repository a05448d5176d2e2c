"""The configuration of a container: reading, checking, and the one that `spec` prints.

What is checked is what a mistake would turn into a confusing error or a container that is less
isolated than it says (runtime-spec config.md, config-linux.md).  Unknown keys are left alone.
"""

from __future__ import annotations

import json
import os
import posixpath

from jubako.errors import InvalidArgument, KernelError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

CONFIG = "config.json"
MAX_CONFIG_BYTES = 16 << 20  # a seccomp profile and a thousand mounts are well below one

# sysctl -> the namespace that makes it the container's own
_SYSCTL_NAMESPACES = {
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.sem": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.hostname": "uts",
    "kernel.domainname": "uts",
}

# Every container has these (runtime-spec config-linux.md, Default Devices), and may make any node,
# which is of no use without the right to open it.
_DEFAULT_RULES: tuple[dict[str, object], ...] = (
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},  # /dev/pts/*
)


def load(bundle: str) -> Spec:
    """Read `bundle`/config.json.  Raises InvalidArgument, KernelError."""
    path = os.path.join(bundle, CONFIG)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise KernelError.from_oserror("read", error, path=path) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidArgument(f"{path} has more than {MAX_CONFIG_BYTES} bytes")
    try:
        spec = json.loads(data)
    except ValueError as error:
        raise InvalidArgument(f"read {path}: {error}") from error
    if not isinstance(spec, dict):
        raise InvalidArgument(f"read {path}: not a JSON object")
    return spec


def validate(spec: Spec) -> None:
    """Raise InvalidArgument or Unsupported for what cannot become a container."""
    version = spec.get("ociVersion")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        raise InvalidArgument(f"ociVersion {version!r} is not 1.x")
    if not isinstance(spec.get("linux"), dict):
        raise InvalidArgument("the configuration has no linux section")
    root = spec.get("root")
    if not isinstance(root, dict) or not root.get("path"):
        raise InvalidArgument("the configuration has no root.path")
    process = spec.get("process")
    if not isinstance(process, dict):
        raise InvalidArgument("the configuration has no process")
    validate_process(process)
    namespaces = spec["linux"].get("namespaces")
    if not isinstance(namespaces, list):
        raise InvalidArgument("the configuration has no linux.namespaces")
    kinds = {entry.get("type") for entry in namespaces}
    paths = {entry.get("type"): entry.get("path") or "" for entry in namespaces}
    if "mount" not in kinds:
        raise Unsupported("a container without a mount namespace")
    for key in spec["linux"].get("sysctl") or {}:
        _check_sysctl(key, paths)
    if (spec.get("hostname") or spec.get("domainname")) and "uts" not in kinds:
        raise InvalidArgument("unable to set hostname without a private UTS namespace")
    if "user" in kinds and not paths["user"]:
        if not spec["linux"].get("uidMappings") or not spec["linux"].get("gidMappings"):
            raise InvalidArgument("a new user namespace needs uidMappings and gidMappings")
    elif spec["linux"].get("uidMappings") and "user" not in kinds:
        raise InvalidArgument("user namespace mappings specified, but no user namespace")
    if spec["linux"].get("timeOffsets") and paths.get("time", "-"):
        raise InvalidArgument("timeOffsets need a new time namespace")
    for name in ("intelRdt", "memoryPolicy", "netDevices"):
        if spec["linux"].get(name):
            raise Unsupported(f"linux.{name}")
    for mount in spec.get("mounts") or ():
        if not isinstance(mount, dict) or not isinstance(mount.get("destination"), str):
            raise InvalidArgument("a mount has no destination")
        path = mount["destination"]
        if "\0" in path or posixpath.normpath(path).strip("/") in ("", "."):
            raise InvalidArgument(f"invalid mount destination {path!r}")


def validate_process(process: dict[str, Any]) -> None:
    """The same for a process object."""
    arguments = process.get("args")
    if not isinstance(arguments, list) or not arguments:
        raise InvalidArgument("process.args is empty")
    if process.get("execCPUAffinity"):
        raise Unsupported("process.execCPUAffinity")
    cwd = process.get("cwd")
    if not isinstance(cwd, str) or not cwd.startswith("/"):
        raise InvalidArgument(f"process.cwd must be an absolute path, not {cwd!r}")


def _check_sysctl(key: str, namespaces: dict[str, str]) -> None:
    name = key.replace("/", ".")
    if ".." in key or not name:
        raise InvalidArgument(f"invalid sysctl {key!r}")
    kind = _SYSCTL_NAMESPACES.get(name)
    if name.startswith("fs.mqueue."):
        kind = "ipc"
    elif name.startswith("net."):
        kind = "network"
    elif name.startswith("user."):
        kind = "user"
    if kind is None:
        raise InvalidArgument(f'sysctl "{key}" is not in a separate kernel namespace')
    if kind not in namespaces:
        raise InvalidArgument(f'sysctl "{key}" not allowed in host {kind} namespace')


def needs_devices(spec: Spec) -> bool:
    """Whether /dev is the container's own; with the host's bound there, nothing is made in it."""
    for mount in spec.get("mounts") or ():
        if posixpath.normpath(mount["destination"]) == "/dev":
            words = mount.get("options") or ()
            return not (mount.get("type") == "bind" or "bind" in words or "rbind" in words)
    return True


def console_size(process: dict[str, Any]) -> tuple[int, int] | None:
    """Columns and rows of the terminal, None when the process says nothing."""
    size = process.get("consoleSize")
    if not size:
        return None
    return size.get("width") or 0, size.get("height") or 0


def cgroup_path(spec: Spec, container_id: str) -> str:
    """The container's path in each hierarchy; `/<id>` when the spec leaves it to us.

    Raises Unsupported for systemd's form `slice:prefix:name`.
    """
    path: str = spec["linux"].get("cgroupsPath") or ""
    if not path:
        return f"/{container_id}"
    if ":" in path and not path.startswith("/"):
        raise Unsupported(
            f"cgroupsPath {path!r} is for systemd",
            hint="configure the engine's cgroup manager as cgroupfs",
        )
    return posixpath.normpath("/" + path.lstrip("/"))


def resources(spec: Spec) -> dict[str, Any]:
    """linux.resources with the rules for the default devices after those of the spec."""
    wanted = dict(spec["linux"].get("resources") or {})
    if wanted.get("devices"):
        wanted["devices"] = [*wanted["devices"], *_DEFAULT_RULES]
    return wanted
