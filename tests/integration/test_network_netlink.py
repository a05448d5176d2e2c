"""Netlink and nftables against the kernel."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import JubakoError, KernelError, Unavailable
from jubako.linux import nft, trace
from jubako.linux.netlink import (
    Netlink,
    addresses,
    call_in,
    conntrack,
    links,
    neighbours,
    open_in,
    read_sysctl,
    routes,
    write_sysctl,
)
from jubako.linux.netlink.links import Link
from tests.integration.network_tools import new_netns


@pytest.fixture
def netlink() -> Iterator[Netlink]:
    with Netlink() as opened:
        yield opened


@pytest.fixture
def bridge(netlink: Netlink) -> Iterator[Link]:
    netlink.execute(links.add_bridge("test0", mac="02:42:00:00:00:01", mtu=1400))
    link = links.find(netlink, "test0")
    assert link is not None
    yield link
    netlink.execute(links.delete("test0"))


def find(netlink: Netlink, name: str) -> Link:
    link = links.find(netlink, name)
    assert link is not None
    return link


def test_a_bridge_and_its_ports(netlink: Netlink, bridge: Link) -> None:
    assert (bridge.kind, bridge.address, bridge.mtu) == ("bridge", "02:42:00:00:00:01", 1400)
    assert not bridge.up
    netlink.execute(
        links.set_up("test0"),
        links.add_veth("left", "right", master=bridge.index),
        links.set_alias("left", "the left one"),
        links.set_bridge_port("left", hairpin=True, isolated=True),
    )
    assert find(netlink, "test0").up
    left = find(netlink, "left")
    assert (left.kind, left.master, left.alias) == ("veth", bridge.index, "the left one")
    assert left.peer == find(netlink, "right").index
    assert [link.name for link in links.list_links(netlink, master=bridge.index)] == ["left"]
    brport = Path("/sys/class/net/left/brport")
    if brport.exists():  # /sys may show another namespace
        assert (brport / "hairpin_mode").read_text() == "1\n"
    netlink.execute(
        links.set_master("left", 0),
        links.set_mtu("left", 1300),
        links.set_address("left", "02:42:00:00:00:09"),
        links.rename("right", left.peer, "wrong"),
    )
    left = find(netlink, "left")
    assert (left.master, left.mtu, left.address) == (0, 1300, "02:42:00:00:00:09")
    assert find(netlink, "wrong").index == left.peer
    netlink.execute(links.delete("left"))
    assert links.find(netlink, "left") is None and links.find(netlink, "wrong") is None
    netlink.execute(links.delete("left"))  # idempotent


def test_links_are_made_in_and_moved_to_another_namespace(netlink: Netlink) -> None:
    netns = new_netns()
    with open_in(netns) as inside:
        netlink.execute(links.add_veth("left", "eth7", peer_netns_fd=netns))
        assert links.find(netlink, "eth7") is None
        assert links.find(inside, "eth7") is not None
        netlink.execute(links.move("left", netns))
        assert links.find(netlink, "left") is None
        assert {"left", "eth7"} <= {link.name for link in links.list_links(inside)}
        inside.execute(links.delete("left"))
    os.close(netns)


def test_addresses_and_routes(netlink: Netlink, bridge: Link) -> None:
    add = addresses.add("192.0.2.1", 24, bridge.index)
    netlink.execute(add, add, links.set_up("test0"))  # the second time changes nothing
    netlink.execute(addresses.add("2001:db8::1", 64, bridge.index))
    found = addresses.list_addresses(netlink, index=bridge.index)
    assert {(item.address, item.prefix) for item in found} >= {
        ("192.0.2.1", 24),
        ("2001:db8::1", 64),
    }
    four = addresses.list_addresses(netlink, index=bridge.index, family=socket.AF_INET)
    assert [item.address for item in four] == ["192.0.2.1"]
    far = routes.add("198.51.100.0/24", gateway="192.0.2.9")
    netlink.execute(far, far)
    listed = {(item.destination, item.gateway) for item in routes.list_routes(netlink)}
    assert ("198.51.100.0/24", "192.0.2.9") in listed
    assert ("192.0.2.0/24", "") in listed
    netlink.execute(
        routes.delete("198.51.100.0/24", gateway="192.0.2.9"),
        routes.delete("198.51.100.0/24", gateway="192.0.2.9"),
        addresses.delete("192.0.2.1", 24, bridge.index),
        addresses.delete("192.0.2.1", 24, bridge.index),
    )
    assert not addresses.list_addresses(netlink, index=bridge.index, family=socket.AF_INET)


def test_neighbours(netlink: Netlink, bridge: Link) -> None:
    netlink.execute(
        addresses.add("192.0.2.1", 24, bridge.index),
        links.set_up("test0"),
        neighbours.add("192.0.2.7", "02:42:00:00:00:07", bridge.index),
    )
    known = {item.address: item.mac for item in neighbours.list_neighbours(netlink)}
    assert known["192.0.2.7"] == "02:42:00:00:00:07"
    netlink.execute(
        neighbours.delete("192.0.2.7", bridge.index), neighbours.delete("192.0.2.9", bridge.index)
    )
    known = {
        item.address: item.mac
        for item in neighbours.list_neighbours(netlink)
        if not item.state & 0x20  # NUD_FAILED
    }
    assert "192.0.2.7" not in known


def test_errors_name_the_command_and_the_kernels_reason(netlink: Netlink, bridge: Link) -> None:
    with pytest.raises(KernelError) as caught:
        netlink.execute(links.add_bridge("test0"))
    assert caught.value.errno == errno.EEXIST
    assert caught.value.path == "test0"
    command = "ip link add test0 type bridge forward_delay 0 stp_state 0"
    assert str(caught.value) == f"{command}: File exists"
    with pytest.raises(KernelError) as caught:
        netlink.execute(addresses.add("192.0.2.1", 24, 9999))
    assert "(ipv4: Device not found): No such device" in str(caught.value)


def test_requests_after_a_failed_one_are_carried_out(netlink: Netlink, bridge: Link) -> None:
    with pytest.raises(KernelError) as caught:
        netlink.execute(links.set_up("missing0"), links.set_up("test0"), links.set_up("missing1"))
    assert caught.value.path == "missing0"  # the first
    assert find(netlink, "test0").up
    netlink.execute()


def test_a_trace_shows_shell_commands_and_reasons(netlink: Netlink) -> None:
    seen: list[trace.Event] = []
    with trace.to(seen.append):
        netlink.execute(
            links.add_bridge("test1", why="to try"), links.set_up("test1"), links.delete("test1")
        )
        with pytest.raises(KernelError):
            netlink.execute(links.set_up("missing0"))
        nft.apply("add table ip test\ndelete table ip test\n", why="to try that")
    assert [(event.shell, event.why) for event in seen[:3]] == [
        ("ip link add test1 type bridge forward_delay 0 stp_state 0", "to try"),
        ("ip link set test1 up", ""),
        ("ip link del test1", ""),
    ]
    assert seen[3].error is not None and "No such device" in seen[3].error
    assert seen[4].shell.startswith("nft -f -") and seen[4].why == "to try that"


def test_call_in_comes_back_also_after_an_error() -> None:
    here = os.stat("/proc/thread-self/ns/net").st_ino
    netns = new_netns()

    def fail() -> None:
        assert os.stat("/proc/thread-self/ns/net").st_ino == os.fstat(netns).st_ino
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        call_in(netns, fail)
    assert os.stat("/proc/thread-self/ns/net").st_ino == here
    os.close(netns)


def test_sysctls_are_those_of_the_namespace() -> None:
    netns = new_netns()
    outer = read_sysctl("net/ipv4/ip_default_ttl")
    call_in(netns, lambda: write_sysctl("net/ipv4/ip_default_ttl", "77"))
    assert call_in(netns, lambda: read_sysctl("net/ipv4/ip_default_ttl")) == "77"
    assert read_sysctl("net/ipv4/ip_default_ttl") == outer
    assert read_sysctl("net/ipv4/no_such_thing") is None
    with pytest.raises(KernelError) as caught:
        write_sysctl("net/ipv4/ip_default_ttl", "nonsense")
    assert caught.value.errno == errno.EINVAL
    assert "/proc/sys/net/ipv4/ip_default_ttl (nonsense)" in str(caught.value)
    os.close(netns)


# -- nftables --------------------------------------------------------------------------------------

TABLE = """
table ip test {
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  set marker { type mark; }
  chain forward { type filter hook forward priority 0; policy drop; }
}
"""


@pytest.fixture
def filters() -> Iterator[Netlink]:
    nft.apply(TABLE)
    with nft.open_socket() as opened:
        yield opened
    nft.apply("delete table ip test\n")


def element(port: int, target: str = "10.0.0.1", comment: str = "") -> nft.Element:
    key = nft.proto("tcp") + nft.port(port)
    return nft.Element("ports", key, nft.address(target) + nft.port(80), comment)


def test_tables_and_sets_are_looked_up_without_a_program(filters: Netlink) -> None:
    assert nft.table_exists(filters, "ip", "test")
    assert not nft.table_exists(filters, "ip6", "test")
    assert not nft.table_exists(filters, "ip", "other")
    assert nft.set_exists(filters, "ip", "test", "marker")
    assert not nft.set_exists(filters, "ip", "test", "other")
    assert not nft.set_exists(filters, "ip", "other", "marker")
    assert nft.list_base_chains(filters, "ip") == [("test", "forward", 2, 0)]


def test_nft_reads_the_elements_that_we_write(filters: Netlink) -> None:
    nft.change_elements(filters, "ip", "test", add=[element(8080, comment="abc")])
    (found,) = [
        item["map"] for item in nft.list_json("map", "ip", "test", "ports") if "map" in item
    ]
    ((key, data),) = found["elem"]
    assert key == {"elem": {"val": {"concat": ["tcp", 8080]}, "comment": "abc"}}
    assert data == {"concat": ["10.0.0.1", 80]}


def test_we_read_the_elements_that_nft_writes(filters: Netlink) -> None:
    nft.apply('add element ip test ports { tcp . 8080 comment "abc" : 10.0.0.1 . 80 }\n')
    (found,) = nft.list_elements(filters, "ip", "test", "ports")
    assert found == element(8080)
    assert found.comment == "abc"
    assert nft.list_elements(filters, "ip", "test", "other") == []


def test_elements_change_together_or_not_at_all(filters: Netlink) -> None:
    def ports() -> set[nft.Element]:
        return set(nft.list_elements(filters, "ip", "test", "ports"))

    nft.change_elements(filters, "ip", "test", add=[element(1), element(2)])
    nft.change_elements(filters, "ip", "test", add=[element(1)])  # is there: fine
    with pytest.raises(KernelError) as caught:
        nft.change_elements(filters, "ip", "test", add=[element(3), element(1, "10.0.0.9")])
    assert caught.value.errno == errno.EEXIST
    with pytest.raises(KernelError) as caught:
        nft.change_elements(filters, "ip", "test", remove=[element(9)], add=[element(3)])
    assert caught.value.errno == errno.ENOENT
    assert ports() == {element(1), element(2)}
    nft.change_elements(
        filters, "ip", "test", remove=[element(1)], add=[element(1, "10.0.0.9"), element(3)]
    )
    assert ports() == {element(1, "10.0.0.9"), element(2), element(3)}
    with pytest.raises(KernelError):
        nft.change_elements(filters, "ip", "other", add=[element(1)])
    nft.change_elements(filters, "ip", "test")  # nothing to do


def test_a_thousand_elements(filters: Netlink) -> None:
    wanted = [element(1000 + number) for number in range(1000)]
    nft.change_elements(filters, "ip", "test", add=wanted)
    assert set(nft.list_elements(filters, "ip", "test", "ports")) == set(wanted)
    nft.change_elements(filters, "ip", "test", remove=wanted)
    assert nft.list_elements(filters, "ip", "test", "ports") == []


def test_a_bad_script_changes_nothing_and_says_why(filters: Netlink) -> None:
    with pytest.raises(JubakoError, match="No such file or directory"):
        nft.apply("add table ip test2\nadd rule ip test nowhere accept\n")
    assert not nft.table_exists(filters, "ip", "test2")


def test_without_nft_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("jubako.linux.process.SEARCH_PATH", "/nonexistent")
    with pytest.raises(Unavailable) as caught:
        nft.apply("add table ip test\n")
    assert caught.value.hint == "install the package nftables"


# -- connection tracking ---------------------------------------------------------------------------


def test_connections_are_found_and_deleted(filters: Netlink) -> None:
    nft.apply("add rule ip test forward ct state new accept\n")  # switches tracking on
    servers = []
    for port in (5001, 5002, 5003):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", port))
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.sendto(b"x", ("127.0.0.1", port))
        servers += [server, client]
    assert not conntrack.is_empty()

    def to_port(*ports: int) -> list[int]:
        return sorted(item.port for item in conntrack.list_to_ports(filters, "udp", ports))

    assert to_port(5001) == [5001]
    assert to_port(5001, 5003) == [5001, 5003]
    assert to_port(5004) == []
    (found,) = conntrack.list_to_ports(filters, "udp", [5001])
    assert (found.destination, found.server) == ("127.0.0.1", "127.0.0.1")
    at_server = conntrack.list_to_server(filters, "127.0.0.1")
    assert {5001, 5002, 5003} <= {item.port for item in at_server}
    assert list(conntrack.list_to_server(filters, "192.0.2.1")) == []
    assert conntrack.delete(filters, conntrack.list_to_ports(filters, "udp", [5001])) == 1
    assert to_port(5001, 5002) == [5002]
    for item in servers:
        item.close()
