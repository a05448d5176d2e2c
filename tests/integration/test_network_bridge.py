"""The default bridge: what a container finds in its namespace, and what the host has for it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako.errors import Conflict, InvalidArgument, KernelError, NotFound
from jubako.linux.netlink import Netlink, addresses, links, open_in, routes
from jubako.networks import NetworkService
from jubako.networks.portspec import parse_publish
from jubako.store import Store
from tests.fixtures.isolation import in_network
from tests.fixtures.outside import Outside
from tests.integration.network_tools import Box, ask_tcp, new_netns


def read_inside(netns: int, path: str) -> str:
    with in_network(netns):
        return Path(path).read_text().strip()


def test_the_container_has_an_address_a_gateway_and_a_loopback(box: Callable[..., Box]) -> None:
    container = box("a" * 64)
    endpoint = container.endpoint
    with open_in(container.netns) as inside:
        eth0 = links.find(inside, "eth0")
        lo = links.find(inside, "lo")
        assert eth0 is not None and lo is not None
        assert eth0.up and lo.up
        assert eth0.mtu == 1500
        assert eth0.address == endpoint["MacAddress"]
        found = addresses.list_addresses(inside, index=eth0.index)
        assert [(item.address, item.prefix) for item in found] == [
            (endpoint["IPAddress"], endpoint["IPPrefixLen"])
        ]
        default = [item.gateway for item in routes.list_routes(inside) if not item.destination]
        assert default == [endpoint["Gateway"]]
    number = bytes(int(part) for part in endpoint["IPAddress"].split("."))
    assert endpoint["MacAddress"] == "02:42:" + number.hex(":")
    assert re.fullmatch(r"veth[0-9a-f]{7}", endpoint["HostLink"])
    assert re.fullmatch(r"[0-9a-f]{64}", endpoint["EndpointID"])
    assert read_inside(container.netns, "/proc/sys/net/ipv6/conf/eth0/disable_ipv6") == "1"
    assert read_inside(container.netns, "/proc/sys/net/ipv6/conf/lo/disable_ipv6") == "0"
    assert read_inside(container.netns, "/proc/sys/net/ipv6/conf/all/disable_ipv6") == "0"


def test_the_host_has_the_bridge_with_the_gateway_and_the_link(
    networks: NetworkService, box: Callable[..., Box]
) -> None:
    container = box("a" * 64)
    record = networks.inspect("bridge")
    name = record["Options"]["com.docker.network.bridge.name"]
    with Netlink() as netlink:
        bridge = links.find(netlink, name)
        assert bridge is not None and bridge.kind == "bridge" and bridge.up
        assert bridge.address.startswith("02:42:")
        link = links.find(netlink, container.endpoint["HostLink"])
        assert link is not None and link.master == bridge.index and link.up
        found = addresses.list_addresses(netlink, index=bridge.index, family=socket.AF_INET)
        assert [item.address for item in found] == [container.endpoint["Gateway"]]
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert list(record)[-4:] == ["ConfigOnly", "Containers", "Options", "Labels"]
    assert record["Containers"] == {
        "a" * 64: {
            "Name": "",
            "EndpointID": container.endpoint["EndpointID"],
            "MacAddress": container.endpoint["MacAddress"],
            "IPv4Address": f"{container.address}/16",
            "IPv6Address": "",
        }
    }


def test_the_first_packet_flows_at_once(box: Callable[..., Box]) -> None:
    box("a" * 64).serve_tcp(80)
    for name in ("b", "c", "d"):
        container = box(name * 64)
        container.serve_tcp(80)
        started = time.monotonic()
        answer = ask_tcp(socket.socket(), (container.address, 80))
        assert answer.startswith(name * 64)
        # a lost SYN is sent again after a second
        assert time.monotonic() - started < 0.5


def test_containers_reach_one_another_and_the_outside(
    box: Callable[..., Box], outside: Outside
) -> None:
    first, second = box("a" * 64), box("b" * 64)
    second.serve_tcp(80)
    answer = ask_tcp(first.socket(socket.SOCK_STREAM), (second.address, 80))
    assert answer == f"{second.id} {first.address} hello"
    with outside.socket() as listener:
        listener.bind(("", 7000))
        listener.listen()
        with first.socket(socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect((outside.address, 7000))
            served, peer = listener.accept()
            served.close()
    assert peer[0] == outside.engine_address  # masqueraded


def test_links_addresses_and_rules_are_gone_after_detach(
    networks: NetworkService, store: Store
) -> None:
    container = Box(networks, "a" * 64, "8080:80", "127.0.0.1:8081:81/udp")
    container.close()
    networks.detach(container.id)  # nothing to do, and fine
    deadline = time.monotonic() + 5
    with Netlink() as netlink:
        while links.find(netlink, container.endpoint["HostLink"]) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert store.db.execute("SELECT count(*) FROM leases").fetchone()[0] == 0
    assert store.db.execute("SELECT count(*) FROM ports").fetchone()[0] == 0
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    assert "elements" in listed and "8080" not in listed and "8081" not in listed


def test_a_released_address_can_be_given_away_while_the_old_link_lives(
    networks: NetworkService,
) -> None:
    old = Box(networks, "a" * 64)
    old.serve_tcp(80)
    assert ask_tcp(socket.socket(), (old.address, 80)).startswith("a")
    networks.detach(old.id)
    with Netlink() as netlink:
        assert links.find(netlink, old.endpoint["HostLink"]) is not None
    new = Box(networks, "b" * 64)
    try:
        assert new.address == old.address
        new.serve_tcp(80)
        started = time.monotonic()
        for _ in range(20):
            assert ask_tcp(socket.socket(), (new.address, 80)).startswith("b")
        assert time.monotonic() - started < 0.9
        networks.recover({new.id})
        with Netlink() as netlink:
            assert links.find(netlink, old.endpoint["HostLink"]) is None
            assert links.find(netlink, new.endpoint["HostLink"]) is not None
    finally:
        new.close()
        old.close()


def test_a_new_mac_for_a_reused_address_is_believed_at_once(networks: NetworkService) -> None:
    netns = new_netns()
    endpoint = networks.attach("a" * 64, netns, mac="92:d0:c6:0a:29:33")
    assert endpoint["MacAddress"] == "92:d0:c6:0a:29:33"
    with in_network(netns):
        server = socket.create_server(("", 80))
    socket.create_connection((endpoint["IPAddress"], 80), 5).close()
    server.close()
    os.close(netns)
    networks.detach("a" * 64)
    new = Box(networks, "b" * 64)
    try:
        assert new.address == endpoint["IPAddress"]
        new.serve_tcp(80)
        started = time.monotonic()
        assert ask_tcp(socket.socket(), (new.address, 80)).startswith("b")
        assert time.monotonic() - started < 0.5
    finally:
        new.close()


def test_wanted_addresses(networks: NetworkService, box: Callable[..., Box]) -> None:
    first = box("a" * 64)
    subnet = first.endpoint["Gateway"].removesuffix(".0.1")
    netns = new_netns()
    try:
        endpoint = networks.attach("b" * 64, netns, ipv4=f"{subnet}.7.9")
        assert endpoint["IPAddress"] == f"{subnet}.7.9"
        for wanted, error in (
            (first.address, Conflict),
            (f"{subnet}.0.1", Conflict),
            (f"{subnet}.255.255", Conflict),
            ("10.1.1.1", InvalidArgument),
            ("nonsense", InvalidArgument),
        ):
            with pytest.raises(error):
                networks.attach("c" * 64, netns, ipv4=wanted)
    finally:
        os.close(netns)
        networks.detach("b" * 64)


def test_a_failed_attach_leaves_nothing(networks: NetworkService, store: Store) -> None:
    netns = new_netns()
    with open_in(netns) as inside:
        inside.execute(links.add_bridge("eth0"))  # in the way
    with pytest.raises(KernelError) as caught:
        networks.attach("a" * 64, netns, ports=parse_publish("8080:80"))
    assert "File exists" in str(caught.value)
    os.close(netns)
    for table in ("leases", "ports"):
        assert store.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    socket.create_server(("", 8080)).close()  # the sockets are closed
    with Netlink() as netlink:
        assert not [link for link in links.list_links(netlink) if link.kind == "veth"]


def test_a_missing_network_is_not_found(networks: NetworkService) -> None:
    netns = new_netns()
    try:
        with pytest.raises(NotFound, match="network nope not found"):
            networks.attach("a" * 64, netns, network="nope")
    finally:
        os.close(netns)


def test_two_roots_side_by_side(tmp_path: Path, root_dir: Path) -> None:
    """Different bridges, tables and subnets; neither reaches the other's containers."""
    from tests.fixtures.engine import remove_traces

    other_path = tmp_path / "other"
    other_path.mkdir()
    store, other = Store(str(root_dir)), Store(str(other_path))
    here, there = NetworkService(store), NetworkService(other)
    try:
        first = Box(here, "a" * 64, "8080:80")
        second = Box(there, "b" * 64, "8081:80")
        try:
            first.serve_tcp(80)
            second.serve_tcp(80)
            assert first.endpoint["Gateway"] != second.endpoint["Gateway"]
            assert ask_tcp(socket.socket(), (first.address, 80)).startswith("a")
            assert ask_tcp(socket.socket(), (second.address, 80)).startswith("b")
            with pytest.raises(OSError):
                with first.socket(socket.SOCK_STREAM) as sock:
                    sock.settimeout(0.5)
                    sock.connect((second.address, 80))
            # but what is published is published
            gateway = first.endpoint["Gateway"]
            answer = ask_tcp(first.socket(socket.SOCK_STREAM), (gateway, 8081))
            assert answer.startswith("b")
            with pytest.raises(Conflict, match="address already in use"):
                Box(there, "c" * 64, "8080:80")
        finally:
            second.close()
            first.close()
    finally:
        remove_traces(other.name)
        import shutil

        shutil.rmtree(other.run_dir)
        for item in (here, there, store, other):
            item.close()


def test_the_subnet_avoids_what_the_host_knows(networks: NetworkService) -> None:
    with Netlink() as netlink:
        netlink.execute(links.add_bridge("other0"))
        link = links.find(netlink, "other0")
        assert link is not None
        try:
            netlink.execute(
                addresses.add("172.17.5.5", 24, link.index),
                links.set_up("other0"),
                routes.add("172.18.0.0/15", index=link.index),
            )
            record = networks.ensure_default()
            assert record["IPAM"]["Config"] == [
                {"Subnet": "172.20.0.0/16", "Gateway": "172.20.0.1"}
            ]
            # a VPN comes, before the bridge is made: another one is chosen
            netlink.execute(routes.add("172.20.0.0/24", index=link.index))
            container = Box(networks, "a" * 64)
            assert container.address == "172.21.0.2"
            # from now on it stays, whatever comes
            netlink.execute(routes.add("172.21.9.0/24", index=link.index))
            other = Box(networks, "b" * 64)
            assert other.address == "172.21.0.3"
            other.close()
            container.close()
        finally:
            netlink.execute(links.delete("other0"))


def test_the_bridge_is_completed_when_it_was_half_made(
    networks: NetworkService, box: Callable[..., Box]
) -> None:
    record = networks.ensure_default()
    name = record["Options"]["com.docker.network.bridge.name"]
    with Netlink() as netlink:
        netlink.execute(links.add_bridge(name))
    box("a" * 64).serve_tcp(80)
    container = box("b" * 64)
    assert ask_tcp(container.socket(socket.SOCK_STREAM), ("172.17.0.2", 80)).startswith("a")


