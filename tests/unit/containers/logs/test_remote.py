"""Drivers that send, with real servers on sockets of this machine that come, go and are slow."""

from __future__ import annotations

import array
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jubako.containers.logs import open_driver, reader, take_over
from jubako.containers.logs import targets as targets_module
from jubako.containers.logs.plan import make_plan
from jubako.errors import StartError
from jubako.linux.loop import EventLoop
from tests.unit.containers.log_tools import text, turn_until, unpack_first
from tests.unit.containers.logs.test_options import record

if TYPE_CHECKING:
    from jubako.containers.logs.driver import LogDriver

FAILED = "failed to create task for container: failed to initialize logging driver: "


def sender(driver: LogDriver) -> Any:
    """What the driver's state is in."""
    return driver.__dict__["_sender"]


def is_down(driver: LogDriver) -> bool:
    down: bool = sender(driver)._connection is None
    return down


class Server:
    """A listening or datagram socket that a test reads when it likes."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None = None):
        self._sock = sock
        self._context = context
        sock.setblocking(False)
        self.connections: list[socket.socket] = []
        self.data = b""
        self.datagrams: list[bytes] = []

    def accept(self) -> bool:
        with suppress(BlockingIOError):
            connection, _ = self._sock.accept()
            connection.setblocking(False)
            if self._context is not None:
                connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self.connections.append(connection)
        return bool(self.connections)

    def read(self) -> bytes:
        """Everything that has come so far on the newest connection."""
        self.accept()
        for connection in self.connections[-1:]:
            with suppress(BlockingIOError, ssl.SSLWantReadError):
                while piece := connection.recv(1 << 20):
                    self.data += piece
        return self.data

    def receive(self) -> list[bytes]:
        with suppress(BlockingIOError):
            while True:
                self.datagrams.append(self._sock.recv(1 << 17))
        return self.datagrams

    def close(self) -> None:
        self._sock.close()
        for connection in self.connections:
            connection.close()


class Bench:
    """A loop, a driver, and servers for it."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.loop = EventLoop()
        self.driver: LogDriver | None = None
        self._servers: list[Server] = []
        self.room = 0

    def listen(self, port: int = 0, context: ssl.SSLContext | None = None) -> tuple[Server, int]:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.bind(("127.0.0.1", port))
        sock.listen(8)
        return self.keep(Server(sock, context)), sock.getsockname()[1]

    def datagrams(self, port: int = 0) -> tuple[Server, int]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", port))
        return self.keep(Server(sock)), sock.getsockname()[1]

    def unix(self, name: str, kind: int) -> tuple[Server, str]:
        sock = socket.socket(socket.AF_UNIX, kind)
        path = str(self.directory / name)
        sock.bind(path)
        if kind == socket.SOCK_STREAM:
            sock.listen(8)
        return self.keep(Server(sock)), path

    def keep(self, server: Server) -> Server:
        self._servers.append(server)
        return server

    def plan(self, driver: str, **options: str) -> dict[str, Any]:
        named = {name.replace("_", "-"): value for name, value in options.items()}
        plan = make_plan(record(driver, named), str(self.directory))
        plan["target"]["retry_s"] = 0.02
        plan["target"]["retry_max_s"] = 0.05
        return plan

    def open(self, driver: str, **options: str) -> LogDriver:
        return self.start(self.plan(driver, **options))

    def start(self, plan: dict[str, Any]) -> LogDriver:
        self.driver = open_driver(plan, self.loop)
        self.driver.on_room = self._count
        return self.driver

    def _count(self) -> None:
        self.room += 1

    def until(self, condition: Callable[[], bool]) -> None:
        turn_until(self.loop, condition)

    def cached(self) -> bytes:
        return text(reader.read(str(self.directory / "container-cached.log")))

    def close(self) -> None:
        if self.driver is not None:
            self.driver.close()
        for server in self._servers:
            server.close()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


# each driver with its server


