"""A client's options and an image's defaults become a container's complete configuration."""

from __future__ import annotations

import os

from jubako.containers.definition import binds
from jubako.containers.definition.validate import check_request
from jubako.errors import InvalidArgument
from jubako.oci import runtime_defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jubako.containers.model import Config, HostConfig, Json

DEFAULT_RUNTIME = "jubako"

# Both in the order of Docker's `inspect`.  OMIT: the key is left out while it is empty; None: it is
# null; list and dict: it is an empty one.
OMIT = object()
_CONFIG: tuple[tuple[str, object], ...] = (
    ("Hostname", ""),
    ("Domainname", ""),
    ("User", ""),
    ("AttachStdin", False),
    ("AttachStdout", False),
    ("AttachStderr", False),
    ("ExposedPorts", OMIT),
    ("Tty", False),
    ("OpenStdin", False),
    ("StdinOnce", False),
    ("Env", None),
    ("Cmd", None),
    ("Healthcheck", OMIT),
    ("ArgsEscaped", OMIT),
    ("Image", ""),
    ("Volumes", None),
    ("WorkingDir", ""),
    ("Entrypoint", None),
    ("NetworkDisabled", OMIT),
    ("MacAddress", OMIT),
    ("OnBuild", None),
    ("Labels", dict),
    ("StopSignal", OMIT),
    ("StopTimeout", OMIT),
    ("Shell", OMIT),
)

_HOST: tuple[tuple[str, object], ...] = (
    ("Binds", None),
    ("ContainerIDFile", ""),
    ("LogConfig", None),
    ("NetworkMode", ""),
    ("PortBindings", dict),
    ("RestartPolicy", None),
    ("AutoRemove", False),
    ("VolumeDriver", ""),
    ("VolumesFrom", None),
    ("ConsoleSize", None),
    ("Annotations", OMIT),
    ("CapAdd", None),
    ("CapDrop", None),
    ("CgroupnsMode", ""),
    ("Dns", list),
    ("DnsOptions", list),
    ("DnsSearch", list),
    ("ExtraHosts", None),
    ("GroupAdd", None),
    ("IpcMode", ""),
    ("Cgroup", ""),
    ("Links", None),
    ("OomScoreAdj", 0),
    ("PidMode", ""),
    ("Privileged", False),
    ("PublishAllPorts", False),
    ("ReadonlyRootfs", False),
    ("SecurityOpt", None),
    ("StorageOpt", OMIT),
    ("Tmpfs", OMIT),
    ("UTSMode", ""),
    ("UsernsMode", ""),
    ("ShmSize", 0),
    ("Sysctls", OMIT),
    ("Runtime", ""),
    ("Isolation", ""),
    ("CpuShares", 0),
    ("Memory", 0),
    ("NanoCpus", 0),
    ("CgroupParent", ""),
    ("BlkioWeight", 0),
    ("BlkioWeightDevice", list),
    ("BlkioDeviceReadBps", list),
    ("BlkioDeviceWriteBps", list),
    ("BlkioDeviceReadIOps", list),
    ("BlkioDeviceWriteIOps", list),
    ("CpuPeriod", 0),
    ("CpuQuota", 0),
    ("CpuRealtimePeriod", 0),
    ("CpuRealtimeRuntime", 0),
    ("CpusetCpus", ""),
    ("CpusetMems", ""),
    ("Devices", list),
    ("DeviceCgroupRules", None),
    ("DeviceRequests", None),
    ("MemoryReservation", 0),
    ("MemorySwap", 0),
    ("MemorySwappiness", None),
    ("OomKillDisable", False),
    ("PidsLimit", None),
    ("Ulimits", list),
    ("CpuCount", 0),
    ("CpuPercent", 0),
    ("IOMaximumIOps", 0),
    ("IOMaximumBandwidth", 0),
    ("Mounts", OMIT),
    ("MaskedPaths", None),
    ("ReadonlyPaths", None),
    ("Init", OMIT),
    ("HealthOnFailure", OMIT),  # ours
)

