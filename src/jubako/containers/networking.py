"""What a client asks of a container's connection: the API's NetworkingConfig.

On the predefined networks that is little: Docker refuses addresses and aliases there, and so do we,
in its words.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument, Unsupported
from jubako.networks.ipv4 import is_ipv4, is_ipv6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import Config, HostConfig, Json

_PREDEFINED = ("", "default", "bridge", "host", "none")
_KEYS = ("IPAMConfig", "Aliases", "MacAddress", "Links", "DriverOpts", "GwPriority")
MAX_ADDRESSES = 100


def apply(networking: Mapping[str, Any] | None, config: Config, host: HostConfig) -> Json:
    """The endpoint settings to keep, {} for none; a MAC address goes into `config`.

    Raises InvalidArgument in Docker's words, Unsupported for what user-defined networks will bring.
    """
    endpoints = (networking or {}).get("EndpointsConfig") or {}
    if not endpoints:
        return {}
    mode = host["NetworkMode"]
    if not isinstance(endpoints, dict) or len(endpoints) > 1:
        raise Unsupported("a container on more than one network is not supported yet")
    [(network, settings)] = endpoints.items()
    if not isinstance(settings, dict):
        raise InvalidArgument(f"invalid endpoint settings of network {network}: wrong type")
    if {network, mode} - {"default", "bridge"} and network != mode:
        raise Unsupported(f"network {network}: a second network is not supported yet")
    unknown = [key for key in _KEYS[3:] if settings.get(key)]
    if unknown:
        raise Unsupported(f"endpoint setting {unknown[0]} is not supported yet")
    if settings.get("MacAddress"):
        config["MacAddress"] = settings["MacAddress"]
    predefined = mode in _PREDEFINED or mode.startswith("container:")
    ipam = settings.get("IPAMConfig") or {}
    problems = _problems(mode, ipam) if predefined else []
    if problems:
        listed = problems[0] if len(problems) == 1 else "\n".join(f"* {line}" for line in problems)
        raise _invalid(mode, listed)
    if settings.get("Aliases") and predefined:
        raise InvalidArgument(
            "network-scoped aliases are only supported for user-defined networks", subject=mode
        )
    if settings.get("Aliases") or ipam.get("IPv4Address") or ipam.get("IPv6Address"):
        raise Unsupported(
            f"network {mode}: addresses and aliases on user-defined networks are not supported yet"
        )
    return _link_local(mode, ipam)


def _problems(mode: str, ipam: Mapping[str, Any]) -> list[str]:
    """Docker's sentences about wanted addresses."""
    wanted = [
        (ipam.get("IPv4Address"), "IPv4", is_ipv4),
        (ipam.get("IPv6Address"), "IPv6", is_ipv6),
    ]
    if not any(address for address, _, _ in wanted):
        return []
    problems = ["user specified IP address is supported on user defined networks only"]
    if mode.startswith("container:"):
        return problems
    for address, family, valid in wanted:
        if not address:
            continue
        if not valid(address):
            problems.append(f"invalid {family} address: {address}")
        if mode != "bridge" or family == "IPv6":
            problems.append(
                "user specified IP address is supported only when connecting to networks with "
                "user configured subnets"
            )
        elif not valid(address):
            problems.append(f"no configured subnet or ip-range contain the IP address {address}")
    return problems


def _invalid(mode: str, problems: str) -> InvalidArgument:
    return InvalidArgument(
        f"invalid config for network {mode}: invalid endpoint settings:\n{problems}", subject=mode
    )


def _link_local(mode: str, ipam: Mapping[str, Any]) -> Json:
    addresses = ipam.get("LinkLocalIPs") or []
    if not addresses:
        return {}
    if not isinstance(addresses, list) or len(addresses) > MAX_ADDRESSES:
        raise InvalidArgument("invalid link-local IP addresses: wrong type, or too many")
    for address in addresses:
        if isinstance(address, str) and is_ipv6(address):
            raise Unsupported(
                f"link-local IP address {address}: IPv6 in containers is not supported yet",
                subject=address,
            )
        if not isinstance(address, str) or not is_ipv4(address):
            raise _invalid(mode, f"invalid link-local IP address: {address}")
    return {"IPAMConfig": {"LinkLocalIPs": list(addresses)}}