def test_syslog_over_udp(bench: Bench) -> None:
    server, port = bench.datagrams()
    driver = bench.open("syslog", syslog_address=f"udp://127.0.0.1:{port}", tag="{{.Name}}")
    driver.write("stdout", b"one\ntwo\nhalf")
    driver.write("stderr", b"wrong\n")
    driver.flush()
    bench.until(lambda: len(server.receive()) == 4)
    pid = os.getpid()
    texts = [frame.partition(f"box[{pid}]: ".encode()) for frame in server.datagrams]
    assert [(head[:4], line) for head, _, line in texts] == [
        (b"<30>", b"one\n"),
        (b"<30>", b"two\n"),
        (b"<27>", b"wrong\n"),
        (b"<30>", b"half\n"),
    ]
    assert bench.cached() == b"one\ntwo\nwrong\nhalf"


def test_syslog_over_tcp(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    driver.write("stdout", b"".join(b"line %d\n" % number for number in range(5000)))
    bench.until(lambda: server.read().count(b"\n") == 5000)
    assert [line.rpartition(b"]: ")[2] for line in server.data.splitlines()] == [
        b"line %d" % number for number in range(5000)
    ]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_syslog_over_unix_sockets(bench: Bench, kind: int) -> None:
    server, path = bench.unix("log.sock", kind)
    scheme = "unix" if kind == socket.SOCK_STREAM else "unixgram"
    driver = bench.open("syslog", syslog_address=f"{scheme}://{path}")
    driver.write("stdout", b"hi\n")
    if kind == socket.SOCK_STREAM:
        bench.until(lambda: server.read().endswith(b": hi\n"))
    else:
        bench.until(lambda: server.receive()[-1:] != [] and server.datagrams[0].endswith(b"hi\n"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("certificate")
    path = directory / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-keyout", str(path), "-out", str(directory / "cert.pem"), "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (directory / "cert.pem").read_text())
    return path


def _serve_tls(bench: Bench, certificate: Path, port: int = 0) -> tuple[Server, int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return bench.listen(port, context)


def _in_child(server: Server, expected: int) -> int:
    """A child that serves TLS until it has so many lines; its PID.  It exits with 0 then."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            while server.read().count(b"\n") < expected:
                pass
            status = 0
        finally:
            os._exit(status)
    return pid


@pytest.mark.parametrize("verified", [True, False])
def test_syslog_over_tls(bench: Bench, certificate: Path, verified: bool) -> None:
    server, port = _serve_tls(bench, certificate)
    child = _in_child(server, 200)  # the first handshake waits, as does the start of a container
    trust = {"syslog_tls_ca_cert": str(certificate)} if verified else {"syslog_tls_skip_verify": ""}
    driver = bench.open(
        "syslog", syslog_address=f"tcp+tls://127.0.0.1:{port}", syslog_format="rfc5424", **trust
    )
    driver.write("stdout", b"hello\n" * 200)
    bench.until(lambda: os.waitpid(child, os.WNOHANG) != (0, 0))


def test_tls_connects_again_in_the_background(bench: Bench, certificate: Path) -> None:
    server, port = _serve_tls(bench, certificate)
    child = _in_child(server, 1)
    plan = bench.plan(
        "syslog",
        syslog_address=f"tcp+tls://127.0.0.1:{port}",
        syslog_tls_ca_cert=str(certificate),
    )
    driver = bench.start(plan)
    driver.write("stdout", b"hello\n")
    bench.until(lambda: os.waitpid(child, os.WNOHANG) != (0, 0))
    driver.write("stdout", b"lost with the connection\n")
    bench.until(lambda: server.accept())  # the driver has seen the end of the first
    driver.write("stdout", b"again\n")
    bench.until(lambda: b"again\n" in server.read())


def test_a_certificate_that_nobody_vouches_for(bench: Bench, certificate: Path) -> None:
    server, port = _serve_tls(bench, certificate)
    child = os.fork()
    if child == 0:
        try:
            with suppress(OSError):
                while True:
                    server.read()
        finally:
            os._exit(0)
    with pytest.raises(StartError, match="certificate verify failed"):
        bench.open("syslog", syslog_address=f"tcp+tls://127.0.0.1:{port}")
    os.waitpid(child, 0)


def _messages(data: bytes) -> list[Any]:
    found = []
    with suppress(IndexError, struct.error):
        while True:
            value, data = unpack_first(data)
            found.append(value)
    return found


def test_fluentd(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("fluentd", fluentd_address=f"127.0.0.1:{port}", labels="a.b", env="FOO")
    driver.write("stdout", b"hi\n")
    driver.write("stderr", b"err\n")
    bench.until(lambda: len(_messages(server.read())) == 2)
    (tag, _, first, option), (*_, second, _) = _messages(server.data)
    assert (tag, option) == (b"0123456789ab", {})
    assert (first[b"log"], first[b"source"], first[b"container_name"]) == (
        b"hi",
        b"stdout",
        b"/box",
    )
    assert (first[b"a.b"], first[b"FOO"]) == (b"1", b"bar")
    assert second[b"log"] == b"err"


def test_fluentd_sends_again_what_was_not_confirmed(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("fluentd", fluentd_address=f"127.0.0.1:{port}", fluentd_request_ack="true")
    driver.write("stdout", b"one\ntwo\nthree\n")
    bench.until(lambda: len(_messages(server.read())) == 3)
    chunks = [message[3][b"chunk"] for message in _messages(server.data)]
    server.connections[0].sendall(b"\x81\xa3ack\xb8" + chunks[0])
    assert not driver.idle
    bench.until(lambda: len(sender(driver)._unacked) == 2)
    server.connections[0].close()
    server.data = b""
    bench.until(lambda: len(server.connections) > 1 or not server.accept())
    bench.until(lambda: len(_messages(server.read())) == 2)
    again = _messages(server.data)
    assert [message[2][b"log"] for message in again] == [b"two", b"three"]
    for message in again:
        server.connections[-1].sendall(b"\x81\xa3ack\xb8" + message[3][b"chunk"])
    bench.until(lambda: driver.idle)
    assert driver.lost == 0


def test_gelf_over_udp_and_tcp(bench: Bench) -> None:
    server, port = bench.datagrams()
    address = f"udp://127.0.0.1:{port}"
    driver = bench.open("gelf", gelf_address=address, gelf_compression_type="none", tag="t")
    driver.write("stdout", b"hi\n\n")
    bench.until(lambda: server.receive() != [])
    message = json.loads(server.datagrams[0])
    assert (message["short_message"], message["_tag"], message["_command"]) == (
        "hi",
        "t",
        "sh -c true",
    )
    driver.close()
    stream, port = bench.listen()
    driver = bench.open("gelf", gelf_address=f"tcp://127.0.0.1:{port}")
    driver.write("stdout", b"hi\nthere\n")
    bench.until(lambda: stream.read().count(b"\0") == 2)


def test_journald_takes_small_and_large_messages(bench: Bench) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = str(bench.directory / "socket")
    sock.bind(path)
    bench.keep(Server(sock))
    plan = bench.plan("journald", labels="a.b")
    plan["target"]["paths"] = [path]
    plan["fields"]["LARGE"] = "x" * 500_000  # more than a datagram may be
    driver = bench.start(plan)
    driver.write("stdout", b"hi\n")
    data, ancillary, _, _ = sock.recvmsg(100, socket.CMSG_SPACE(4))
    assert data == b""
    descriptors = array.array("i", ancillary[0][2])
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        entry = file.read()
    assert b"MESSAGE=hi\n" in entry and b"CONTAINER_NAME=box\n" in entry and b"A_B=1\n" in entry
    assert len(entry) > 500_000
    driver.close()
    del plan["fields"]["LARGE"]
    driver = bench.start(plan)
    driver.write("stderr", b"small\n")
    assert b"PRIORITY=3\nMESSAGE=small\n" in sock.recv(10_000)


# servers that are not there


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("syslog", {"syslog_address": "tcp://127.0.0.1:1"}, "dial tcp 127.0.0.1:1: {refused}"),
        ("syslog", {"syslog_address": "tcp://127.0.0.1"}, "dial tcp 127.0.0.1:514: {refused}"),
        ("fluentd", {}, "dial tcp 127.0.0.1:24224: {refused}"),
        ("fluentd", {"fluentd_address": "tls://127.0.0.1:1"}, "dial tcp 127.0.0.1:1: {refused}"),
        (
            "fluentd",
            {"fluentd_address": "unix:///nope"},
            "dial unix /nope: connect: no such file or directory",
        ),
        (
            "gelf",
            {"gelf_address": "tcp://127.0.0.1:1"},
            "gelf: cannot connect to GELF endpoint: 127.0.0.1:1 dial tcp 127.0.0.1:1: {refused}",
        ),
        (
            "syslog",
            {"syslog_address": "tcp+tls://127.0.0.1:1", "syslog_tls_ca_cert": "/nope"},
            'could not read CA certificate "/nope": open /nope: no such file or directory',
        ),
        (
            "syslog",
            {"syslog_address": "tcp+tls://127.0.0.1:1", "syslog_tls_cert": "/nope"},
            "Could not load X509 key pair: open /nope: no such file or directory",
        ),
    ],
)
def test_a_start_fails_in_dockers_words(
    bench: Bench, driver: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(StartError) as failed:
        bench.open(driver, **options)
    refused = "connect: connection refused"
    assert str(failed.value) == FAILED + words.format(refused=refused)


def test_a_start_fails_where_there_is_no_journal(bench: Bench) -> None:
    plan = bench.plan("journald")
    plan["target"]["paths"] = [str(bench.directory / "socket")]
    with pytest.raises(StartError, match="journald is not enabled on this host$"):
        bench.start(plan)


def test_a_start_fails_where_there_is_no_local_syslog(bench: Bench) -> None:
    plan = bench.plan("syslog")
    plan["target"]["paths"] = [str(bench.directory / "log")]
    with pytest.raises(StartError, match="Unix syslog delivery error$"):
        bench.start(plan)


def test_nobody_has_to_listen_to_datagrams(bench: Bench) -> None:
    server, port = bench.datagrams()
    server.close()
    driver = bench.open("syslog", syslog_address=f"udp://127.0.0.1:{port}")
    driver.write("stdout", b"one\n" * 10)
    assert not driver.full
    assert driver.lost > 0
    assert bench.cached() == b"one\n" * 10


def test_fluentd_async_starts_without_a_server_and_delivers_later(bench: Bench) -> None:
    first, port = bench.listen()
    first.close()
    driver = bench.open("fluentd", fluentd_address=f"127.0.0.1:{port}", fluentd_async="true")
    driver.write("stdout", b"early\n")
    server, _ = bench.listen(port)
    bench.until(lambda: len(_messages(server.read())) == 1)
    assert driver.lost == 0


def test_a_server_that_comes_back_gets_what_waited_and_hears_what_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_module, "LIMIT_BYTES", 1)
    server, port = bench.listen()
    plan = bench.plan("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    plan["target"]["limit"] = 1000
    driver = bench.start(plan)
    driver.write("stdout", b"first\n")
    bench.until(lambda: b"first\n" in server.read())
    server.close()
    bench.until(lambda: is_down(driver))
    for number in range(100):
        driver.write("stdout", b"line %d\n" % number)
    assert driver.lost > 50
    assert not driver.full  # the server is dead: nobody waits for it
    back, _ = bench.listen(port)
    bench.until(lambda: b"messages were lost" in back.read())
    lines = [line.rpartition(b"]: ")[2] for line in back.data.splitlines()]
    kept = 100 - driver.lost
    assert lines == [
        *(b"line %d" % number for number in range(kept)),
        b"jubako: %d messages were lost while the log server did not take them" % driver.lost,
    ]
    driver.write("stdout", b"on\n")
    bench.until(lambda: back.read().endswith(b"on\n"))
    assert bench.cached().count(b"\n") == 102


def test_fluentd_makes_the_container_wait_for_a_server_that_is_down(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("fluentd", fluentd_address=f"127.0.0.1:{port}", fluentd_buffer_limit="1000")
    server.close()
    bench.until(lambda: is_down(driver))
    written = 0
    while not driver.full:
        driver.write("stdout", b"line %d\n" % written)
        written += 1
    assert driver.lost == 0
    back, _ = bench.listen(port)
    bench.until(lambda: len(_messages(back.read())) == written)
    assert not driver.full and bench.room > 0


def test_fluentd_gives_up_after_so_many_attempts(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("fluentd", fluentd_address=f"127.0.0.1:{port}", fluentd_max_retries="2")
    server.close()
    bench.until(lambda: is_down(driver))
    driver.write("stdout", b"one\ntwo\n")
    bench.until(lambda: driver.lost == 2)


# servers that are slow


def _fill(driver: LogDriver, lines: int) -> None:
    for _ in range(lines):
        driver.write("stdout", b"x" * 1000 + b"\n")


def test_a_slow_server_makes_the_container_wait_in_blocking_mode(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    written = 0
    while not driver.full:
        _fill(driver, 100)
        written += 100
    assert driver.lost == 0
    bench.until(lambda: server.read().count(b"\n") == written)
    assert not driver.full and bench.room > 0


def test_a_slow_server_loses_messages_in_non_blocking_mode(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open(
        "syslog",
        syslog_address=f"tcp://127.0.0.1:{port}",
        mode="non-blocking",
        max_buffer_size="100k",
    )
    for _ in range(100):
        _fill(driver, 100)
        assert not driver.full
    assert 0 < driver.lost < 10_000
    bench.until(lambda: server.read().count(b"xxx\n") == 10_000 - driver.lost)
    bench.until(lambda: b"messages were lost" in server.read())
    assert bench.cached().count(b"\n") == 10_000


def test_a_server_that_takes_nothing_is_left(bench: Bench) -> None:
    server, port = bench.listen()
    plan = bench.plan("fluentd", fluentd_address=f"127.0.0.1:{port}")
    plan["target"]["write_timeout_s"] = 0.1
    driver = bench.start(plan)
    while not driver.full:
        _fill(driver, 100)
    bench.until(lambda: server.accept() and len(server.connections) > 1)


# the end, and the monitor's new program


def test_the_end_sends_what_waits(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    driver.write("stdout", b"one\nunended")
    driver.close()
    assert server.read().count(b"\n") == 2
    assert driver.lost == 0


def test_the_end_counts_what_did_not_arrive(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    server.close()
    bench.until(lambda: is_down(driver))
    driver.write("stdout", b"one\ntwo\n")
    driver.close()
    assert driver.lost == 2
    assert bench.cached() == b"one\ntwo\njubako: 2 messages did not reach the log server\n"


@pytest.mark.parametrize("up", [True, False])
def test_a_hand_over_keeps_connection_queue_and_counts(bench: Bench, up: bool) -> None:
    server, port = bench.listen()
    driver = bench.open("syslog", syslog_address=f"tcp://127.0.0.1:{port}")
    driver.write("stdout", b"one\n")
    bench.until(lambda: server.read().endswith(b"one\n"))
    if not up:
        server.close()
        bench.until(lambda: is_down(driver))
        driver.write("stdout", b"two\n")
        bench.until(lambda: driver.idle)
    driver.write("stdout", b"unen")
    state = json.loads(json.dumps(driver.hand_over()))
    if up:
        sender(driver)._connection.detach()  # as if the program were gone
    old = driver
    bench.loop.close()
    bench.loop = EventLoop()
    bench.driver = driver = take_over(state, bench.loop)
    if not up:
        server, _ = bench.listen(port)
    driver.write("stdout", b"ded\n")
    bench.until(lambda: server.read().endswith(b"unended\n"))
    assert len(server.connections) == 1
    assert (b"two\n" in server.data) is not up
    assert old.lost == driver.lost == 0


def test_a_name_is_looked_up_away_from_the_loop(bench: Bench) -> None:
    server, port = bench.listen()
    driver = bench.open("fluentd", fluentd_address=f"localhost:{port}", fluentd_async="true")
    driver.write("stdout", b"hi\n")
    bench.until(lambda: len(_messages(server.read())) == 1)


def test_a_name_that_nobody_knows(bench: Bench) -> None:
    with pytest.raises(StartError, match="lookup no-such-host.invalid: no such host"):
        bench.open("gelf", gelf_address="udp://no-such-host.invalid:1")
