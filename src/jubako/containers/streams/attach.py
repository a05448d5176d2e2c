"""The client's side of an attached container.

`Attachment` speaks the protocol of `streams.frames` with a monitor; `pump` moves bytes between it
and the caller's descriptors until the container ends or the user detaches.
"""

from __future__ import annotations

import os
import select
import socket

from jubako.containers.streams import frames
from jubako.containers.streams.frames import write_all
from jubako.containers.streams.terminal import Console, console, read_input
from jubako.errors import Detached, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_READ_BYTES = 1 << 16


class Attachment:
    """A connection to a running container's streams.

    forward: called with each signal that the caller wants proxied to the container.  tell: called
    with what becomes an event: `detach`, and `resize` with rows and columns.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        forward: Callable[[int], None] | None = None,
        tell: Callable[[str, tuple[int, int] | None], None] | None = None,
    ):
        self._tell = tell or _tell_nobody
        self._socket = sock
        self._decoder = frames.Decoder()
        self._forward = forward
        self._dropped = ""
        self.exit_code: int | None = None
        self.error = ""

    @classmethod
    def connect(
        cls,
        path: str,
        *,
        stdin: bool,
        output: bool,
        forward: Callable[[int], None] | None = None,
        tell: Callable[[str, tuple[int, int] | None], None] | None = None,
    ) -> Attachment:
        """Attach through a monitor's socket.  Raises Unavailable if no monitor answers."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect_at(sock, path)
            sock.sendall(frames.encode_json(frames.HELLO, {"stdin": stdin, "output": output}))
        except OSError as exc:  # there is no monitor, or it just goes
            sock.close()
            raise Unavailable(f"attach: {exc.strerror}", subject=path) from exc
        return cls(sock, forward=forward, tell=tell)

    def resize(self, rows: int, columns: int) -> None:
        self._send(frames.encode_resize(rows, columns))
        self._tell("resize", (rows, columns))

    def send(self, data: bytes) -> None:
        """Bytes for the container's stdin."""
        for at in range(0, len(data), frames.MAX_PAYLOAD_BYTES):
            self._send(frames.encode(frames.STDIN, data[at : at + frames.MAX_PAYLOAD_BYTES]))

    def end_input(self) -> None:
        self._send(frames.encode(frames.STDIN_END))

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.sendall(frame)
        except OSError:
            pass  # the monitor is gone: reading tells

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[tuple[int, bytes]]:
        """The frames that have arrived; blocks for the first.  Sets exit_code on EXITED.

        Raises Unavailable if the monitor dies before it has said that it is done, and if it has
        dropped us because we were too slow.
        """
        while True:
            if self._dropped:
                raise Unavailable(f"attach: {self._dropped}; the container goes on")
            try:
                data = self._socket.recv(_READ_BYTES)
            except ConnectionResetError:  # the monitor ended before it had read all of our input
                data = b""
            if not data:
                if self.exit_code is None:
                    raise Unavailable("attach: the container's monitor has died")
                return [(frames.GONE, b"")]
            received = list(self._decoder.feed(data))
            for kind, payload in received:
                if kind == frames.DROPPED:
                    self._dropped = payload.decode()
                if kind == frames.EXITED:
                    code, _, error = payload.partition(b" ")
                    self.exit_code, self.error = int(code), error.decode()
            if received:
                return received

    def wait(self) -> int:
        """Block until everything of the container is taken down; its exit code."""
        while all(kind != frames.GONE for kind, _ in self.receive()):
            pass
        assert self.exit_code is not None
        return self.exit_code

    def close(self) -> None:
        self._socket.close()

    def pump(
        self,
        *,
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        tty: bool = False,
        detach_keys: str | None = None,
        sig_proxy: bool = False,
    ) -> int:
        """Move bytes until the container is gone; returns its exit code.

        stdin, stdout, stderr: descriptors of the caller, None for a stream nobody wants.
        tty: the container has a terminal: the caller's becomes raw and its size is followed.
        detach_keys: as `--detach-keys`.  sig_proxy: signals that we get go to the container.
        Raises Detached when the user leaves, Unavailable when the monitor dies.
        """
        outputs = {frames.STDOUT: stdout, frames.STDERR: stderr}
        with console(
            stdin,
            stdout,
            tty=tty,
            detach_keys=detach_keys,
            sig_proxy=sig_proxy,
            forward=self._forward,
            resize=self.resize,
        ) as opened:
            return self._pump(stdin, outputs, opened)

    def _pump(self, stdin: int | None, outputs: dict[int, int | None], console: Console) -> int:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(console, select.POLLIN)
        if stdin is not None:
            poll.register(stdin, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if console.fileno() in ready:
                console.take_signals()
            if stdin is not None and stdin in ready:
                data = read_input(stdin)
                if data:
                    self.send(self._fed(console, data))
                else:
                    self.end_input()
                    poll.unregister(stdin)
                    stdin = None
            if self._socket.fileno() in ready:
                for kind, payload in self.receive():
                    if kind == frames.GONE:
                        assert self.exit_code is not None
                        return self.exit_code
                    target = outputs.get(kind)
                    if target is not None:
                        write_all(target, payload)

    def _fed(self, console: Console, data: bytes) -> bytes:
        try:
            return console.feed(data)
        except Detached:
            self._tell("detach", None)
            raise


def _tell_nobody(action: str, size: tuple[int, int] | None) -> None:
    """Nobody keeps events of what is only waited for."""


def _connect_at(sock: socket.socket, path: str) -> None:
    """Connect to a socket whose path may be longer than the 107 bytes of sockaddr_un."""
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)
