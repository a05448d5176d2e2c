"""`jubako info`: the engine and the machine it is on."""

from __future__ import annotations

from jubako.cli import units
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.inspecting import Struct, write_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("format", "f", STRING),))


def run(session: Session, call: Call) -> int:
    layout = call.text("format")
    info = session.engine.info()
    if not layout:
        for line in _page(info, session.debug):
            session.out(line)
        for warning in info.get("Warnings") or ():
            session.err(warning)
        return 0
    data = {**info, "ClientInfo": _client(session)}
    if layout != "json":
        data["ServerErrors"] = []  # what Docker leaves out of the JSON while there are none
    return write_one(session, Struct("system.dockerInfo", data), layout)


def _client(session: Session) -> dict[str, Any]:
    """Docker's part about the command line, which is one program with the engine here."""
    from jubako.cli.commands import version

    client = version.client(session.engine.version())
    names = ("Version", "DefaultAPIVersion", "GitCommit", "Os", "Arch", "BuildTime", "Context")
    return {
        "Debug": session.debug,
        **{name: client[name] for name in names},
        "Plugins": [],
        "Warnings": None,
    }


def _page(info: Any, debug: bool) -> Iterator[str]:
    yield "Client:"
    yield f" Version:    {info['ServerVersion']}"
    yield " Context:    default"
    yield f" Debug Mode: {_bool(debug)}"
    yield ""
    yield "Server:"
    yield f" Containers: {info['Containers']}"
    yield f"  Running: {info['ContainersRunning']}"
    yield f"  Paused: {info['ContainersPaused']}"
    yield f"  Stopped: {info['ContainersStopped']}"
    yield f" Images: {info['Images']}"
    yield from _given(info, {"ServerVersion": "Server Version", "Driver": "Storage Driver"})
    yield from (f"  {name}: {value}" for name, value in info.get("DriverStatus") or ())
    yield from _given(
        info,
        {
            "LoggingDriver": "Logging Driver",
            "CgroupDriver": "Cgroup Driver",
            "CgroupVersion": "Cgroup Version",
        },
    )
    plugins = info.get("Plugins") or {}
    yield " Plugins:"
    for kind in ("Volume", "Network", "Log"):
        yield f"  {kind}: {' '.join(plugins.get(kind) or ())}"
    swarm = info.get("Swarm") or {}
    if swarm.get("LocalNodeState"):
        yield f" Swarm: {swarm['LocalNodeState']}"
    if info.get("Runtimes"):
        yield f" Runtimes: {' '.join(sorted(info['Runtimes']))}"
        yield f" Default Runtime: {info['DefaultRuntime']}"
    yield from _given(info, {"InitBinary": "Init Binary"})
    if info.get("SecurityOptions"):
        yield " Security Options:"
        for option in info["SecurityOptions"]:
            fields = dict(field.partition("=")[::2] for field in option.split(","))
            yield f"  {fields.get('name', option)}"
            if "profile" in fields:
                yield f"   Profile: {fields['profile']}"
    yield from _given(
        info,
        {
            "KernelVersion": "Kernel Version",
            "OperatingSystem": "Operating System",
            "OSType": "OSType",
            "Architecture": "Architecture",
        },
    )
    yield f" CPUs: {info['NCPU']}"
    yield f" Total Memory: {units.binary_size(info['MemTotal'])}"
    yield from _given(info, {"Name": "Name", "ID": "ID", "DockerRootDir": "Docker Root Dir"})
    yield f" Debug Mode: {_bool(info.get('Debug', False))}"
    yield from _given(
        info, {"HttpProxy": "HTTP Proxy", "HttpsProxy": "HTTPS Proxy", "NoProxy": "No Proxy"}
    )
    if info.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in info["Labels"])
    yield f" Experimental: {_bool(info.get('ExperimentalBuild', False))}"
    networks = (info.get("RegistryConfig") or {}).get("InsecureRegistryCIDRs")
    if networks:
        yield " Insecure Registries:"
        yield from (f"  {network}" for network in networks)
    yield f" Live Restore Enabled: {_bool(info.get('LiveRestoreEnabled', True))}"
    for place, pool in enumerate(info.get("DefaultAddressPools") or ()):
        if not place:
            yield " Default Address Pools:"
        yield f"   Base: {pool['Base']}, Size: {pool['Size']}"
    yield ""


def _given(info: Any, names: dict[str, str]) -> Iterator[str]:
    for key, title in names.items():
        if info.get(key):
            yield f" {title}: {info[key]}"


def _bool(value: bool) -> str:
    return "true" if value else "false"
