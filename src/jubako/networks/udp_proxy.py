"""UDP through the proxy: one socket to the container for each client, as long as it talks."""

from __future__ import annotations

import errno
import socket
import time

from jubako.linux.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.loop import EventLoop

    Address = tuple[str, int] | tuple[str, int, int, int]

_IDLE_S = 90.0  # as docker-proxy
_SWEEP_S = 30.0
_MAX_CLIENTS = 1024  # for each port; the one that was silent longest goes
_DATAGRAM_BYTES = 65535
_ROUNDS = 64
_IP_PKTINFO = 8
_CONTROL_BYTES = socket.CMSG_SPACE(20)


class UdpForwarder:
    """Datagrams from one bound socket to the container, answers from the address they came to."""

    def __init__(self, loop: EventLoop, listener: socket.socket, target: tuple[str, int]):
        self._loop = loop
        self._listener = listener
        self._target = target
        self._flows: dict[tuple[Address, bytes], _Flow] = {}
        self._sweeping = False
        loop.add(listener.fileno(), READ, self._receive)

    @property
    def idle(self) -> bool:
        return not self._flows

    def close(self) -> None:
        self._loop.remove(self._listener.fileno())
        for key in tuple(self._flows):
            self._drop(key)

    def _receive(self, events: int) -> None:
        for _ in range(_ROUNDS):
            try:
                data, control, _flags, client = self._listener.recvmsg(
                    _DATAGRAM_BYTES, _CONTROL_BYTES
                )
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about an earlier answer
            local = _local_address(control)
            flow = self._flow(client, local)
            if flow is not None:
                flow.send(data)

    def _flow(self, client: Address, local: list[tuple[int, int, bytes]]) -> _Flow | None:
        key = (client, local[0][2] if local else b"")
        flow = self._flows.pop(key, None)
        if flow is None:
            if len(self._flows) >= _MAX_CLIENTS:
                self._drop(next(iter(self._flows)))
            try:
                flow = _Flow(self._loop, self._listener, self._target, client, local)
            except OSError:
                return None  # out of descriptors: UDP may lose datagrams
        self._flows[key] = flow  # at the end: the order is that of the last use
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)
        return flow

    def _sweep(self) -> None:
        oldest = time.monotonic() - _IDLE_S
        for key, flow in tuple(self._flows.items()):
            if flow.used_s < oldest:
                self._drop(key)
        self._sweeping = bool(self._flows)
        if self._sweeping:
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _drop(self, key: tuple[Address, bytes]) -> None:
        self._flows.pop(key).close()


class _Flow:
    """One client.  local: the control message that sends from the address the client knows."""

    __slots__ = ("_loop", "_listener", "_client", "_local", "_server", "used_s")

    def __init__(
        self,
        loop: EventLoop,
        listener: socket.socket,
        target: tuple[str, int],
        client: Address,
        local: list[tuple[int, int, bytes]],
    ):
        self._loop = loop
        self._listener = listener
        self._client = client
        self._local = local
        self._server = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        self.used_s = time.monotonic()
        try:
            self._server.connect(target)
            loop.add(self._server.fileno(), READ, self._answer)
        except OSError:
            self._server.close()
            raise

    def send(self, data: bytes) -> None:
        self.used_s = time.monotonic()
        for _ in range(2):  # the first try may only report that an earlier datagram was refused
            try:
                self._server.send(data)
                return
            except OSError as exc:
                if exc.errno != errno.ECONNREFUSED:
                    return

    def _answer(self, events: int) -> None:
        for _ in range(_ROUNDS):
            try:
                data = self._server.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue
            self.used_s = time.monotonic()
            try:
                self._listener.sendmsg([data], self._local, 0, self._client)
            except OSError:
                pass  # the client is gone or its buffer is full: a datagram may be lost

    def close(self) -> None:
        self._loop.remove(self._server.fileno())
        self._server.close()


def _local_address(control: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The control message for an answer, from that of the question (ip(7), IP_PKTINFO)."""
    for level, kind, value in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            # in_pktinfo: interface 0 (the route decides), source, -
            return [(level, kind, bytes(4) + value[4:8] + bytes(4))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, value)]
    return []
