"""A container as `docker inspect` shows it: Docker's keys, in Docker's order, with its defaults."""

from __future__ import annotations

from jubako.containers.definition import security
from jubako.containers.times import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.containers.model import Config, ContainerRecord, HostConfig, Json, MountPoint

# What a mount point shows, in order; the rest is ours.
_MOUNT_KEYS = ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation")
_OPTIONAL_MOUNT_KEYS = ("Name", "Driver")


def to_inspect(
    record: ContainerRecord,
    state: Mapping[str, object],
    *,
    endpoint: Mapping[str, Any] | None = None,
    directory: str = "",
    exec_ids: Sequence[str] | None = None,
    restart_count: int = 0,
    layers: Sequence[str] = (),
) -> Json:
    """The answer of `docker inspect` for one container.

    state: its State object.  endpoint: what `networks.attach` returned, empty while it does not
    run.  directory: where its files lie (`upper`, `work`, `rootfs`).  exec_ids: running execs.
    layers: the directories of the image's layers, the topmost first.
    """
    host = record["HostConfig"]
    options = security.parse(host["SecurityOpt"] or ())
    # the files are there from the first start on
    started = state.get("StartedAt") != NEVER
    paths = {
        key: record.get(key, "") if started else ""
        for key in ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath")
    }
    return {
        "Id": record["Id"],
        "Created": record["Created"],
        "Path": record["Path"],
        "Args": list(record["Args"]),
        "State": dict(state),
        "Image": record["ImageId"],
        **paths,
        "Name": f"/{record['Name']}",
        "RestartCount": restart_count,
        "Driver": record.get("Driver", ""),
        "Platform": record.get("Platform", "linux"),
        "MountLabel": options.mount_label,
        "ProcessLabel": options.process_label,
        "AppArmorProfile": options.apparmor,
        "ExecIDs": list(exec_ids) if exec_ids else None,
        "HostConfig": _host_config(host),
        "GraphDriver": _graph_driver(record, directory, layers),
        "Mounts": mount_points(record["Mounts"]),
        "Config": dict(record["Config"]),
        "NetworkSettings": network_settings(
            record["Config"],
            host,
            endpoint or {},
            pid=_pid(state),
            sandbox=record["Id"],
            ipam=record.get("EndpointConfig", {}).get("IPAMConfig"),
        ),
    }


def mount_points(points: Sequence[MountPoint]) -> list[Json]:
    """The `Mounts` of inspect: without what only we need."""
    return [
        {
            key: point.get(key, "")
            for key in _MOUNT_KEYS
            if point.get(key) or key not in _OPTIONAL_MOUNT_KEYS
        }
        for point in points
    ]


def network_settings(
    config: Config,
    host: HostConfig,
    endpoint: Mapping[str, Any],
    *,
    pid: int = 0,
    sandbox: str = "",
    ipam: Json | None = None,
) -> Json:
    """The `NetworkSettings` of inspect.

    endpoint: of the one network that the container is on; empty values while it does not run.
    pid: of its init, 0 while it does not run.  ipam: addresses that the user asked for.
    sandbox: what the container's network namespace is called.
    """
    mode = host["NetworkMode"]
    joined = mode.startswith("container:")
    own_address = not joined and mode not in ("host", "none")
    values: dict[str, Any] = {
        "EndpointID": endpoint.get("EndpointID", ""),
        "Gateway": endpoint.get("Gateway", ""),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": endpoint.get("IPAddress", ""),
        "IPPrefixLen": endpoint.get("IPPrefixLen", 0),
        "IPv6Gateway": "",
        "MacAddress": endpoint.get("MacAddress", ""),
    }
    nothing: dict[str, Any] = {key: type(value)() for key, value in values.items()}
    settings: Json = {
        "Bridge": "",
        "SandboxID": sandbox if pid and not joined else "",
        "SandboxKey": f"/proc/{pid}/ns/net" if pid and not joined else "",
        "Ports": _ports(config, endpoint) if pid and own_address else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        # the top level repeats the default network alone, for old clients
        **(values if mode == "bridge" else nothing),
        "Networks": {},
    }
    if not joined:
        settings["Networks"][mode] = {
            "IPAMConfig": ipam,
            "Links": None,
            "Aliases": endpoint.get("Aliases") or None,
            "MacAddress": values["MacAddress"],
            "DriverOpts": None,
            "GwPriority": 0,
            "NetworkID": endpoint.get("NetworkID", ""),
            "EndpointID": values["EndpointID"],
            "Gateway": values["Gateway"],
            "IPAddress": values["IPAddress"],
            "IPPrefixLen": values["IPPrefixLen"],
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": endpoint.get("DNSNames") or None,
        }
    return settings


def _ports(config: Config, endpoint: Mapping[str, Any]) -> Json:
    """Published ports with their host addresses; exposed ones that are not, with null."""
    ports: Json = {port: None for port in config.get("ExposedPorts") or ()}
    for port, bindings in (endpoint.get("Ports") or {}).items():
        ports[port] = list(bindings) if bindings else None
    return dict(sorted(ports.items()))


def _host_config(host: HostConfig) -> Json:
    """HostConfig as Docker prints it: of a mount only what it has."""
    shown: Json = dict(host)
    if shown.get("Mounts"):
        shown["Mounts"] = [
            {key: value for key, value in mount.items() if value} for mount in shown["Mounts"]
        ]
    return shown


def _graph_driver(record: ContainerRecord, directory: str, layers: Sequence[str]) -> Json:
    data = None
    if directory:
        data = {
            "LowerDir": ":".join(layers),
            "MergedDir": f"{directory}/rootfs",
            "UpperDir": f"{directory}/upper",
            "WorkDir": f"{directory}/work",
        }
    return {"Data": data, "Name": record.get("Driver", "")}


def _pid(state: Mapping[str, object]) -> int:
    pid = state.get("Pid", 0)
    return pid if isinstance(pid, int) else 0
