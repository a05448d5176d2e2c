"""Network namespaces that stand for containers, with servers in them, for the network tests."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jubako.linux.loop import READ, EventLoop
from jubako.networks import NetworkService
from jubako.networks.portspec import parse_publish
from tests.fixtures.isolation import CLONE_NEWNET, in_network, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.networks.model import Endpoint


def new_netns() -> int:
    """A descriptor of a fresh network namespace, which lives as long as it is open."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with in_network(back):
        unshare(CLONE_NEWNET)
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    os.close(back)
    return fd


class Box:
    """What the network sees of a container: a namespace, an endpoint, listeners, servers in it."""

    def __init__(self, networks: NetworkService, container_id: str, *publish: str):
        self.networks = networks
        self.id = container_id
        self.netns = new_netns()
        self._servers: list[_Server] = []
        self._closed = False
        mappings = [item for text in publish for item in parse_publish(text)]
        try:
            self.endpoint: Endpoint = networks.attach(container_id, self.netns, ports=mappings)
        except BaseException:
            os.close(self.netns)
            raise
        self.address = self.endpoint["IPAddress"]

    def serve_tcp(self, port: int, name: str = "") -> None:
        """Answer each connection with "NAME PEER" and what it sends up to its end."""
        sock = self.socket(socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        sock.listen(64)
        self._servers.append(_Server(sock, lambda: _answer_tcp(sock, name or self.id)))

    def serve_udp(self, port: int, name: str = "") -> None:
        """Answer each datagram with "NAME PEER DATA"."""
        sock = self.socket(socket.SOCK_DGRAM)
        sock.bind(("", port))
        self._servers.append(_Server(sock, lambda: _answer_udp(sock, name or self.id)))

    def socket(self, kind: int) -> socket.socket:
        with in_network(self.netns):
            return socket.socket(socket.AF_INET, kind)

    def close(self) -> None:
        """End it; harmless when it is closed."""
        if self._closed:
            return
        self._closed = True
        for server in self._servers:
            server.close()
        os.close(self.netns)
        self.networks.detach(self.id)


class _Server:
    def __init__(self, sock: socket.socket, step: Callable[[], None]):
        self._socket = sock
        self._thread = threading.Thread(target=self._run, args=(step,), daemon=True)
        self._thread.start()

    def _run(self, step: Callable[[], None]) -> None:
        while True:
            try:
                step()
            except OSError:
                return

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept and recvfrom
        except OSError:
            pass
        self._thread.join(5)
        self._socket.close()


def _answer_tcp(listener: socket.socket, name: str) -> None:
    sock, peer = listener.accept()

    def answer() -> None:
        with sock:
            data = b""
            while chunk := sock.recv(65536):
                data += chunk
            sock.sendall(f"{name} {peer[0]} ".encode() + data)

    threading.Thread(target=answer, daemon=True).start()


def _answer_udp(sock: socket.socket, name: str) -> None:
    data, peer = sock.recvfrom(65536)
    if not peer:
        raise OSError("shut down")
    sock.sendto(f"{name} {peer[0]} ".encode() + data, peer)


@contextmanager
def proxied(*boxes: Box) -> Iterator[None]:
    """The proxy of these boxes in a thread, as their monitors would run it."""
    loop = EventLoop()
    read_end, write_end = os.pipe()
    loop.add(read_end, READ, lambda events: loop.stop())
    for box in boxes:
        box.networks.serve(loop, box.id, box.endpoint)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.write(write_end, b"x")
        thread.join(10)
        for box in boxes:
            box.networks.detach(box.id)  # before the loop is closed
        loop.close()
        os.close(read_end)
        os.close(write_end)


def ask_tcp(sock: socket.socket, address: tuple[str, int], data: bytes = b"hello") -> str:
    """Connect, send, end the sending side, return the whole answer."""
    with sock:
        sock.settimeout(5)
        sock.connect(address)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    return answer.decode(errors="replace")


def ask_udp(sock: socket.socket, address: tuple[str, int], data: bytes = b"hello") -> str:
    with sock:
        sock.settimeout(3)
        sock.connect(address)
        sock.send(data)
        return sock.recv(65536).decode(errors="replace")
