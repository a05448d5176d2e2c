"""Subnets and addresses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import Conflict, InvalidArgument
from jubako.networks import ipam, ipv4
from jubako.networks.ipv4 import Subnet
from jubako.store import schema


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    schema.prepare(connection)
    connection.execute("INSERT INTO networks VALUES ('n', 'bridge', 'bridge', '{}')")
    yield connection
    connection.close()


def lease(db: sqlite3.Connection, subnet: Subnet, gateway: str, wanted: str | None = None) -> str:
    number = None if wanted is None else ipv4.number(wanted)
    address = ipam.free_address(db, "n", subnet, ipv4.number(gateway), number)
    db.execute(
        "INSERT INTO leases (network_id, address, container_id) VALUES ('n', ?, 'c')", (address,)
    )
    return ipv4.text(address)


def test_the_lowest_free_address_is_given(db: sqlite3.Connection) -> None:
    subnet = Subnet.parse("172.17.0.0/16")
    assert [lease(db, subnet, "172.17.0.1") for _ in range(3)] == [
        "172.17.0.2",
        "172.17.0.3",
        "172.17.0.4",
    ]
    db.execute("DELETE FROM leases WHERE address = ?", (ipv4.number("172.17.0.3"),))
    assert lease(db, subnet, "172.17.0.1") == "172.17.0.3"
    assert lease(db, subnet, "172.17.0.1") == "172.17.0.5"


def test_the_gateway_may_be_anywhere(db: sqlite3.Connection) -> None:
    subnet = Subnet.parse("10.0.0.0/29")
    found = [lease(db, subnet, "10.0.0.3") for _ in range(5)]
    assert found == ["10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        lease(db, subnet, "10.0.0.3")


def test_a_subnet_that_is_full(db: sqlite3.Connection) -> None:
    subnet = Subnet.parse("10.0.0.0/30")
    assert lease(db, subnet, "10.0.0.1") == "10.0.0.2"
    with pytest.raises(Conflict):
        lease(db, subnet, "10.0.0.1")


def test_wanted_addresses(db: sqlite3.Connection) -> None:
    subnet = Subnet.parse("172.17.0.0/16")
    assert lease(db, subnet, "172.17.0.1", "172.17.9.9") == "172.17.9.9"
    for taken in ("172.17.9.9", "172.17.0.0", "172.17.0.1", "172.17.255.255"):
        with pytest.raises(Conflict, match="^Address already in use$"):
            lease(db, subnet, "172.17.0.1", taken)
    with pytest.raises(InvalidArgument, match="does not belong to any of this network's subnets"):
        lease(db, subnet, "172.17.0.1", "10.0.0.1")


@given(st.sets(st.integers(1, 14)))
def test_no_address_is_given_twice_nor_passed_over(used: set[int]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.prepare(connection)
    connection.execute("INSERT INTO networks VALUES ('n', 'bridge', 'bridge', '{}')")
    subnet = Subnet.parse("10.0.0.0/28")
    used.discard(1)
    for offset in used:
        connection.execute(
            "INSERT INTO leases (network_id, address, container_id) VALUES ('n', ?, 'c')",
            (subnet.base + offset,),
        )
    free = sorted(set(range(2, 15)) - used)
    if free:
        found = ipam.free_address(connection, "n", subnet, subnet.base + 1)
        assert found == subnet.base + free[0]
    else:
        with pytest.raises(Conflict):
            ipam.free_address(connection, "n", subnet, subnet.base + 1)
    connection.close()


def test_pools_are_tried_in_dockers_order() -> None:
    pools = [str(subnet) for subnet in ipam.pools()]
    assert pools[0] == "172.17.0.0/16"
    assert pools[14] == "172.31.0.0/16"
    assert pools[15] == "192.168.0.0/20"
    assert pools[-1] == "192.168.240.0/20"
    assert len(pools) == 31


def test_a_subnet_that_the_host_uses_is_passed_over() -> None:
    taken = [Subnet.parse(text) for text in ("172.17.3.0/24", "172.18.0.0/15", "172.20.1.1/32")]
    assert str(ipam.choose_subnet(taken)) == "172.21.0.0/16"
    assert str(ipam.choose_subnet([Subnet.parse("172.16.0.0/12")])) == "192.168.0.0/20"
    with pytest.raises(Conflict, match="could not find an available, non-overlapping"):
        ipam.choose_subnet([Subnet.parse("172.16.0.0/12"), Subnet.parse("192.168.0.0/16")])


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 32))
def test_a_subnet_contains_its_first_and_last_address(address: int, prefix: int) -> None:
    subnet = Subnet.parse(f"{ipv4.text(address)}/{prefix}")
    assert address in subnet
    assert subnet.base in subnet and subnet.last in subnet
    assert subnet.last - subnet.base + 1 == 1 << (32 - prefix)
    assert subnet.base - 1 not in subnet and subnet.last + 1 not in subnet
    assert Subnet.parse(str(subnet)) == subnet
    assert subnet.overlaps(Subnet(address, 32))


@pytest.mark.parametrize("text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/x", "10.0.0/8", "::/8"])
def test_impossible_subnets_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Subnet.parse(text)


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "256.0.0.1", "a.b.c.d", "::1", "1"])
def test_impossible_addresses_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ipv4.number(text)
    assert not ipv4.is_ipv4(text)
