"""The nftables table: script and elements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import pytest

from jubako.linux import nft
from jubako.networks import bridge, firewall, records
from jubako.networks.ipv4 import Subnet
from jubako.store import schema


@pytest.fixture
def row() -> Iterator[Callable[..., sqlite3.Row]]:
    """Makes rows of the table `ports`."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    schema.prepare(connection)

    def make(protocol: str, host_ip: str, host_port: int, container_ip: str) -> sqlite3.Row:
        connection.execute("DELETE FROM ports")
        connection.execute(
            "INSERT INTO ports VALUES (?, ?, ?, ?, ?, 80)",
            (protocol, host_ip, host_port, "a" * 64, container_ip),
        )
        found: sqlite3.Row = connection.execute("SELECT * FROM ports").fetchone()
        return found

    yield make
    connection.close()


def test_a_port_on_every_address(row: Callable[..., sqlite3.Row]) -> None:
    element = firewall.port_element(row("tcp", "0.0.0.0", 8080, "172.17.0.2"))
    assert element is not None
    assert element.set == "published_any"
    assert element.key == nft.proto("tcp") + nft.port(8080)
    assert element.data == nft.address("172.17.0.2") + nft.port(80)
    assert element.text == 'tcp . 8080 comment "aaaaaaaaaaaa" : 172.17.0.2 . 80'


def test_a_port_on_one_address(row: Callable[..., sqlite3.Row]) -> None:
    element = firewall.port_element(row("udp", "10.0.0.1", 53, "172.17.0.2"))
    assert element is not None
    assert element.set == "published_at"
    assert element.key == nft.proto("udp") + nft.address("10.0.0.1") + nft.port(53)
    assert element.text == 'udp . 10.0.0.1 . 53 comment "aaaaaaaaaaaa" : 172.17.0.2 . 80'


def test_a_port_on_a_loopback_address_is_not_translated(row: Callable[..., sqlite3.Row]) -> None:
    element = firewall.port_element(row("tcp", "127.0.0.1", 8080, "172.17.0.2"))
    assert element is not None
    assert (element.set, element.data) == ("loopback", b"")


def test_the_proxy_alone_serves_ipv6(row: Callable[..., sqlite3.Row]) -> None:
    assert firewall.port_element(row("tcp", "::", 8080, "172.17.0.2")) is None
    assert firewall.port_element(row("tcp", "::1", 8080, "172.17.0.2")) is None


def test_a_port_that_is_only_reserved_has_no_element(row: Callable[..., sqlite3.Row]) -> None:
    assert firewall.port_element(row("tcp", "0.0.0.0", 8080, "")) is None


def test_a_network_is_an_element_of_each_set() -> None:
    record = records.default_bridge("jbk01234567", Subnet.parse("172.17.0.0/16"))
    assert firewall.network_script("t", record).splitlines() == [
        'add element ip t bridges { "jbk01234567" }',
        "add element ip t subnets { 172.17.0.0/16 }",
        'add element ip t networks { "jbk01234567" . 172.17.0.0/16 }',
        "add element ip t masqueraded { 172.17.0.0/16 }",
        'add element ip t talk { "jbk01234567" . "jbk01234567" }',
    ]


def test_options_of_a_network_leave_elements_out() -> None:
    record = records.default_bridge("br", Subnet.parse("172.17.0.0/16"))
    record["Options"][records.OPTION_ICC] = "false"
    record["Options"][records.OPTION_MASQUERADE] = "false"
    script = firewall.network_script("t", record)
    assert "talk" not in script and "masqueraded" not in script


def test_names_fit_the_kernel_and_differ_for_each_root() -> None:
    assert records.default_bridge_link("") == "jubako0"
    assert records.default_bridge_link("0123abcd") == "jbk0123abcd"
    assert len(records.default_bridge_link("0123abcd")) <= 15
    assert bridge.mac_for(0xAC110002) == "02:42:ac:11:00:02"
    assert bridge.new_link_name() != bridge.new_link_name()


def test_a_record_has_dockers_shape() -> None:
    record = records.default_bridge("jubako0", Subnet.parse("172.17.0.0/16"))
    assert list(record) == [
        "Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal",
        "Attachable", "Ingress", "ConfigFrom", "ConfigOnly", "Options", "Labels",
    ]  # fmt: skip
    assert record["IPAM"]["Config"] == [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]
    assert records.gateway_of(record) == "172.17.0.1"
    assert records.mtu_of(record) == 1500
    assert records.plain("none", "null")["IPAM"]["Config"] is None
