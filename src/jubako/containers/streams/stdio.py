"""A container's standard streams inside its monitor: log, attached clients, back-pressure.

    container ──pipes or pty──> Stdio ──> log
                                  │ ╲
                            clients (attach.sock, or the command that started the container)

Output is read only while the log and the client that started the container have room for it, so
that nothing is lost: the container's writes wait in the end, as with a full pipe in a shell.  For
clients that come later see `jubako.containers.streams.client`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress

from jubako.containers import logs
from jubako.containers.streams import frames
from jubako.containers.streams.client import Client, finish_apart
from jubako.linux import pty
from jubako.linux.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.containers.logs.driver import LogDriver
    from jubako.linux.loop import EventLoop

_READ_BYTES = 1 << 16
_PIPE_BYTES = 1 << 18  # of the container's output: fewer turns between it and us
_INPUT_BUFFER_BYTES = 1 << 20


class Stdio:
    """Moves bytes between a container and everything that listens to it.

    stdin_once: the container's stdin ends when the first client that feeds it goes away.
    directory: where a file may be made for a client that is slow.
    """

    def __init__(self, loop: EventLoop, log: LogDriver, *, directory: str, stdin_once: bool = True):
        self.loop = loop
        self._log = log
        self._directory = directory
        self._stdin_once = stdin_once
        self._clients: list[Client] = []
        self._outputs: dict[int, str] = {}
        self._stdin = -1
        self._input = bytearray()
        self._input_ended = False
        self._console = -1
        self._throttled = False
        self._connected = False
        log.on_room = self.throttle

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
                _enlarge(fd)
                self._outputs[fd] = name
                self.loop.add(fd, READ, self._on_output(fd))
        if stdin >= 0 and stdin not in self._outputs:
            self.loop.add(stdin, 0, self._on_input)
        self._feed_now()

    def add(self, sock: socket.socket, *, starter: bool = False) -> Client:
        """Serve a client; it says HELLO, or the caller greets it.

        starter: it started the container, which waits when this client does not read.
        """
        client = Client(sock, self, self._directory, starter=starter)
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
        if self._log.full:
            self.throttle()
        return True

    def throttle(self) -> None:
        """Stop reading the container while somebody has no room for more, go on when all have."""
        wanted = self._log.full or any(client.full for client in self._clients)
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
        self._log.flush()

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
        return not self._clients and not self._input and self._log.idle

    @property
    def lost(self) -> int:
        """Records that the log driver has given up."""
        return self._log.lost

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
            "directory": self._directory,
            "log": self._log.hand_over(),
        }

    def hand_over_clients(self, code: int) -> list[list[int]]:
        """Let go of the clients of a container that has ended: the sockets of those who have read
        everything, for who takes over, and 1 if the client wants output.

        code: the exit code.  The others get what they have not read, and that, from a child.
        """
        late = [client for client in self._clients if client.unsent]
        for client in late:
            client.send(frames.encode(frames.EXITED, f"{code} ".encode()))
        with suppress(OSError):  # no process to be had
            finish_apart([client for client in late if client.unsent])
        waiting = [client for client in self._clients if client not in late]
        handed = [[client.detach(), int(client.wants_output)] for client in waiting]
        for client in self._clients[:]:
            client.close()
        self._input.clear()
        return handed

    @classmethod
    def take_over(cls, loop: EventLoop, state: dict[str, Any]) -> Stdio:
        """Go on with what `hand_over` described, in the process that inherited the descriptors."""
        for fd in state["fds"].values():
            if fd >= 0:
                os.set_inheritable(fd, False)
        log = logs.take_over(state["log"], loop)
        streams = cls(loop, log, directory=state["directory"], stdin_once=state["stdin_once"])
        streams._input_ended = state["input_ended"]
        streams.connect(**state["fds"])
        return streams

    def close(self) -> None:
        """Let go of the clients, who still get what they have not read, and close the log."""
        with suppress(OSError):  # no process to be had
            finish_apart([client for client in self._clients if client.unsent])
        for client in self._clients[:]:
            client.close()
        self._log.close()


def _enlarge(fd: int) -> None:
    """Give a pipe more room, if it is one and the user's share of the kernel's memory allows."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass
