"""Published ports: from loopback, from outside, from containers; and who does not get in."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako.errors import Conflict, KernelError
from jubako.linux import nft
from jubako.linux.loop import EventLoop
from jubako.networks import NetworkService, endpoints, firewall
from jubako.networks.listener import close_all
from jubako.networks.portspec import parse_publish
from jubako.store import Store
from tests.fixtures.isolation import in_network
from tests.fixtures.outside import Outside
from tests.integration.network_tools import Box, ask_tcp, ask_udp, proxied


def tcp(family: int = socket.AF_INET) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


def udp(family: int = socket.AF_INET) -> socket.socket:
    return socket.socket(family, socket.SOCK_DGRAM)


def refused(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Whether a TCP connection fails, quickly or by silence."""
    with sock:
        sock.settimeout(0.5)
        return sock.connect_ex(address) != 0


def silent(sock: socket.socket, address: tuple[str, int]) -> bool:
    """Whether a UDP question gets no answer."""
    with sock:
        sock.settimeout(0.5)
        try:
            sock.sendto(b"hello", address)
            sock.recv(100)
        except OSError:
            return True
        return False


# -- the ways in -----------------------------------------------------------------------------------


def test_tcp_from_outside_keeps_the_client_address(
    box: Callable[..., Box], outside: Outside
) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    answer = ask_tcp(outside.socket(), (outside.engine_address, 8080))
    assert answer == f"{web.id} {outside.address} hello"


def test_udp_from_outside(box: Callable[..., Box], outside: Outside) -> None:
    dns = box("a" * 64, "5353:53/udp")
    dns.serve_udp(53)
    sock = outside.socket(kind=socket.SOCK_DGRAM)
    assert ask_udp(sock, (outside.engine_address, 5353)) == f"{dns.id} {outside.address} hello"


def test_tcp_and_udp_from_the_hosts_loopback(box: Callable[..., Box]) -> None:
    web = box("a" * 64, "8080:80", "8080:80/udp")
    web.serve_tcp(80)
    web.serve_udp(80)
    gateway = web.endpoint["Gateway"]
    with proxied(web):
        for address in ("127.0.0.1", "127.1.2.3"):
            assert ask_tcp(tcp(), (address, 8080)) == f"{web.id} {gateway} hello"
            assert ask_udp(udp(), (address, 8080)) == f"{web.id} {gateway} hello"
        assert ask_tcp(tcp(socket.AF_INET6), ("::1", 8080)) == f"{web.id} {gateway} hello"
        assert ask_udp(udp(socket.AF_INET6), ("::1", 8080)) == f"{web.id} {gateway} hello"


def test_from_the_hosts_own_address_without_the_proxy(
    box: Callable[..., Box], outside: Outside
) -> None:
    web = box("a" * 64, "8080:80", "8080:80/udp")
    web.serve_tcp(80)
    web.serve_udp(80)
    for address in (outside.engine_address, web.endpoint["Gateway"]):
        assert ask_tcp(tcp(), (address, 8080)).startswith(web.id)
        assert ask_udp(udp(), (address, 8080)).startswith(web.id)


def test_ipv6_from_outside(box: Callable[..., Box], outside: Outside) -> None:
    web = box("a" * 64, "8080:80", "8080:80/udp")
    web.serve_tcp(80)
    web.serve_udp(80)
    with proxied(web):
        there = (outside.engine_address6, 8080)
        assert ask_tcp(outside.socket(socket.AF_INET6), there).startswith(web.id)
        sock = outside.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        assert ask_udp(sock, there).startswith(web.id)


def test_from_another_container_and_from_itself(box: Callable[..., Box], outside: Outside) -> None:
    web = box("a" * 64, "8080:80", "8080:80/udp")
    web.serve_tcp(80)
    web.serve_udp(80)
    other = box("b" * 64)
    for client in (other, web):
        for address in (web.endpoint["Gateway"], outside.engine_address):
            answer = ask_tcp(client.socket(socket.SOCK_STREAM), (address, 8080))
            assert answer.startswith(web.id)
            answer = ask_udp(client.socket(socket.SOCK_DGRAM), (address, 8080))
            assert answer.startswith(web.id)


