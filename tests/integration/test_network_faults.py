"""Networks when processes are killed, and when many work at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from jubako.errors import Conflict
from jubako.linux import nft
from jubako.linux.netlink import Netlink, links
from jubako.networks import NetworkService, firewall
from jubako.networks.portspec import parse_publish
from jubako.store import Store
from tests.fixtures.outside import Outside
from tests.integration.network_tools import Box, ask_tcp, new_netns

_VICTIM = """
import sys
from jubako.networks import NetworkService
from jubako.networks.portspec import parse_publish
from jubako.store import Store

container, netns = sys.argv[2], int(sys.argv[3])
networks = NetworkService(Store(sys.argv[1]))
ports = [port for text in ("8080:80", "127.0.0.1:8081:81/udp") for port in parse_publish(text)]
networks.attach(container, netns, ports=ports)
networks.detach(container)
"""


def run_victim(root: Path, container_id: str, netns: int, fault: str) -> int:
    return subprocess.run(
        [sys.executable, "-c", _VICTIM, str(root), container_id, str(netns)],
        env={**os.environ, "JUBAKO_FAULT": fault},
        pass_fds=[netns],
        timeout=30,
    ).returncode


POINTS = [
    "networks.ground.table",
    "networks.ground.bridge",
    "networks.attach.reserved",
    "networks.attach.leased",
    "networks.attach.plugged",
    "networks.attach.published",
    "networks.detach.kernel",
    "networks.detach.rows",
]


@pytest.mark.parametrize("fault", POINTS)
def test_a_killed_attach_or_detach_is_cleared_away(
    root_dir: Path, store: Store, networks: NetworkService, fault: str
) -> None:
    netns = new_netns()
    assert run_victim(root_dir, "a" * 64, netns, fault) == -signal.SIGKILL
    networks.recover(())
    assert _rows(store) == (0, 0)
    assert _kernel(networks, store) == ([], [])
    os.close(netns)
    # and everything works: the same address, the same ports
    box = Box(networks, "b" * 64, "8080:80", "127.0.0.1:8081:81/udp")
    try:
        assert box.address.endswith(".0.2")
        box.serve_tcp(80)
        address = box.endpoint["Gateway"]
        assert ask_tcp(socket.socket(), (address, 8080)).startswith(box.id)
    finally:
        box.close()


@pytest.mark.parametrize("fault", POINTS[:2])
def test_the_next_attach_completes_a_half_made_ground(
    root_dir: Path, networks: NetworkService, outside: Outside, fault: str
) -> None:
    """Without any `recover` in between."""
    netns = new_netns()
    assert run_victim(root_dir, "a" * 64, netns, fault) == -signal.SIGKILL
    os.close(netns)
    box = Box(networks, "b" * 64, "9090:80")
    try:
        box.serve_tcp(80)
        assert ask_tcp(outside.socket(), (outside.engine_address, 9090)).startswith(box.id)
    finally:
        box.close()
    networks.recover(())


def _rows(store: Store) -> tuple[int, int]:
    return (
        store.db.execute("SELECT count(*) FROM leases").fetchone()[0],
        store.db.execute("SELECT count(*) FROM ports").fetchone()[0],
    )


def _kernel(networks: NetworkService, store: Store) -> tuple[list[str], list[nft.Element]]:
    """The links and port elements of this root."""
    bridge = networks.ensure_default()["Options"]["com.docker.network.bridge.name"]
    with Netlink() as netlink:
        link = links.find(netlink, bridge)
        found = links.list_links(netlink, master=link.index) if link is not None else []
    with nft.open_socket() as filters:
        elements = firewall.published(filters, firewall.table_name(store))
    return [item.name for item in found], elements


def test_recover_spares_the_living(store: Store, networks: NetworkService) -> None:
    living, dead = Box(networks, "a" * 64, "8080:80"), Box(networks, "b" * 64, "8081:80")
    try:
        living.serve_tcp(80)
        networks.recover({living.id})
        assert _rows(store) == (1, 2)  # [::]:8080, too
        assert _kernel(networks, store)[0] == [living.endpoint["HostLink"]]
        gateway = living.endpoint["Gateway"]
        assert ask_tcp(socket.socket(), (gateway, 8080)).startswith(living.id)
        with socket.socket() as sock:
            assert sock.connect_ex((gateway, 8081)) != 0
    finally:
        dead.close()
        living.close()


def test_recover_removes_elements_that_nobody_owns(store: Store, networks: NetworkService) -> None:
    box = Box(networks, "a" * 64, "8080:80")
    stray = nft.Element(
        "published_any",
        nft.proto("tcp") + nft.port(9999),
        nft.address("172.17.0.99") + nft.port(80),
    )
    try:
        with nft.open_socket() as filters:
            firewall.add_ports(filters, firewall.table_name(store), [stray])
        networks.recover({box.id})
        assert stray not in _kernel(networks, store)[1]
        assert len(_kernel(networks, store)[1]) == 1
    finally:
        box.close()


def test_a_stale_element_gives_way_to_the_new_owner(
    store: Store, networks: NetworkService, outside: Outside
) -> None:
    first = Box(networks, "a" * 64)
    stale = nft.Element(
        "published_any",
        nft.proto("tcp") + nft.port(8080),
        nft.address(first.address) + nft.port(80),
    )
    with nft.open_socket() as filters:
        firewall.add_ports(filters, firewall.table_name(store), [stale])
    box = Box(networks, "b" * 64, "8080:80")
    try:
        first.serve_tcp(80)
        box.serve_tcp(80)
        assert ask_tcp(outside.socket(), (outside.engine_address, 8080)).startswith(box.id)
    finally:
        box.close()
        first.close()


_WORKER = """
import json, os, socket, sys, time
from jubako.linux.ns import CLONE_NEWNET, setns, unshare
from jubako.networks import NetworkService
from jubako.networks.portspec import parse_publish
from jubako.store import Store

