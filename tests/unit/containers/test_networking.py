"""What can be asked of a container's connection, with Docker's words about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.containers import networking
from jubako.errors import InvalidArgument, Unsupported

PREDEFINED_ONLY = "user specified IP address is supported on user defined networks only"
SUBNETS = (
    "user specified IP address is supported only when connecting to networks with "
    "user configured subnets"
)


def apply(mode: str, settings: Any, config: dict[str, Any] | None = None) -> dict[str, Any]:
    host: Any = {"NetworkMode": mode}
    merged: Any = {} if config is None else config
    return networking.apply({"EndpointsConfig": {mode: settings}}, merged, host)


def test_nothing() -> None:
    assert networking.apply(None, {}, {"NetworkMode": "bridge"}) == {}
    assert (
        networking.apply({"EndpointsConfig": {"bridge": {}}}, {}, {"NetworkMode": "bridge"}) == {}
    )


def test_a_mac_address() -> None:
    config: dict[str, Any] = {}
    assert apply("bridge", {"MacAddress": "02:42:ac:11:00:09"}, config) == {}
    assert config == {"MacAddress": "02:42:ac:11:00:09"}


def test_link_local_addresses() -> None:
    wanted = {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}
    assert apply("bridge", wanted) == wanted
    with pytest.raises(Unsupported, match="IPv6 in containers is not supported yet"):
        apply("bridge", {"IPAMConfig": {"LinkLocalIPs": ["fe80::1"]}})
    with pytest.raises(InvalidArgument, match="invalid link-local IP address: x"):
        apply("bridge", {"IPAMConfig": {"LinkLocalIPs": ["x"]}})


@pytest.mark.parametrize(
    ("mode", "ipam", "lines"),
    [
        ("bridge", {"IPv4Address": "172.17.0.50"}, [PREDEFINED_ONLY]),
        ("bridge", {"IPv6Address": "fe80::1"}, [PREDEFINED_ONLY, SUBNETS]),
        ("bridge", {"IPv4Address": "foo"},
         [PREDEFINED_ONLY, "invalid IPv4 address: foo",
          "no configured subnet or ip-range contain the IP address foo"]),
        ("none", {"IPv4Address": "1.2.3.4"}, [PREDEFINED_ONLY, SUBNETS]),
        ("host", {"IPv4Address": "1.2.3.4"}, [PREDEFINED_ONLY, SUBNETS]),
        ("container:x", {"IPv4Address": "1.2.3.4"}, [PREDEFINED_ONLY]),
    ],
)  # fmt: skip
def test_addresses_on_predefined_networks(
    mode: str, ipam: dict[str, str], lines: list[str]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        apply(mode, {"IPAMConfig": ipam})
    listed = lines if len(lines) == 1 else [f"* {line}" for line in lines]
    head = f"invalid config for network {mode}: invalid endpoint settings:"
    assert str(caught.value).splitlines() == [head, *listed]


@pytest.mark.parametrize("mode", ["bridge", "host", "none", "container:x"])
def test_aliases_on_predefined_networks(mode: str) -> None:
    with pytest.raises(InvalidArgument, match="^network-scoped aliases are only supported for"):
        apply(mode, {"Aliases": ["a"]})


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("mine", {"Aliases": ["a"]}),
        ("mine", {"IPAMConfig": {"IPv4Address": "10.0.0.5"}}),
        ("bridge", {"DriverOpts": {"a": "b"}}),
        ("bridge", {"GwPriority": 5}),
    ],
)
def test_what_comes_with_user_defined_networks(mode: str, settings: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="not supported yet"):
        apply(mode, settings)


def test_several_networks() -> None:
    both: dict[str, Any] = {"EndpointsConfig": {"bridge": {}, "other": {}}}
    with pytest.raises(Unsupported, match="more than one network is not supported yet"):
        networking.apply(both, {}, {"NetworkMode": "bridge"})
    with pytest.raises(Unsupported, match="a second network is not supported yet"):
        networking.apply({"EndpointsConfig": {"other": {}}}, {}, {"NetworkMode": "bridge"})
