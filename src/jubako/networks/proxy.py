"""The proxy for published ports, inside the monitor's event loop.

Packets from other machines are translated by the firewall and never come here.  The sockets get
what translation cannot serve: connections to the host's loopback addresses, everything over IPv6,
and, if somebody removed our rules, the rest.  TCP bytes move by splice(2) through a pipe and are
never seen by Python; UDP is in `jubako.networks.udp_proxy`.

    client socket --splice--> pipe --splice--> server socket
    client socket <--splice-- pipe <--splice-- server socket

An end of file travels alone (half close): `echo x | nc host 8080` still gets its answer.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from jubako.linux.loop import READ, WRITE
from jubako.networks.udp_proxy import UdpForwarder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.linux.loop import EventLoop
    from jubako.networks.listener import Listener

_SPLICE_BYTES = 64 << 10  # what a pipe holds
_ROUNDS = 16  # per event, so that one fast connection does not starve the others
_ACCEPT_ROUNDS = 64
_PAUSE_S = 0.1  # out of descriptors: let connections end before accepting more
_SPLICE_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close sends RST
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Proxy:
    """All listeners of one container, served for as long as the loop runs.

    The process must be in the host's network namespace whenever the loop calls back.
    close: end everything; the listeners are closed too.
    """

    def __init__(self, loop: EventLoop, listeners: Sequence[Listener], container_ip: str):
        self._listeners = listeners
        self._forwarders: list[_TcpForwarder | UdpForwarder] = []
        for listener in listeners:
            if listener.socket is None:
                continue
            target = (container_ip, listener.container_port)
            kind = _TcpForwarder if listener.protocol == "tcp" else UdpForwarder
            self._forwarders.append(kind(loop, listener.socket, target))

    @property
    def idle(self) -> bool:
        """Whether no connection and no exchange of datagrams is under way."""
        return all(forwarder.idle for forwarder in self._forwarders)

    def close(self) -> None:
        for forwarder in self._forwarders:
            forwarder.close()
        for listener in self._listeners:
            listener.close()


class _TcpForwarder:
    """Accepts on one socket."""

    def __init__(self, loop: EventLoop, listener: socket.socket, target: tuple[str, int]):
        self._loop = loop
        self._listener = listener
        self._target = target
        self._connections: set[_Connection] = set()
        loop.add(listener.fileno(), READ, self._accept)

    @property
    def idle(self) -> bool:
        return not self._connections

    def close(self) -> None:
        self._loop.remove(self._listener.fileno())
        for connection in tuple(self._connections):
            connection.close()

    def _accept(self, events: int) -> None:
        for _ in range(_ACCEPT_ROUNDS):
            try:
                client, _peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._pause()
                    return
                continue  # this connection failed before we came to it (ECONNABORTED, ...)
            try:
                self._connections.add(_Connection(self._loop, client, self._target, self._ended))
            except OSError as exc:
                _reset(client)
                if exc.errno in _EXHAUSTED:
                    self._pause()
                    return

    def _ended(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def _pause(self) -> None:
        """The socket stays ready, so it must leave the loop for a while."""
        fd = self._listener.fileno()
        self._loop.remove(fd)

        def resume() -> None:
            if self._listener.fileno() == fd:  # not closed meanwhile
                self._loop.add(fd, READ, self._accept)

        self._loop.call_later(_PAUSE_S, resume)


class _Direction:
    """Bytes from one socket to the other, at most one pipe full on the way."""

    __slots__ = ("source", "sink", "read_end", "write_end", "waiting", "ended", "finished")

    def __init__(self, source: socket.socket, sink: socket.socket):
        self.source = source
        self.sink = sink
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.waiting = 0  # bytes in the pipe
        self.ended = False  # the source has sent its last byte
        self.finished = False  # and the sink has been told

    def move(self) -> None:
        """Move what can be moved.  Raises OSError when either side is broken."""
        for _ in range(_ROUNDS):
            if not self.waiting and not self.ended:
                # The pipe is empty, so EAGAIN can only mean that the source is.
                try:
                    self.waiting = os.splice(
                        self.source.fileno(), self.write_end, _SPLICE_BYTES, flags=_SPLICE_FLAGS
                    )
                except BlockingIOError:
                    return
                self.ended = not self.waiting
            if self.waiting:
                try:
                    self.waiting -= os.splice(
                        self.read_end, self.sink.fileno(), self.waiting, flags=_SPLICE_FLAGS
                    )
                except BlockingIOError:
                    return
            elif self.ended:
                if not self.finished:
                    self.finished = True
                    self.sink.shutdown(socket.SHUT_WR)
                return

    def close(self) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


class _Connection:
    """One client, its server, and both directions between them."""

    def __init__(
        self,
        loop: EventLoop,
        client: socket.socket,
        target: tuple[str, int],
        ended: _Ended,
    ):
        self._loop = loop
        self._client = client
        self._ended = ended
        self._interest: dict[int, int] = {}
        self._directions: list[_Direction] = []
        client.setblocking(False)
        self._server = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            for side in (client, self._server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            problem = self._server.connect_ex(target)
            if problem not in (0, errno.EINPROGRESS):
                raise OSError(problem, os.strerror(problem))
            self._directions.append(_Direction(client, self._server))
            self._directions.append(_Direction(self._server, client))
        except OSError:
            self._server.close()
            for direction in self._directions:
                direction.close()
            raise
        self._watch(self._server, WRITE, self._connected)

    def _connected(self, events: int) -> None:
        problem = self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self.close(reset=True)  # nobody listens in the container: say so as it would
            return
        self._unwatch(self._server)
        self._move(0)

    def _move(self, events: int) -> None:
        try:
            for direction in self._directions:
                direction.move()
        except OSError:
            self.close(reset=True)
            return
        outward, inward = self._directions
        if outward.finished and inward.finished:
            self.close()
            return
        self._watch(self._client, _wanted(outward, inward), self._move)
        self._watch(self._server, _wanted(inward, outward), self._move)

    def _watch(self, side: socket.socket, events: int, callback: _Callback) -> None:
        """A side of which nothing is wanted leaves the loop: epoll reports hang-ups regardless."""
        fd = side.fileno()
        before = self._interest.get(fd, 0)
        if not events:
            self._unwatch(side)
        elif not before:
            self._loop.add(fd, events, callback)
            self._interest[fd] = events
        elif events != before:
            self._loop.modify(fd, events)
            self._interest[fd] = events

    def _unwatch(self, side: socket.socket) -> None:
        if self._interest.pop(side.fileno(), 0):
            self._loop.remove(side.fileno())

    def close(self, *, reset: bool = False) -> None:
        for side in (self._client, self._server):
            self._unwatch(side)
            if reset:
                _reset(side)
            else:
                side.close()
        for direction in self._directions:
            direction.close()
        self._ended(self)


def _wanted(sending: _Direction, receiving: _Direction) -> int:
    """The events to wait for on the side that is the source of `sending`."""
    events = 0
    if not sending.waiting and not sending.ended:
        events |= READ
    if receiving.waiting:
        events |= WRITE
    return events


def _reset(side: socket.socket) -> None:
    """Close with RST: the other end learns that this was not an orderly end."""
    try:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    except OSError:
        pass
    side.close()


if TYPE_CHECKING:
    from collections.abc import Callable

    _Callback = Callable[[int], None]
    _Ended = Callable[[_Connection], None]
