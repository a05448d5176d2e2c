"""Requests as bytes and as the shell commands that traces show."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from jubako.errors import InvalidArgument
from jubako.linux.netlink import addresses, codec, links, neighbours, routes

IFINFOMSG_BYTES = 16


def link_attributes(body: bytes) -> dict[int, bytes]:
    return codec.mapping(body[IFINFOMSG_BYTES:])


def test_a_bridge_forwards_at_once() -> None:
    request = links.add_bridge("br0", mac="02:42:00:00:00:01")
    found = link_attributes(request.body)
    assert codec.string(found[links.IFLA_IFNAME]) == "br0"
    assert found[links.IFLA_ADDRESS] == bytes.fromhex("024200000001")
    info = codec.mapping(found[links.IFLA_LINKINFO])
    assert codec.string(info[links.IFLA_INFO_KIND]) == "bridge"
    data = codec.mapping(info[links.IFLA_INFO_DATA])
    assert codec.integer(data[links.IFLA_BR_FORWARD_DELAY]) == 0
    assert codec.integer(data[links.IFLA_BR_STP_STATE]) == 0
    assert request.flags & codec.NLM_F_EXCL


def test_a_veth_pair_names_its_peer_and_namespace() -> None:
    request = links.add_veth(
        "vethab", "eth0", master=7, peer_mac="02:42:ac:11:00:02", peer_netns_fd=5
    )
    found = link_attributes(request.body)
    assert codec.integer(found[links.IFLA_MASTER]) == 7
    info = codec.mapping(found[links.IFLA_LINKINFO])
    data = codec.mapping(info[links.IFLA_INFO_DATA])
    peer = link_attributes(data[links.VETH_INFO_PEER])
    assert codec.string(peer[links.IFLA_IFNAME]) == "eth0"
    assert peer[links.IFLA_ADDRESS] == bytes.fromhex("0242ac110002")
    assert codec.integer(peer[links.IFLA_NET_NS_FD]) == 5
    assert request.shell == (
        "ip link add vethab master if7 type veth peer name eth0 address 02:42:ac:11:00:02 "
        f"netns /proc/{os.getpid()}/fd/5"
    )


def test_links_go_up_by_index_or_by_name() -> None:
    by_name = links.set_up("eth0")
    assert codec.string(link_attributes(by_name.body)[links.IFLA_IFNAME]) == "eth0"
    by_index = links.set_up("eth0", index=3)
    assert link_attributes(by_index.body) == {}
    assert struct.unpack_from("=i", by_index.body, 4) == (3,)


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a\0b", "é" * 8])
def test_impossible_link_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        links.set_up(name)


@pytest.mark.parametrize("mac", ["", "zz", "02:42:ac:11:00", "02:42:ac:11:00:zz", "2:42:ac:11:0:2"])
def test_impossible_macs_are_refused_in_dockers_words(mac: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid mac address"):
        links.mac_bytes(mac)


def test_macs() -> None:
    assert links.mac_bytes("02:42:AC:11:00:02") == bytes.fromhex("0242ac110002")
    assert links.mac_bytes("02-42-ac-11-00-02") == bytes.fromhex("0242ac110002")


def test_an_address_brings_its_broadcast_address() -> None:
    request = addresses.add("172.17.0.1", 16, 4, link="br0")
    found = codec.mapping(request.body[8:])
    assert found[addresses.IFA_LOCAL] == socket.inet_aton("172.17.0.1")
    assert found[addresses.IFA_BROADCAST] == socket.inet_aton("172.17.255.255")
    assert request.shell == "ip addr add 172.17.0.1/16 brd + dev br0"


@pytest.mark.parametrize("prefix", [31, 32])
def test_tiny_subnets_have_no_broadcast_address(prefix: int) -> None:
    request = addresses.add("10.0.0.1", prefix, 4)
    assert addresses.IFA_BROADCAST not in codec.mapping(request.body[8:])


def test_an_ipv6_address() -> None:
    request = addresses.add("2001:db8::1", 64, 4)
    assert request.body[0] == socket.AF_INET6
    found = codec.mapping(request.body[8:])
    assert found[addresses.IFA_LOCAL] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")


def test_routes() -> None:
    default = routes.add("", gateway="172.17.0.1")
    assert default.shell == "ip route add default via 172.17.0.1"
    found = codec.mapping(default.body[12:])
    assert routes.RTA_DST not in found
    assert found[routes.RTA_GATEWAY] == socket.inet_aton("172.17.0.1")
    connected = routes.add("10.0.0.0/8", index=3)
    assert connected.body[1] == 8
    assert codec.integer(codec.mapping(connected.body[12:])[routes.RTA_OIF]) == 3
    assert connected.shell == "ip route add 10.0.0.0/8 dev if3"


def test_neighbours() -> None:
    request = neighbours.add("172.17.0.2", "02:42:ac:11:00:02", 3)
    found = codec.mapping(request.body[12:])
    assert found[neighbours.NDA_LLADDR] == bytes.fromhex("0242ac110002")
    assert request.shell == "ip neigh replace 172.17.0.2 lladdr 02:42:ac:11:00:02 dev if3"


def test_a_port_that_is_cut_off_is_disabled_and_forgotten() -> None:
    request = links.cut_off("vethab")
    info = codec.mapping(link_attributes(request.body)[links.IFLA_LINKINFO])
    data = codec.mapping(info[links.IFLA_INFO_SLAVE_DATA])
    assert data == {
        links.IFLA_BRPORT_STATE: bytes((links.BR_STATE_DISABLED,)),
        links.IFLA_BRPORT_FLUSH: b"",
    }