def test_a_port_on_one_address_of_the_host(box: Callable[..., Box], outside: Outside) -> None:
    web = box("a" * 64, f"{outside.engine_address}:8080:80")
    web.serve_tcp(80)
    there = (outside.engine_address, 8080)
    assert ask_tcp(outside.socket(), there).startswith(web.id)
    assert ask_tcp(tcp(), there).startswith(web.id)
    assert ask_tcp(web.socket(socket.SOCK_STREAM), there).startswith(web.id)
    assert refused(tcp(), ("127.0.0.1", 8080))
    assert refused(web.socket(socket.SOCK_STREAM), (web.endpoint["Gateway"], 8080))


def test_a_port_on_an_ipv6_address(box: Callable[..., Box], outside: Outside) -> None:
    web = box("a" * 64, f"[{outside.engine_address6}]:8080:80")
    web.serve_tcp(80)
    with proxied(web):
        sock = outside.socket(socket.AF_INET6)
        assert ask_tcp(sock, (outside.engine_address6, 8080)).startswith(web.id)
        assert refused(tcp(), ("127.0.0.1", 8080))


def test_sctp_is_translated_without_a_proxy(store: Store, box: Callable[..., Box]) -> None:
    box("a" * 64, "8080:80/sctp")
    with nft.open_socket() as filters:
        (element,) = firewall.published(filters, firewall.table_name(store))
    assert element.key == nft.proto("sctp") + nft.port(8080)
    with pytest.raises(Conflict, match="Bind for 0.0.0.0:8080 failed: port is already allocated"):
        reserve(store, "b" * 64, "8080:80/sctp")


# -- the ways that are closed ----------------------------------------------------------------------


def test_a_container_is_not_reached_directly_from_outside(
    box: Callable[..., Box], outside: Outside
) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    web.serve_tcp(81)
    web.serve_udp(53)
    outside.run("ip", "route", "add", "172.16.0.0/12", "via", outside.engine_address)
    assert refused(outside.socket(), (web.address, 80))  # published, but as port 8080 of the host
    assert refused(outside.socket(), (web.address, 81))
    assert silent(outside.socket(kind=socket.SOCK_DGRAM), (web.address, 53))
    assert ask_tcp(outside.socket(), (outside.engine_address, 8080)).startswith(web.id)
    assert ask_tcp(tcp(), (web.address, 81)).startswith(web.id)  # the host itself may


def test_a_loopback_port_is_not_reached_from_outside(
    box: Callable[..., Box], outside: Outside
) -> None:
    """Also not by a neighbour that routes 127.0.0.0/8 to a host that accepts such packets."""
    web = box("a" * 64, "127.0.0.1:8080:80", "127.0.0.1:8080:80/udp")
    web.serve_tcp(80)
    web.serve_udp(80)
    outside.run("ip", "route", "add", "172.16.0.0/12", "via", outside.engine_address)
    with proxied(web):
        for address in (outside.engine_address, web.endpoint["Gateway"]):
            assert refused(outside.socket(), (address, 8080))
            assert silent(outside.socket(kind=socket.SOCK_DGRAM), (address, 8080))
            assert refused(web.socket(socket.SOCK_STREAM), (address, 8080))
        assert ask_tcp(tcp(), ("127.0.0.1", 8080)).startswith(web.id)
        assert ask_udp(udp(), ("127.0.0.1", 8080)).startswith(web.id)

        Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
        _route_loopback_to_the_engine(outside)
        canary = socket.create_server(("127.0.0.1", 7777))  # the trick as such works
        try:
            with outside.socket() as sock:
                sock.bind((outside.address, 0))
                sock.settimeout(5)
                sock.connect(("127.0.0.1", 7777))
            sock = outside.socket()
            sock.bind((outside.address, 0))
            assert refused(sock, ("127.0.0.1", 8080))
            sock = outside.socket(kind=socket.SOCK_DGRAM)
            sock.bind((outside.address, 0))
            assert silent(sock, ("127.0.0.1", 8080))
        finally:
            canary.close()
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("0")


