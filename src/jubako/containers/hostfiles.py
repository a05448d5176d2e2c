"""The files that a container gets from the engine: /etc/hosts, /etc/hostname, /etc/resolv.conf."""

from __future__ import annotations

import os

from jubako.networks import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.networks.model import Endpoint

NAMES = ("hosts", "hostname", "resolv.conf")
_MAX_BYTES = 1 << 20  # of the host's own file


def write_host_files(
    services: Services,
    container: Container,
    endpoint: Endpoint | None,
    linked: Sequence[tuple[str, str]] = (),
) -> None:
    """Write them for this start into the container's directory.

    linked: (names, address) of containers that it is linked to.

    With `--network container:ID` they are those of the other container, and with `host` the
    host's hosts and resolv.conf, as Docker does it.
    """
    directory = services.directory(container.id)
    mode = container.record["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        other = services.table.get(mode.removeprefix("container:"))
        for name in NAMES:
            _write(f"{directory}/{name}", _read(f"{services.directory(other.id)}/{name}"))
        return
    config, host_config = container.record["Config"], container.record["HostConfig"]
    hostname = os.uname().nodename if host_config["UTSMode"] == "host" else config["Hostname"]
    _write(f"{directory}/hostname", files.hostname(hostname))
    extra = host_config.get("ExtraHosts") or []
    if mode == "host" and not extra:
        _write(f"{directory}/hosts", _read("/etc/hosts"))
    else:
        address = endpoint["IPAddress"] if endpoint else ""
        text = files.hosts(
            addresses=[address] if address else [],
            hostname=hostname,
            domainname=config.get("Domainname", ""),
            extra_hosts=extra,
            linked=linked,
            gateway=_host_gateway(services, extra),
        )
        _write(f"{directory}/hosts", text)
    text = files.resolv_conf(
        _read(files.HOST_RESOLV_CONF),
        servers=host_config.get("Dns") or (),
        search=host_config.get("DnsSearch") or (),
        options=host_config.get("DnsOptions") or (),
        own_namespace=mode != "host",
    )
    _write(f"{directory}/resolv.conf", text)


def _host_gateway(services: Services, extra: list[str]) -> str:
    """The host's address on the default bridge, whatever the container's own network is."""
    wanted = any(files.HOST_GATEWAY in entry for entry in extra)
    return services.networks.gateway() if wanted else ""


def _read(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read(_MAX_BYTES)
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    """In place: a running container of the same network may have the file bound."""
    with open(path, "w", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(path, 0o644)