CONFIG_KEYS = tuple(name for name, _ in _CONFIG)
HOST_KEYS = tuple(name for name, _ in _HOST)
_HEALTH_DEFAULTS = ("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def merge(
    config: Mapping[str, Any],
    host_config: Mapping[str, Any],
    image_config: Mapping[str, Any] | None,
    *,
    container_id: str = "",
    default_runtime: str = DEFAULT_RUNTIME,
) -> tuple[Config, HostConfig, list[str]]:
    """Fill a request up with the image's defaults and the engine's; the arguments are not changed.

    config, host_config: as an API client sends them; keys may be missing or null.
    image_config: the image JSON (its `config` member is used) or None for no image.
    container_id: its first 12 digits are the default host name.
    Returns the complete Config and HostConfig, in Docker's order, and warnings.
    Raises InvalidArgument for a value of the wrong type and when there is no command.
    """
    warnings: list[str] = []
    result = _filled("Config", config, _CONFIG)
    host = _filled("HostConfig", host_config, _HOST)
    check_request(result, host)
    image = (image_config or {}).get("config") or {}
    _merge_image(result, image)
    if result["Entrypoint"] == [""]:  # --entrypoint "" removes that of the image
        result["Entrypoint"] = None
    if not result["Entrypoint"] and not result["Cmd"]:
        raise InvalidArgument("no command specified")
    _complete_host(host, default_runtime, warnings)
    if not result["Hostname"]:
        if host["NetworkMode"] == "host" or host["UTSMode"] == "host":
            result["Hostname"] = os.uname().nodename
        else:
            result["Hostname"] = container_id[:12]
    return (
        _ordered(result, _CONFIG),
        _ordered(host, _HOST),
        warnings,
    )


def command(config: Config) -> tuple[str, list[str]]:
    """(Path, Args) of the container's process: entry point first, then the command."""
    words = [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]
    return words[0], words[1:]


def pin_namespaces(host: HostConfig, find: Callable[[str], str]) -> None:
    """Replace names by IDs in the modes `container:NAME`: a rename must not change who is meant.

    find: the ID for a name, ID or prefix; what it raises comes through.
    """
    for key in ("PidMode", "IpcMode", "NetworkMode"):
        mode: str = host[key]
        kind, colon, reference = mode.partition(":")
        if colon and kind == "container":
            host[key] = f"container:{find(reference)}"


def cgroup_namespace_default(*, privileged: bool) -> str:
    """`private` on a pure cgroup v2 host, else `host`, as Docker does."""
    del privileged  # the same on v2; on v1 Docker's default is `host` for everybody
    return "private" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "host"


def _fresh(default: object) -> Any:
    if default is OMIT:
        return None
    if default is list or default is dict:
        return default()
    return default


def _filled(
    what: str, given: Mapping[str, Any], fields: tuple[tuple[str, object], ...]
) -> dict[str, Any]:
    """Every known field of `given`, copied where a caller might change it, with defaults."""
    result: dict[str, Any] = {}
    for name, default in fields:
        value = given.get(name)
        if value is None:
            value = _fresh(default)
        elif type(value) is list:
            value = list(value)
        elif type(value) is dict:
            value = dict(value)
        result[name] = value
    _check_types(what, result)
    return result


def _ordered(values: dict[str, Any], fields: tuple[tuple[str, object], ...]) -> Any:
    return {
        name: values[name]
        for name, default in fields
        if default is not OMIT
        or values[name]
        or (name in _SHOWN_WHEN_ZERO and values[name] is not None)
    }


_SHOWN_WHEN_ZERO = ("StopTimeout", "Init")  # pointers in Docker: 0 and false are answers
_LISTS_OF_TEXT = frozenset(
    "Env Cmd Entrypoint OnBuild Shell Binds VolumesFrom CapAdd CapDrop Dns DnsOptions DnsSearch "
    "ExtraHosts GroupAdd Links SecurityOpt DeviceCgroupRules MaskedPaths ReadonlyPaths".split()
)
_LISTS_OF_OBJECTS = frozenset(
    "BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps "
    "BlkioDeviceWriteIOps Devices DeviceRequests Ulimits Mounts".split()
)
_OBJECTS = frozenset(
    "ExposedPorts Healthcheck Volumes Labels LogConfig PortBindings RestartPolicy Annotations "
    "StorageOpt Tmpfs Sysctls".split()
)
_OBJECTS_OF_TEXT = frozenset("Labels Annotations StorageOpt Tmpfs Sysctls".split())
_NUMBERS = frozenset(
    "StopTimeout OomScoreAdj ShmSize CpuShares Memory NanoCpus BlkioWeight CpuPeriod CpuQuota "
    "CpuRealtimePeriod CpuRealtimeRuntime MemoryReservation MemorySwap MemorySwappiness PidsLimit "
    "CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth".split()
)
_FLAGS = frozenset(
    "AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce ArgsEscaped NetworkDisabled "
    "AutoRemove Privileged PublishAllPorts ReadonlyRootfs OomKillDisable Init".split()
)