def _route_loopback_to_the_engine(outside: Outside) -> None:
    outside.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    outside.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo")
    for command in (
        "ip rule add pref 10 lookup local",
        "ip rule del pref 0",
        f"ip rule add pref 5 from {outside.address} to 127.0.0.0/8 lookup 100",
        f"ip route add 127.0.0.0/8 via {outside.engine_address} table 100",
    ):
        outside.run(*command.split())


def test_a_port_is_closed_after_detach(networks: NetworkService, outside: Outside) -> None:
    web = Box(networks, "a" * 64, "8080:80", "8081:80/udp")
    web.serve_tcp(80)
    assert ask_tcp(outside.socket(), (outside.engine_address, 8080)).startswith(web.id)
    web.close()
    other = Box(networks, "b" * 64)
    other.serve_tcp(80)
    other.serve_udp(80)
    try:
        assert other.address == web.address
        assert refused(outside.socket(), (outside.engine_address, 8080))
        assert silent(outside.socket(kind=socket.SOCK_DGRAM), (outside.engine_address, 8081))
    finally:
        other.close()


def test_a_udp_client_that_keeps_its_port_follows_the_service(
    box: Callable[..., Box], outside: Outside
) -> None:
    """Connection tracking knows where its datagrams went; that must not outlive the container."""
    with outside.socket(kind=socket.SOCK_DGRAM) as client:
        client.bind(("", 0))
        client.settimeout(2)

        def ask() -> str:
            client.sendto(b"hello", (outside.engine_address, 5353))
            return client.recv(1000).decode()

        client.sendto(b"anybody there?", (outside.engine_address, 5353))
        first = box("a" * 64, "5353:53/udp")
        first.serve_udp(53)
        assert ask().startswith(first.id)
        first.close()
        client.sendto(b"still there?", (outside.engine_address, 5353))
        stranger = box("b" * 64)
        stranger.serve_udp(53)
        assert stranger.address == first.address
        second = box("c" * 64, "5353:53/udp")
        second.serve_udp(53)
        assert ask().startswith(second.id)


# -- who has a port --------------------------------------------------------------------------------


def reserve(store: Store, container_id: str, *specs: str) -> list[int]:
    """Take ports and give up the sockets again; the numbers."""
    mappings = [item for spec in specs for item in parse_publish(spec)]
    listeners = endpoints.reserve(store, container_id, mappings)
    close_all(listeners)
    return sorted({item.host_port for item in listeners})


def test_a_port_of_another_container_is_refused_in_dockers_words(
    store: Store, networks: NetworkService, box: Callable[..., Box]
) -> None:
    box("a" * 64, "8080:80", "127.0.0.1:8081:80", "[::1]:8082:80", "8083:80/udp")
    for spec, text in (
        ("8080:80", "Bind for 0.0.0.0:8080 failed: port is already allocated"),
        ("0.0.0.0:8080:80", "Bind for 0.0.0.0:8080 failed: port is already allocated"),
        ("[::]:8080:80", r"Bind for \[::\]:8080 failed: port is already allocated"),
        ("127.0.0.1:8081:80", "Bind for 127.0.0.1:8081 failed: port is already allocated"),
        ("127.0.0.1:8080:80", "listen tcp4 127.0.0.1:8080: bind: address already in use"),
        ("8081:80", "listen tcp4 0.0.0.0:8081: bind: address already in use"),
        ("8082:80", r"listen tcp6 \[::\]:8082: bind: address already in use"),
        ("8083:80/udp", "Bind for 0.0.0.0:8083 failed: port is already allocated"),
    ):
        with pytest.raises(Conflict, match=text):
            reserve(store, "b" * 64, spec)
    reserve(store, "b" * 64, "8083:80", "8080:80/udp")  # the other protocol is free
    networks.detach("b" * 64)


def test_a_port_of_a_foreign_program_is_refused(store: Store) -> None:
    with socket.create_server(("0.0.0.0", 8080)), udp() as other, tcp() as local:
        other.bind(("127.0.0.1", 8081))
        local.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        local.bind(("127.0.0.1", 8082))
        local.listen()
        for spec, text in (
            ("8080:80", "listen tcp4 0.0.0.0:8080: bind: address already in use"),
            ("127.0.0.1:8080:80", "listen tcp4 127.0.0.1:8080: bind: address already in use"),
            ("8081:80/udp", "listen udp4 0.0.0.0:8081: bind: address already in use"),
            ("8082:80", "listen tcp4 0.0.0.0:8082: bind: address already in use"),
        ):
            with pytest.raises(Conflict, match=text):
                reserve(store, "a" * 64, spec)


