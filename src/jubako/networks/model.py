"""Shapes of what this package hands out.  For type checking only: importing typing costs 4 ms."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class PortMapping(TypedDict):
    """One `-p`: a container's port and where it is wanted on the host.

    protocol: tcp, udp, sctp.  host_ip: "" is every address.  host_port: "8080"; "" is any free
    port; "8080-8090" is any free port of these.
    """

    container_port: int
    protocol: str
    host_ip: str
    host_port: str


class PortBinding(TypedDict):
    """One value of NetworkSettings.Ports and HostConfig.PortBindings."""

    HostIp: str
    HostPort: str


class Endpoint(TypedDict):
    """A container's connection to a network, as NetworkSettings.Networks has it.

    HostLink: the end of the veth pair on the host.  Ports: {"80/tcp": [binding, ...]}.
    """

    NetworkID: str
    EndpointID: str
    Gateway: str
    IPAddress: str
    IPPrefixLen: int
    MacAddress: str
    HostLink: str
    Ports: dict[str, list[PortBinding]]


class IpamConfig(TypedDict):
    Subnet: str
    Gateway: str


class Ipam(TypedDict):
    Driver: str
    Options: dict[str, str] | None
    Config: list[IpamConfig] | None


class ConfigReference(TypedDict):
    Network: str


class NetworkContainer(TypedDict):
    Name: str
    EndpointID: str
    MacAddress: str
    IPv4Address: str
    IPv6Address: str


class NetworkRecord(TypedDict):
    """A network as `docker network inspect` shows it; Containers is not stored."""

    Name: str
    Id: str
    Created: str
    Scope: str
    Driver: str
    EnableIPv6: bool
    IPAM: Ipam
    Internal: bool
    Attachable: bool
    Ingress: bool
    ConfigFrom: ConfigReference
    ConfigOnly: bool
    Containers: NotRequired[dict[str, NetworkContainer]]
    Options: dict[str, str]
    Labels: dict[str, str]
