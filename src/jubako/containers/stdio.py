"""A container's standard streams inside its monitor: log, attached clients, back-pressure.

    container ──pipes or pty──> Stdio ──> log
                                  │ ╲
                            clients (attach.sock, or the command that started the container)

Output is read only while every attached client has room for it, so that nothing is lost: a client
that does not read stops the container's writes in the end, as a full pipe would in a shell.
"""

from __future__ import annotations

import errno
import os
import socket

from jubako.containers import frames, logs
from jubako.errors import JubakoError
from jubako.linux import pty
from jubako.linux.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.containers.logs import LogDriver
    from jubako.linux.loop import EventLoop

_READ_BYTES = 1 << 16
_CLIENT_BUFFER_BYTES = 1 << 20  # for each client, as much as Docker holds
_INPUT_BUFFER_BYTES = 1 << 20


class Client:
    """One attached client: its socket, what it asked for, what it has not read yet."""

    def __init__(self, sock: socket.socket, stdio: Stdio):
        self._socket = sock
        self._stdio = stdio
        self._decoder = frames.Decoder()
        self._pending = bytearray()
        self.wants_stdin = False
        self.wants_output = False
        sock.setblocking(False)
        stdio.loop.add(sock.fileno(), READ, self._ready)

    @property
    def full(self) -> bool:
        return len(self._pending) > _CLIENT_BUFFER_BYTES

    def greet(self, wants_stdin: bool, wants_output: bool) -> None:
        """What HELLO says; the starter's own client is greeted by hand."""
        self.wants_stdin = wants_stdin
        self.wants_output = wants_output

    def send(self, frame: bytes) -> None:
        self._pending += frame
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                del self._pending[: self._socket.send(self._pending)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.watch()
        self._stdio.throttle()

    def watch(self) -> None:
        """Wait for what can be handled now: no input while the container takes none."""
        reading = 0 if self.wants_stdin and self._stdio.input_full else READ
        self._stdio.loop.modify(self._socket.fileno(), reading | (WRITE if self._pending else 0))

    def drain(self, timeout_s: float = 5.0) -> None:
        """Send what is left before the monitor ends; a client that does not read loses it."""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(self._pending)
        except OSError:
            pass
        self._pending.clear()

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
        if self._socket.fileno() < 0:
            return
        self._stdio.loop.remove(self._socket.fileno())
        self._socket.close()
        self._stdio.forget(self)


class Stdio:
    """Moves bytes between a container and everything that listens to it.

    stdin_once: the container's stdin ends when the first client that feeds it goes away.
    """

    def __init__(self, loop: EventLoop, log: LogDriver, *, stdin_once: bool = True):
        self.loop = loop
        self._log = log
        self._stdin_once = stdin_once
        self._clients: list[Client] = []
        self._outputs: dict[int, str] = {}
        self._stdin = -1
        self._input = bytearray()
        self._input_ended = False
        self._console = -1
        self._throttled = False
        self._connected = False

    def connect(
        self,
        *,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        console: int = -1,
    ) -> None:
        """Take the container's descriptors, which belong to this object from here on.

        stdin: write end of its stdin.  stdout, stderr: read ends.  console: the pty master of a
        container with a terminal, in place of the three.
        """
        self._console = console
        self._connected = True
        if console >= 0:
            stdin, stdout = console, console
        if stdin >= 0:
            self._stdin = stdin
            os.set_blocking(stdin, False)
        for fd, name in ((stdout, "stdout"), (stderr, "stderr")):
            if fd >= 0:
                os.set_blocking(fd, False)
                self._outputs[fd] = name
                self.loop.add(fd, READ, self._on_output(fd))
        if stdin >= 0 and stdin not in self._outputs:
            self.loop.add(stdin, 0, self._on_input)
        self._feed_now()

    def add(self, sock: socket.socket) -> Client:
        """Serve a client; it says HELLO, or the caller greets it."""
        client = Client(sock, self)
        self._clients.append(client)
        return client

    def forget(self, client: Client) -> None:
        self._clients.remove(client)
        if client.wants_stdin and self._stdin_once:
            self.end_input()
        self.throttle()

    def broadcast(self, frame: bytes) -> None:
        """To every client, whatever it asked for."""
        for client in self._clients[:]:
            client.send(frame)

    # output

    def _on_output(self, fd: int) -> Callable[[int], None]:
        def ready(events: int) -> None:
            if events & WRITE:
                self._feed_now()
            if events & ~WRITE:
                self._read(fd)

        return ready

    def _read(self, fd: int) -> bool:
        """One read; False when nothing more will come from this descriptor, or not now."""
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as exc:
            if exc.errno != errno.EIO:  # a pty whose last slave was closed
                raise
            data = b""
        if not data:
            self._close_output(fd)
            return False
        name = self._outputs[fd]
        self._log.write(name, data)
        frame = frames.encode(frames.STDERR if name == "stderr" else frames.STDOUT, data)
        for client in self._clients[:]:
            if client.wants_output:
                client.send(frame)
        return True

    def throttle(self) -> None:
        """Stop reading the container while a client is full, go on when none is."""
        wanted = any(client.full for client in self._clients)
        if wanted != self._throttled:
            self._throttled = wanted
            for fd in self._outputs:
                self.loop.modify(fd, 0 if wanted else READ | self._console_write(fd))

    def _console_write(self, fd: int) -> int:
        return WRITE if fd == self._stdin and self._input else 0

    def _close_output(self, fd: int) -> None:
        self.loop.remove(fd)
        del self._outputs[fd]
        if fd == self._stdin:
            self._stdin = self._console = -1
        os.close(fd)

    def drain(self) -> None:
        """After the container's end: everything still in the pipes, without waiting for more."""
        for fd in list(self._outputs):
            while fd in self._outputs and self._read(fd):
                pass

    # input

    @property
    def input_full(self) -> bool:
        return len(self._input) > _INPUT_BUFFER_BYTES

    def feed(self, data: bytes) -> None:
        """Bytes for the container's stdin; kept until there is a container."""
        if self._input_ended or (self._connected and self._stdin < 0):
            return
        self._input += data
        self._feed_now()

    def end_input(self) -> None:
        """The container's stdin ends after what was fed; a terminal has no such end."""
        self._input_ended = True
        self._feed_now()

    def _feed_now(self) -> None:
        if self._stdin < 0:
            return
        was_full = self.input_full
        try:
            while self._input:
                del self._input[: os.write(self._stdin, self._input)]
        except BlockingIOError:
            self._watch_stdin(writable=True)
        except OSError:  # EPIPE: the container has closed its stdin
            self._input.clear()
            self._close_stdin()
        else:
            self._watch_stdin(writable=False)
            if self._input_ended:
                self._close_stdin()
        if was_full != self.input_full:
            for client in self._clients:
                client.watch()

    def _watch_stdin(self, *, writable: bool) -> None:
        base = READ if self._stdin in self._outputs and not self._throttled else 0
        self.loop.modify(self._stdin, base | (WRITE if writable else 0))

    def _on_input(self, events: int) -> None:
        if events & WRITE:
            self._feed_now()
        elif events:
            self._input.clear()
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin < 0 or self._stdin in self._outputs:  # a console stays for the output
            return
        self.loop.remove(self._stdin)
        os.close(self._stdin)
        self._stdin = -1

    def resize(self, rows: int, columns: int) -> None:
        if self._console >= 0 and rows and columns:
            pty.set_size(self._console, columns, rows)

    # exec

    @property
    def idle(self) -> bool:
        """Whether nothing is under way but what the container has still to write."""
        return not self._clients and not self._input

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of after an exec; only while `idle`."""
        names = {name: fd for fd, name in self._outputs.items()}
        fds = {"stdin": self._stdin, "console": self._console, **names}
        if self._console >= 0:
            fds = {"console": self._console}
        for fd in fds.values():
            if fd >= 0:
                os.set_inheritable(fd, True)
        return {
            "fds": fds,
            "input_ended": self._input_ended,
            "stdin_once": self._stdin_once,
            "log": self._log.hand_over(),
        }

    @classmethod
    def take_over(cls, loop: EventLoop, state: dict[str, Any]) -> Stdio:
        """Go on with what `hand_over` described, in the process that inherited the descriptors."""
        for fd in state["fds"].values():
            if fd >= 0:
                os.set_inheritable(fd, False)
        log = logs.take_over(state["log"], loop)
        streams = cls(loop, log, stdin_once=state["stdin_once"])
        streams._input_ended = state["input_ended"]
        streams.connect(**state["fds"])
        return streams

    def close(self) -> None:
        """Send the clients what they have not read, and close everything."""
        for client in self._clients[:]:
            client.drain()
            client.close()
        self._log.close()
