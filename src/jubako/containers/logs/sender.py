"""Frames to a log server: a bounded queue, a connection, and what happens without one.

              put()                    pump()
    messages ───────> queue (limit) ──────────> socket ──> server
                        │                │
                        │ full           │ refused, closed, not reachable
                        ▼                ▼
      the container waits, or        connect again: after retry_s, then growing to retry_max_s
      messages are lost and counted

What a target (JSON) says:

    network      tcp, unix (streams), udp, unixgram (datagrams: a frame each)
    host, port   or `paths`: the candidates of a unix socket
    tls          None, or what `jubako.containers.logs.tls` takes
    must_connect a server that is not there fails the start of the container
    mode         non-blocking: when the queue is full, what comes is lost, as in Docker
    waits        blocking mode: the container waits also while the server is down (fluentd), which
                 otherwise counts as full (so it waits for a slow server, not for a dead one)
    limit        bytes that are kept
    retry_s, retry_max_s, growth, retries (0: for ever)
    timeout_s    of a connection attempt; write_timeout_s: without progress (0: none)
    acks         the server confirms each frame; without that it is sent again
    memfd        datagrams that are too large go as a sealed file (journald)
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque

from jubako.containers.logs import connection
from jubako.linux.loop import HANGUP, READ, WRITE, EventLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.linux.loop import Timer

_SEND_BYTES = 1 << 16
_RECEIVE_BYTES = 1 << 14
_LAST_ATTEMPT_S = 2.0  # for a server that is down when the container has ended


class Sender:
    """Sends frames in order, in an event loop."""

    def __init__(self, target: dict[str, Any], loop: EventLoop):
        self._target = target
        self._loop = loop
        self._datagrams = target["network"] in ("udp", "unixgram")
        self._blocking = target["mode"] == "blocking"
        self._queue: deque[bytes] = deque()
        self._unacked: deque[bytes] = deque()
        self._size = 0  # bytes in both
        self._begun = 0  # bytes of the first frame that are sent
        self._acks = b""
        self._connection: socket.socket | None = None
        self._attempt: connection.Attempt | None = None
        self._failures = 0
        self._timer: Timer | None = None
        self._progress_s = 0.0
        self._watched = 0
        self._untold = 0
        self.lost = 0
        self.on_room: Callable[[], None] = _nothing
        self.on_up: Callable[[int], None] = _ignore
        self.count_acks: Callable[[bytes], tuple[int, bytes]] = lambda data: (0, b"")

    def open(self) -> None:
        """Connect for the first time.

        Raises StartError with Docker's sentence if the server has to be there and is not.
        """
        if self._target["must_connect"]:
            self._connection = connection.connect(self._target)
            self._join()
        else:
            self._begin()

    def resume(self) -> None:
        """Go on after `take_over`."""
        if self._connection is not None:
            self._join()
            self.pump()
        else:
            self._begin()

    # queue

    @property
    def full(self) -> bool:
        """Whether the container should wait."""
        if not self._blocking or self._size <= self._target["limit"]:
            return False
        return self._connection is not None or bool(self._target["waits"])

    @property
    def idle(self) -> bool:
        """Whether `hand_over` is possible: nothing is half done."""
        if self._attempt is not None or self._unacked:
            return False
        return self._target["tls"] is None or not self._begun

    def put(self, frame: bytes, *, force: bool = False) -> None:
        """Queue a frame; it is lost if there is no room for it and the container is not to wait."""
        crowded = self._queue and self._size + len(frame) > self._target["limit"]
        waits = self._connection is not None or self._target["waits"]
        if crowded and not force and not (self._blocking and waits):
            self.lose(1)
            return
        self._queue.append(frame)
        self._size += len(frame)

    def lose(self, count: int) -> None:
        """Count frames that will not be sent; the server hears of them when it takes others."""
        self.lost += count
        self._untold += count

    def pump(self) -> None:
        """Send as much as goes."""
        if self._connection is None:
            return
        was_full = self.full
        try:
            while self._queue:
                if self._datagrams:
                    self._send_datagram(self._connection)
                else:
                    self._send_block(self._connection)
                self._progress_s = time.monotonic()
        except BlockingIOError:
            self._watch(READ | WRITE)
        except OSError as exc:
            if connection.would_block(exc):
                self._watch(READ | WRITE)
            else:
                self._fall()
        else:
            self._watch(READ)
            self._tell()
        if was_full and not self.full:
            self.on_room()

    def _tell(self) -> None:
        """With the queue empty, the server takes messages again: say what it has missed."""
        if self._untold:
            count, self._untold = self._untold, 0
            self.on_up(count)
            self.pump()

    def _send_datagram(self, sock: socket.socket) -> None:
        frame = self._queue[0]
        try:
            sock.send(frame)
        except ConnectionRefusedError:
            if self._target["network"] != "udp":
                raise
            self.lost += 1  # an earlier one: the answer to it was ICMP's "port unreachable"
            return
        except OSError as exc:
            if exc.errno == errno.EMSGSIZE and self._target["memfd"]:
                connection.send_as_file(sock, frame)
            elif exc.errno in (errno.EMSGSIZE, errno.ENOBUFS):
                self.lose(1)
            else:
                raise
        self._queue.popleft()
        self._size -= len(frame)

    def _send_block(self, sock: socket.socket) -> None:
        block = self._queue[0]
        if len(self._queue) > 1 and len(block) < _SEND_BYTES:
            parts, length = [], 0
            for frame in self._queue:
                parts.append(frame)
                length += len(frame)
                if length >= _SEND_BYTES:
                    break
            block = b"".join(parts)
        self._begun += sock.send(memoryview(block)[self._begun :])
        while self._queue and self._begun >= len(self._queue[0]):
            frame = self._queue.popleft()
            self._begun -= len(frame)
            if self._target["acks"]:
                self._unacked.append(frame)
            else:
                self._size -= len(frame)

    # connection

    def _join(self) -> None:
        """Serve the connection, which is new, in the loop."""
        assert self._connection is not None
        self._connection.setblocking(False)
        self._failures = 0
        self._watched = READ
        self._progress_s = time.monotonic()
        self._loop.add(self._connection.fileno(), READ, self._ready)
        if self._target["write_timeout_s"]:
            self._check_later()

    def _watch(self, events: int) -> None:
        if self._connection is not None and events != self._watched:
            self._watched = events
            self._loop.modify(self._connection.fileno(), events)

    def _ready(self, events: int) -> None:
        if events & (READ | HANGUP) and not self._receive():
            self._fall()
            return
        if self._queue:
            self.pump()

    def _receive(self) -> bool:
        """Take what the server says; False when it has closed."""
        assert self._connection is not None
        try:
            data = self._connection.recv(_RECEIVE_BYTES)
        except OSError as exc:
            if isinstance(exc, ConnectionRefusedError) and self._target["network"] == "udp":
                self.lost += 1  # nobody listens, and nobody would hear of the loss
                return True
            return isinstance(exc, BlockingIOError) or connection.would_block(exc)
        if not data and not self._datagrams:
            return False
        if self._unacked:
            self._take_acks(data)
        return True

    def _take_acks(self, data: bytes) -> None:
        was_full = self.full
        count, self._acks = self.count_acks(self._acks + data)
        for _ in range(min(count, len(self._unacked))):
            self._size -= len(self._unacked.popleft())
        self._progress_s = time.monotonic()
        if was_full and not self.full:
            self.on_room()

    def _check_later(self) -> None:
        """Give a connection up on which nothing moves for too long."""
        limit_s = float(self._target["write_timeout_s"])

        def check() -> None:
            waiting = bool(self._queue or self._unacked)
            if waiting and time.monotonic() - self._progress_s > limit_s:
                self._fall()
            elif self._connection is not None:
                self._timer = self._loop.call_later(limit_s, check)

        self._timer = self._loop.call_later(limit_s, check)

    def _fall(self) -> None:
        """The connection is lost: what is not sent, or not confirmed, waits for the next."""
        self._drop_connection()
        self._queue.extendleft(reversed(self._unacked))
        self._unacked.clear()
        self._retry_later(self._target["retry_s"])

    def _drop_connection(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is not None:
            self._loop.remove(self._connection.fileno())
            self._connection.close()
            self._connection = None
        self._begun = 0
        self._acks = b""

    def _begin(self) -> None:
        self._attempt = connection.Attempt(self._loop, self._target, self._arrived)

    def _arrived(self, sock: socket.socket | None) -> None:
        """An attempt has ended."""
        self._attempt = None
        if sock is not None:
            self._connection = sock
            self._join()
            self.pump()
            return
        self._failures += 1
        if self._target["retries"] and self._failures >= self._target["retries"]:
            self.lose(len(self._queue))
            self._queue.clear()
            self._size = 0
            self._failures = 0
        delay_s = self._target["retry_s"] * self._target["growth"] ** min(self._failures, 64)
        self._retry_later(min(delay_s, self._target["retry_max_s"]))

    def _retry_later(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._begin)
        self.on_room()  # a container that waited for a slow server need not wait for a dead one

    # the end

    def hand_over(self) -> dict[str, Any]:
        """JSON for `take_over`; the connection is inherited, but for one with TLS."""
        fd = -1
        if self._connection is not None and self._target["tls"] is None:
            fd = self._connection.fileno()
            os.set_inheritable(fd, True)
        return {
            "fd": fd,
            "queue": [frame.decode("latin-1") for frame in self._queue],
            "begun": self._begun if fd >= 0 else 0,
            "lost": self.lost,
            "untold": self._untold,
            "failures": self._failures,
        }

    @classmethod
    def take_over(cls, target: dict[str, Any], state: dict[str, Any], loop: EventLoop) -> Sender:
        """The same sender in another program; `resume` lets it go on."""
        sender = cls(target, loop)
        if state["fd"] >= 0:
            os.set_inheritable(state["fd"], False)
            sender._connection = socket.socket(fileno=state["fd"])
        sender._queue.extend(text.encode("latin-1") for text in state["queue"])
        sender._size = sum(map(len, sender._queue))
        sender._begun = state["begun"]
        sender.lost, sender._untold = state["lost"], state["untold"]
        sender._failures = state["failures"]
        return sender

    def close(self, timeout_s: float) -> None:
        """Send what is queued, for `timeout_s` at most; the rest is lost."""
        self._leave_loop()
        deadline_s = time.monotonic() + timeout_s
        if self._connection is None:
            deadline_s = min(deadline_s, time.monotonic() + _LAST_ATTEMPT_S)
            if self._queue:
                self._begin()
        failed_before = self._failures
        while (self._queue or self._unacked) and self._failures == failed_before:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            self.pump()
            self._loop.run_once(min(left_s, 0.5))
        self.lost += len(self._queue) + len(self._unacked)
        self._queue.clear()
        self._unacked.clear()
        if self._attempt is not None:
            self._attempt.cancel()
        self._drop_connection()
        self._loop.close()

    def _leave_loop(self) -> None:
        """Go on in a loop of our own: the monitor's has other things in it that are over now."""
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
        old, self._loop = self._loop, EventLoop()
        self.on_room = _nothing
        if self._connection is not None:
            old.remove(self._connection.fileno())
            self._loop.add(self._connection.fileno(), self._watched, self._ready)


def _nothing() -> None:
    """For whom nobody has asked to be told."""


def _ignore(count: int) -> None:
    """The same with a number."""