def test_the_host_does_not_become_a_router(box: Callable[..., Box], outside: Outside) -> None:
    """Forwarding comes on for containers; between the host's own links nothing is forwarded."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    far = new_netns()
    with Netlink() as netlink, open_in(far) as inside:
        netlink.execute(links.add_veth("far0", "eth0", peer_netns_fd=far))
        near, there = links.find(netlink, "far0"), links.find(inside, "eth0")
        assert near is not None and there is not None
        netlink.execute(addresses.add("198.51.100.1", 24, near.index), links.set_up("far0"))
        inside.execute(
            addresses.add("198.51.100.2", 24, there.index),
            links.set_up("eth0"),
            routes.add("", gateway="198.51.100.1"),
        )
        try:
            container = box("a" * 64)
            outside.run("ip", "route", "add", "198.51.100.0/24", "via", outside.engine_address)
            with in_network(far):
                server = socket.create_server(("", 80))
            with pytest.raises(OSError):
                outside.connect("198.51.100.2", 80, timeout_s=0.5)
            with container.socket(socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(("198.51.100.2", 80))
            server.close()
        finally:
            netlink.execute(links.delete("far0"))
            os.close(far)


def test_attach_starts_no_program_when_all_is_in_place(
    networks: NetworkService, box: Callable[..., Box], monkeypatch: pytest.MonkeyPatch
) -> None:
    box("a" * 64)

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("jubako.linux.process.run", forbidden)
    box("b" * 64, "8080:80", "8081:81/udp")
    networks.detach("b" * 64)