root, worker, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
home = os.open("/proc/self/ns/net", os.O_RDONLY)
found, kept = [], []
for number in range(count):
    container = f"{worker}{number:02}".ljust(64, "0")
    networks = NetworkService(Store(root))  # as many processes would
    unshare(CLONE_NEWNET)
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    setns(home, CLONE_NEWNET)
    endpoint = networks.attach(
        container, netns, ports=[*parse_publish("80"), *parse_publish("53/udp")]
    )
    found.append([container, endpoint])
    if number % 3 == 0:
        networks.detach(container, remove_links=number % 2 == 0)
        found.pop()
        networks.close()
    else:
        kept.append((networks, netns))
print(json.dumps(found), flush=True)
sys.stdin.read()  # hold everything until all have reported
for networks, netns in kept:
    os.close(netns)
for (networks, _), (container, _) in zip(kept, found):
    networks.detach(container)
"""


def test_eight_processes_give_nothing_twice(
    root_dir: Path, store: Store, networks: NetworkService
) -> None:
    """They all start on a fresh root, so they also race for bridge and table."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(root_dir), chr(ord("a") + index), "9"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for index in range(8)
    ]
    try:
        reports = []
        for worker in workers:
            assert worker.stdout is not None
            line = worker.stdout.readline()
            assert line, f"worker failed: {worker.wait()}"
            reports += json.loads(line)
        assert len(reports) == 8 * 6
        endpoints = [endpoint for _, endpoint in reports]
        for key in ("IPAddress", "MacAddress", "EndpointID", "HostLink"):
            assert max(Counter(endpoint[key] for endpoint in endpoints).values()) == 1
        for port in ("80/tcp", "53/udp"):
            numbers = [endpoint["Ports"][port][0]["HostPort"] for endpoint in endpoints]
            assert len(set(numbers)) == len(numbers)
        names, elements = _kernel(networks, store)
        assert set(names) >= {endpoint["HostLink"] for endpoint in endpoints}
        assert len(elements) == 2 * len(endpoints)
    finally:
        for worker in workers:
            worker.communicate(timeout=60)
    assert all(worker.returncode == 0 for worker in workers)
    assert _rows(store) == (0, 0)
    assert _kernel(networks, store)[1] == []


def test_one_of_many_gets_the_port(root_dir: Path, store: Store, networks: NetworkService) -> None:
    winners, losers = [], []
    stores = [Store(str(root_dir)) for _ in range(4)]
    services = [NetworkService(item) for item in stores]
    spaces = [new_netns() for _ in services]
    try:
        for index, service in enumerate(services):
            try:
                service.attach(
                    chr(ord("a") + index) * 64, spaces[index], ports=parse_publish("8080:80")
                )
                winners.append(index)
            except Conflict as exc:
                losers.append(str(exc))
        assert winners == [0]
        assert losers == ["Bind for 0.0.0.0:8080 failed: port is already allocated"] * 3
        assert _rows(store) == (1, 2)
    finally:
        networks.recover(())
        for service in services:
            service.close()
        for item in stores:
            item.close()
        for fd in spaces:
            os.close(fd)


def test_the_last_of_many_ports_costs_what_the_first_did(networks: NetworkService) -> None:
    """One map element each: no rule is added, whatever the number."""
    box = Box(networks, "a" * 64, "20000-20299:1000-1299")
    try:
        listed = subprocess.run(
            ["nft", "-s", "list", "chains"], capture_output=True, text=True, check=True
        ).stdout
        assert "20000" not in listed
        other = Box(networks, "b" * 64, "8080:80")
        started = time.monotonic()
        other.close()
        assert time.monotonic() - started < 1
    finally:
        box.close()