def test_an_address_that_the_host_does_not_have(store: Store) -> None:
    with pytest.raises(KernelError) as caught:
        reserve(store, "a" * 64, "203.0.113.9:8080:80")
    assert caught.value.errno == errno.EADDRNOTAVAIL
    text = "listen tcp4 203.0.113.9:8080: bind: cannot assign requested address"
    assert text in str(caught.value)


def test_all_ports_or_none(store: Store) -> None:
    with socket.create_server(("0.0.0.0", 8082)), pytest.raises(Conflict):
        reserve(store, "a" * 64, "8080-8082:80-82", "80")
    assert store.db.execute("SELECT count(*) FROM ports").fetchone()[0] == 0
    socket.create_server(("0.0.0.0", 8080)).close()


def test_a_range_gives_its_first_free_port(store: Store, networks: NetworkService) -> None:
    with socket.create_server(("0.0.0.0", 8081)):
        assert reserve(store, "a" * 64, "8080-8083:80") == [8080]
        assert reserve(store, "b" * 64, "8080-8083:80") == [8082]
        assert reserve(store, "c" * 64, "8080-8083:80") == [8083]
        with pytest.raises(Conflict, match="^all ports are allocated$"):
            reserve(store, "d" * 64, "8080-8083:80")
    for name in "abc":
        networks.detach(name * 64)


def test_ephemeral_ports_go_round_and_skip_what_is_used(
    store: Store, networks: NetworkService
) -> None:
    (number,) = reserve(store, "a" * 64, "80")
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert low <= number <= high
    networks.detach("a" * 64)
    # in use over IPv6 only: the number must be free on both
    with socket.create_server(("::", number + 1), family=socket.AF_INET6):
        assert reserve(store, "a" * 64, "127.0.0.1::80", "81") == [number + 1, number + 2]
    networks.detach("a" * 64)


def test_a_conflict_names_the_container(store: Store, networks: NetworkService) -> None:
    with store.transaction() as db:
        db.execute(
            "INSERT INTO containers (id, name, image_id, created_ns, record, status)"
            " VALUES (?, 'web', '', 0, '{}', 'created')",
            ("a" * 64,),
        )
    reserve(store, "b" * 64, "8080:80")
    with pytest.raises(Conflict) as caught:
        reserve(store, "a" * 64, "8080:80")
    assert re.fullmatch(
        r"driver failed programming external connectivity on endpoint web \([0-9a-f]{64}\): "
        r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated",
        str(caught.value),
    )
    networks.detach("b" * 64)
    with store.transaction() as db:
        db.execute("DELETE FROM containers")


