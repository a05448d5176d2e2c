"""The monitor's streams: log, clients, back-pressure.  Real pipes and sockets, no container."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jubako.containers.logs.driver import Discard
from jubako.containers.logs.writer import LogWriter
from jubako.containers.streams import client as client_module
from jubako.containers.streams import frames
from jubako.containers.streams.spool import Spool
from jubako.containers.streams.stdio import Stdio
from jubako.linux.loop import EventLoop
from tests.unit.containers.log_tools import file_options


class Bench:
    """A Stdio whose container is this test."""

    def __init__(self, directory: Path, *, stdin_once: bool = True):
        self.loop = EventLoop()
        self.log = directory / "log"
        self.stdio = Stdio(
            self.loop,
            LogWriter(file_options(self.log), self.loop),
            directory=str(directory),
            stdin_once=stdin_once,
        )
        self.stdin, stdin = os.pipe()
        stdout, self.stdout = os.pipe()
        self.stdio.connect(stdin=stdin, stdout=stdout)
        os.set_blocking(self.stdin, False)
        os.set_blocking(self.stdout, False)
        self._decoders: dict[socket.socket, frames.Decoder] = {}

    def client(
        self, *, stdin: bool = True, output: bool = True, starter: bool = False
    ) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.stdio.add(theirs, starter=starter)
        ours.sendall(frames.encode_json(frames.HELLO, {"stdin": stdin, "output": output}))
        self._decoders[ours] = frames.Decoder()
        self.turn()
        return ours

    def turn(self, rounds: int = 5) -> None:
        for _ in range(rounds):
            self.loop.run_once(0.01)

    def received(self, client: socket.socket) -> list[tuple[int, bytes]]:
        try:
            return list(self._decoders[client].feed(client.recv(1 << 22)))
        except BlockingIOError:
            return []

    def read_stdin(self) -> bytes | None:
        """What the container could read now; b"" is the end, None is nothing yet."""
        try:
            return os.read(self.stdin, 1 << 20)
        except BlockingIOError:
            return None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stdio.close()
    made.loop.close()
    for client in made._decoders:
        client.close()
    for fd in (made.stdin, made.stdout):
        os.close(fd)


def test_output_goes_to_the_log_and_to_every_client(bench: Bench) -> None:
    one, two = bench.client(), bench.client(stdin=False)
    waiter = bench.client(output=False)
    os.write(bench.stdout, b"hello\n")
    bench.turn()
    assert bench.received(one) == bench.received(two) == [(frames.STDOUT, b"hello\n")]
    assert bench.received(waiter) == []
    assert '"log":"hello\\n"' in bench.log.read_text()


def test_input_is_passed_on_and_ends_with_the_first_client(bench: Bench) -> None:
    client = bench.client()
    client.sendall(frames.encode(frames.STDIN, b"abc"))
    bench.turn()
    assert bench.read_stdin() == b"abc"
    client.close()
    bench.turn()
    assert bench.read_stdin() == b""


def test_a_client_without_stdin_cannot_write(bench: Bench) -> None:
    client = bench.client(stdin=False)
    client.sendall(frames.encode(frames.STDIN, b"abc") + frames.encode(frames.STDIN_END))
    bench.turn()
    assert bench.read_stdin() is None


def test_the_end_of_input_waits_for_what_was_fed(bench: Bench) -> None:
    client = bench.client()
    data = os.urandom(500_000)
    left = frames.encode(frames.STDIN, data) + frames.encode(frames.STDIN_END)
    taken = b""
    for _ in range(400):
        if left:
            with suppress(BlockingIOError):
                left = left[client.send(left) :]
        bench.turn(1)
        piece = bench.read_stdin()
        if piece == b"":
            break
        taken += piece or b""
    assert taken == data


def fill(bench: Bench, size: int) -> int:
    """Write as a container would, up to `size` bytes or until nobody reads; how much went."""
    written = idle = 0
    while written < size and idle < 20:
        try:
            written += os.write(bench.stdout, b"x" * 65535 + b"\n")
            idle = 0
        except BlockingIOError:
            idle += 1
        bench.turn(1)
    return written


def received_bytes(bench: Bench, client: socket.socket, expected: int) -> int:
    """How much output a client gets when it reads at last."""
    received = idle = 0
    while received < expected and idle < 20:
        got = sum(len(data) for kind, data in bench.received(client) if kind == frames.STDOUT)
        received += got
        idle = 0 if got else idle + 1
        bench.turn(1)
    return received


def test_a_starter_that_does_not_read_stops_the_container(bench: Bench) -> None:
    client = bench.client(starter=True)
    written = fill(bench, 32 << 20)
    assert written < 8 << 20
    assert received_bytes(bench, client, written) == written


def test_a_later_client_that_does_not_read_stops_nobody(bench: Bench) -> None:
    client, other = bench.client(), bench.client(stdin=False)
    size = written = 0
    while written < 12 << 20:
        written += fill(bench, 1 << 20)
        size += received_bytes(bench, other, written - size)
    assert size == written
    assert received_bytes(bench, client, written) == written


def test_a_client_that_never_reads_is_dropped_with_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "Spool", lambda directory: Spool(directory, 2 << 20))
    client = bench.client()
    assert fill(bench, 8 << 20) >= 8 << 20
    words = b""
    for _ in range(200):
        with suppress(ConnectionResetError):
            words += b"".join(
                data for kind, data in bench.received(client) if kind == frames.DROPPED
            )
        bench.turn(1)
    assert b"did not read" in words
    assert bench.stdio.idle


def test_a_client_is_dropped_where_no_file_can_be_made(bench: Bench, tmp_path: Path) -> None:
    bench.stdio._directory = str(tmp_path / "gone")
    bench.client()
    assert fill(bench, 4 << 20) >= 4 << 20


def test_what_is_unread_at_the_end_is_still_sent(bench: Bench) -> None:
    slow, gone = bench.client(), bench.client(stdin=False)
    written = fill(bench, 6 << 20)
    bench.stdio.broadcast(frames.encode(frames.GONE))
    bench.stdio.close()
    gone.close()
    slow.setblocking(True)
    decoder, got = bench._decoders[slow], 0
    last = -1
    while data := slow.recv(1 << 20):
        for kind, payload in decoder.feed(data):
            got, last = got + len(payload), kind
    assert (got, last) == (written, frames.GONE)
    for _ in range(2):
        os.waitpid(-1, 0)  # the children that sent it


def test_a_client_that_talks_nonsense_is_dropped(bench: Bench) -> None:
    bad, good = bench.client(), bench.client(stdin=False)
    bad.sendall(b"\xff" * 100)
    bench.turn()
    assert bad.recv(10) == b""
    os.write(bench.stdout, b"on\n")
    bench.turn()
    assert bench.received(good) == [(frames.STDOUT, b"on\n")]


def test_drain_takes_what_is_left_in_the_pipe(bench: Bench) -> None:
    client = bench.client()
    os.write(bench.stdout, b"last words")
    bench.stdio.drain()
    bench.stdio.broadcast(frames.encode(frames.GONE))
    assert bench.received(client) == [(frames.STDOUT, b"last words"), (frames.GONE, b"")]


def test_input_before_the_container_is_kept(tmp_path: Path) -> None:
    loop = EventLoop()
    stdio = Stdio(loop, Discard(), directory=str(tmp_path))
    stdio.feed(b"early")
    stdio.end_input()
    read_end, write_end = os.pipe()
    stdio.connect(stdin=write_end)
    assert os.read(read_end, 100) == b"early"
    assert os.read(read_end, 100) == b""
    os.close(read_end)
    stdio.close()
    loop.close()