def _check_types(what: str, values: dict[str, Any]) -> None:
    """Refuse JSON of the wrong type by name, so that nothing later meets it."""
    for name, value in values.items():
        if value is None:
            continue
        if name in _LISTS_OF_TEXT:
            good = type(value) is list and all(type(item) is str for item in value)
        elif name in _LISTS_OF_OBJECTS:
            good = type(value) is list and all(type(item) is dict for item in value)
        elif name in _OBJECTS:
            good = type(value) is dict
            if good and name in _OBJECTS_OF_TEXT:
                good = all(type(item) is str for item in value.values())
        elif name in _NUMBERS:
            good = type(value) is int
        elif name in _FLAGS:
            good = type(value) is bool
        elif name == "ConsoleSize":
            good = type(value) is list and len(value) == 2 and all(type(n) is int for n in value)
        else:
            good = type(value) is str
        if not good:
            raise InvalidArgument(f"invalid value of {what}.{name}: wrong type", subject=name)


def _merge_image(config: dict[str, Any], image: Json) -> None:
    """Docker's rules: the container's value wins, lists of names are united."""
    for name in ("User", "WorkingDir", "StopSignal"):
        if not config[name]:
            config[name] = image.get(name) or config[name]
    for name in ("ExposedPorts", "Volumes"):
        if image.get(name):
            config[name] = {**image[name], **(config[name] or {})}
    if not config["Env"]:
        config["Env"] = list(image["Env"]) if image.get("Env") else None
    else:
        known = {entry.partition("=")[0] for entry in config["Env"]}
        for entry in image.get("Env") or ():
            if entry.partition("=")[0] not in known:
                config["Env"].append(entry)
    config["Labels"] = {**(image.get("Labels") or {}), **config["Labels"]}
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = list(image["Cmd"]) if image.get("Cmd") else config["Cmd"]
        if config["Entrypoint"] is None:
            config["Entrypoint"] = list(image["Entrypoint"]) if image.get("Entrypoint") else None
    own, inherited = config["Healthcheck"] or {}, image.get("Healthcheck") or {}
    if own or inherited:
        config["Healthcheck"] = {
            key: own.get(key) or inherited.get(key)
            for key in _HEALTH_DEFAULTS
            if own.get(key) or inherited.get(key)
        }
    if config["Shell"] is None and image.get("Shell"):
        config["Shell"] = list(image["Shell"])
    if config["WorkingDir"].startswith("/"):
        config["WorkingDir"] = binds.clean(config["WorkingDir"])


def _complete_host(host: dict[str, Any], default_runtime: str, warnings: list[str]) -> None:
    if not host["LogConfig"]:
        host["LogConfig"] = {}
    host["LogConfig"] = {
        "Type": host["LogConfig"].get("Type") or "json-file",
        "Config": dict(sorted((host["LogConfig"].get("Config") or {}).items())),
    }
    if host["NetworkMode"] in ("", "default"):
        host["NetworkMode"] = "bridge"
    policy = host["RestartPolicy"] or {}
    host["RestartPolicy"] = {
        "Name": policy.get("Name") or "no",
        "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
    }
    if host["HealthOnFailure"] == "none":
        host["HealthOnFailure"] = None
    host["ConsoleSize"] = host["ConsoleSize"] or [0, 0]
    host["CgroupnsMode"] = host["CgroupnsMode"] or cgroup_namespace_default(
        privileged=host["Privileged"]
    )
    host["IpcMode"] = host["IpcMode"] or "private"
    host["ShmSize"] = host["ShmSize"] or runtime_defaults.SHM_SIZE_BYTES
    host["Runtime"] = host["Runtime"] or default_runtime
    if host["Memory"] > 0 and host["MemorySwap"] == 0:
        host["MemorySwap"] = host["Memory"] * 2
    if host["MemorySwappiness"] == -1:  # what the command line sends for "not given"
        host["MemorySwappiness"] = None
    _complete_security(host)
    _complete_paths(host)
    if host["NetworkMode"] == "host" and host["PortBindings"]:
        warnings.append("Published ports are discarded when using host network mode")


def _complete_security(host: dict[str, Any]) -> None:
    """SELinux cannot confine what shares the host's processes: Docker then switches it off."""
    given = host["SecurityOpt"] or []
    if any(option.startswith("label=") for option in given):
        return
    if host["Privileged"] or host["IpcMode"] == "host" or host["PidMode"] == "host":
        host["SecurityOpt"] = [*given, "label=disable"]


def _complete_paths(host: dict[str, Any]) -> None:
    """Masked and read-only paths: the request's, none when privileged, else the defaults."""
    if "systempaths=unconfined" in (host["SecurityOpt"] or ()):  # the CLI sends [] instead
        host["SecurityOpt"] = [
            option for option in host["SecurityOpt"] if option != "systempaths=unconfined"
        ] or None
        host["MaskedPaths"] = []
        host["ReadonlyPaths"] = []
    if host["Privileged"]:
        return
    if host["MaskedPaths"] is None:
        host["MaskedPaths"] = runtime_defaults.masked_paths()
    if host["ReadonlyPaths"] is None:
        host["ReadonlyPaths"] = list(runtime_defaults.READONLY_PATHS)