def test_the_bindings_are_shown_as_docker_shows_them(box: Callable[..., Box]) -> None:
    web = box(
        "a" * 64,
        "8080:80",
        "127.0.0.1:8081:81/udp",
        "9000-9001:9000-9001",
        "10.9.8.7::82".replace("10.9.8.7", "127.0.0.2"),
    )
    ports = web.endpoint["Ports"]
    assert ports["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"},
        {"HostIp": "::", "HostPort": "8080"},
    ]
    assert ports["81/udp"] == [{"HostIp": "127.0.0.1", "HostPort": "8081"}]
    assert ports["9001/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "9001"}
    assert ports["82/tcp"][0]["HostPort"].isdecimal()


# -- the host's own rules --------------------------------------------------------------------------


def test_the_hosts_own_drop_has_the_last_word(
    networks: NetworkService, box: Callable[..., Box], outside: Outside
) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    nft.apply(
        "table inet host_rules {\n chain forward {\n"
        "  type filter hook forward priority 10; policy drop;\n }\n}\n"
    )
    try:
        assert refused(outside.socket(), (outside.engine_address, 8080))
        assert networks.foreign_drops() == ["inet host_rules forward"]
        nft.apply(
            "add rule inet host_rules forward oifname jbk* accept\n"
            "add rule inet host_rules forward iifname jbk* accept\n"
        )
        assert ask_tcp(outside.socket(), (outside.engine_address, 8080)).startswith(web.id)
        nft.apply("flush chain inet host_rules forward\n")
        with proxied(web):  # the host's own loopback needs no forwarding
            assert ask_tcp(tcp(), ("127.0.0.1", 8080)).startswith(web.id)
    finally:
        nft.apply("delete table inet host_rules\n")
    assert networks.foreign_drops() == []


@pytest.mark.parametrize("repair", ["attach", "recover"])
def test_ports_come_back_after_the_rules_were_flushed(
    networks: NetworkService, box: Callable[..., Box], outside: Outside, repair: str
) -> None:
    web = box("a" * 64, "8080:80", "127.0.0.1:8081:80", f"{outside.engine_address}:8082:80")
    web.serve_tcp(80)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    networks.close()  # its proxy must not serve in place of the rules
    assert refused(outside.socket(), (outside.engine_address, 8080))
    if repair == "attach":
        box("b" * 64, "8090:80")
    else:
        networks.recover({web.id})
    for port in (8080, 8082):
        assert ask_tcp(outside.socket(), (outside.engine_address, port)).startswith(web.id)
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    assert "8081" in listed
    outside.run("ip", "route", "add", "172.16.0.0/12", "via", outside.engine_address)
    assert refused(outside.socket(), (web.address, 80))


def test_a_running_monitor_notices_that_the_rules_were_flushed(
    store: Store, box: Callable[..., Box], outside: Outside
) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    ready, tell = os.pipe()
    store.close()
    monitor = os.fork()
    if monitor == 0:
        try:
            loop = EventLoop()
            NetworkService(store).serve(loop, web.id, web.endpoint)
            os.write(tell, b"x")
            loop.run()
        finally:
            os._exit(1)
    try:
        assert os.read(ready, 1) == b"x"
        for _ in range(2):
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
                if "8080" in listed.stdout:
                    break
                time.sleep(0.02)
            answer = ask_tcp(outside.socket(), (outside.engine_address, 8080))
            assert answer == f"{web.id} {outside.address} hello"
    finally:
        os.kill(monitor, signal.SIGKILL)
        os.waitpid(monitor, 0)
        os.close(ready)
        os.close(tell)


# -- the proxy -------------------------------------------------------------------------------------


def test_the_proxy_carries_much_in_both_directions(box: Callable[..., Box]) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    data = os.urandom(1 << 20) * 8
    with proxied(web):
        answers: list[bool] = []

        def fetch() -> None:
            sock = tcp()
            sock.settimeout(20)
            sock.connect(("127.0.0.1", 8080))
            with sock:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                got = bytearray()
                while chunk := sock.recv(1 << 16):
                    got += chunk
            answers.append(got.endswith(data))

        threads = [threading.Thread(target=fetch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert answers == [True] * 4


def test_the_proxy_passes_on_that_nobody_listens(box: Callable[..., Box]) -> None:
    web = box("a" * 64, "8080:80")
    with proxied(web), pytest.raises(ConnectionResetError):
        ask_tcp(tcp(), ("127.0.0.1", 8080))


def test_a_reset_of_the_server_reaches_the_client(box: Callable[..., Box]) -> None:
    web = box("a" * 64, "8080:80")
    with in_network(web.netns):
        server = socket.create_server(("", 80))
    with proxied(web), server, tcp() as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", 8080))
        client.sendall(b"x")
        served, _ = server.accept()
        served.recv(1)
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        served.close()
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_the_proxy_leaves_no_descriptors(box: Callable[..., Box]) -> None:
    web = box("a" * 64, "8080:80")
    web.serve_tcp(80)
    with proxied(web):
        ask_tcp(tcp(), ("127.0.0.1", 8080))
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            ask_tcp(tcp(), ("127.0.0.1", 8080))
        sock = tcp()
        sock.connect(("127.0.0.1", 8080))
        sock.close()
        deadline = time.monotonic() + 5
        while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) <= before
