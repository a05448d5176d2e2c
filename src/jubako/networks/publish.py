"""From a container's record to the ports that a start publishes."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.networks.ipv4 import is_ipv4, is_ipv6
from jubako.networks.portspec import MAX_PORT, PROTOCOLS, parse_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jubako.networks.model import PortMapping


def wanted_ports(
    bindings: Mapping[str, Iterable[Mapping[str, str]] | None] | None,
    exposed: Iterable[str] = (),
    *,
    publish_all: bool = False,
) -> list[PortMapping]:
    """What to publish for HostConfig.PortBindings, and with `publish_all` for `exposed` too.

    A key without bindings gets a free port, as with Docker.  Raises InvalidArgument.
    """
    mappings: list[PortMapping] = []
    for key, values in (bindings or {}).items():
        for value in values or ({},):
            mappings.append(_mapping(key, value.get("HostIp") or "", value.get("HostPort") or ""))
    if publish_all:
        have = {f"{item['container_port']}/{item['protocol']}" for item in mappings}
        mappings += [_mapping(key, "", "") for key in exposed if _normal(key) not in have]
    return mappings


def _normal(key: str) -> str:
    port, _, protocol = key.partition("/")
    return f"{port}/{(protocol or 'tcp').lower()}"


def _mapping(key: str, host_ip: str, host_port: str) -> PortMapping:
    port, _, protocol = _normal(key).partition("/")
    if not port.isdecimal() or int(port) > MAX_PORT:
        raise _invalid(f"invalid port specification: {key!r}", key)
    if protocol not in PROTOCOLS:
        raise _invalid(f"invalid proto: {protocol}", key)
    if host_port in ("0", "0-0"):
        host_port = ""
    if host_port and parse_range(host_port) is None:
        raise _invalid(f"invalid port specification: {host_port!r}", key)
    if host_ip and not (is_ipv4(host_ip) or is_ipv6(host_ip)):
        raise _invalid(f"invalid IP address: {host_ip}", key)
    return {
        "container_port": int(port),
        "protocol": protocol,
        "host_ip": host_ip,
        "host_port": host_port,
    }


def _invalid(message: str, text: str) -> InvalidArgument:
    return InvalidArgument(message, subject=text)
