"""One who is attached to a container: what it has still to be sent, and what it says.

The client that started the container in the foreground holds it back: its pipe is the container's
stdout, and a container whose output nobody takes waits, as in a shell.  Clients that come later
hold up neither the container nor its log: a megabyte waits for them in memory, then much more in a
file without a name, and then they are dropped and told so.
"""

from __future__ import annotations

import os
import socket

from jubako.containers.streams import frames
from jubako.containers.streams.spool import Spool
from jubako.errors import JubakoError
from jubako.linux.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.streams.stdio import Stdio

_READ_BYTES = 1 << 16
MEMORY_BYTES = 1 << 20  # for each client, as much as Docker holds
_TOO_SLOW = "it did not read what the container wrote for too long"


class Client:
    """A client's socket, what it asked for, what it has not read yet.

    starter: it holds the container back.  directory: where a spool may be made.
    """

    def __init__(self, sock: socket.socket, stdio: Stdio, directory: str, *, starter: bool):
        self._socket = sock
        self._stdio = stdio
        self._directory = directory
        self._starter = starter
        self._decoder = frames.Decoder()
        self._pending = bytearray()
        self._spool: Spool | None = None
        self._leaving = False
        self.wants_stdin = False
        self.wants_output = False
        sock.setblocking(False)
        stdio.loop.add(sock.fileno(), READ, self._ready)

    @property
    def full(self) -> bool:
        """Whether the container should wait for this client."""
        return self._starter and len(self._pending) > MEMORY_BYTES

    def greet(self, wants_stdin: bool, wants_output: bool) -> None:
        """What HELLO says; the starter's own client is greeted by hand."""
        self.wants_stdin = wants_stdin
        self.wants_output = wants_output

    def send(self, frame: bytes) -> None:
        if self._leaving:
            return
        crowded = len(self._pending) + len(frame) > MEMORY_BYTES
        if not self._starter and (crowded or self._spool is not None):
            self._put_aside(frame)
        else:
            self._pending += frame
        self._flush()

    def _put_aside(self, frame: bytes) -> None:
        try:
            if self._spool is None:
                self._spool = Spool(self._directory)
            kept = self._spool.put(frame)
        except OSError:  # no file: the disk is full, or it cannot have one without a name
            kept = False
        if not kept:
            self._drop(_TOO_SLOW)

    def _drop(self, reason: str) -> None:
        """Send what is in memory, the reason, and no more."""
        self._close_spool()
        self._pending += frames.encode(frames.DROPPED, reason.encode())
        self._leaving = True
        self.wants_output = False

    def _close_spool(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _flush(self) -> None:
        if self._socket.fileno() < 0:
            return
        try:
            while self._refill():
                del self._pending[: self._socket.send(self._pending)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._leaving and not self._pending:
            self.close()
            return
        self.watch()
        self._stdio.throttle()

    def _refill(self) -> bool:
        """Whether there is something to send; takes from the spool when the memory is empty."""
        if not self._pending and self._spool is not None:
            self._pending += self._spool.take(MEMORY_BYTES)
            if not self._spool.size:
                self._close_spool()
        return bool(self._pending)

    def watch(self) -> None:
        """Wait for what can be handled now: no input while the container takes none."""
        reading = 0 if self.wants_stdin and self._stdio.input_full else READ
        self._stdio.loop.modify(self._socket.fileno(), reading | (WRITE if self._pending else 0))

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self._socket.fileno() < 0 or not events & ~WRITE:
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            for kind, payload in self._decoder.feed(data):
                self._take(kind, payload)
        except JubakoError:
            self.close()

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == frames.HELLO:
            self.greet(b'"stdin": true' in payload, b'"output": true' in payload)
        elif kind == frames.STDIN and self.wants_stdin:
            self._stdio.feed(payload)
        elif kind == frames.STDIN_END and self.wants_stdin:
            self._stdio.end_input()
        elif kind == frames.RESIZE:
            self._stdio.resize(*frames.decode_resize(payload))

    def close(self) -> None:
        """Hang up, whatever it has not read."""
        self._close_spool()
        if self._socket.fileno() < 0:
            return
        self._stdio.loop.remove(self._socket.fileno())
        self._socket.close()
        self._stdio.forget(self)

    # the end

    def detach(self) -> int:
        """A copy of the socket, which survives `close` and an exec."""
        fd = os.dup(self._socket.fileno())
        os.set_inheritable(fd, True)
        return fd

    @property
    def descriptors(self) -> list[int]:
        """What `finish` needs."""
        spool = [] if self._spool is None else [self._spool.fileno()]
        return [self._socket.fileno(), *spool]

    @property
    def unsent(self) -> bool:
        """Whether something has not gone yet."""
        return bool(self._pending) or self._spool is not None

    def finish(self) -> None:
        """Send everything, for as long as that takes or until the client hangs up."""
        try:
            self._socket.setblocking(True)
            while self._refill():
                del self._pending[: self._socket.send(self._pending)]
        except OSError:
            self._pending.clear()


def finish_apart(clients: list[Client]) -> None:
    """Let a child send what the clients have not read, and do not wait for it.

    The container has ended, and nothing else may depend on how fast somebody reads.  A client that
    hangs up ends the child's work for it.  Raises OSError when no process can be had.
    """
    for client in clients:
        if os.fork() == 0:
            try:
                low = 3
                for fd in sorted(client.descriptors):
                    os.closerange(low, fd)
                    low = fd + 1
                os.closerange(low, 1 << 20)
                client.finish()
            finally:
                os._exit(0)
