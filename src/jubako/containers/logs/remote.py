"""The drivers that send what a container writes to a server, each message in its protocol."""

from __future__ import annotations

import time

from jubako.containers.logs.lines import Lines, Message
from jubako.containers.logs.sender import Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from jubako.containers.logs.writer import LogWriter
    from jubako.linux.loop import EventLoop

    class Encoder(Protocol):
        """One protocol: bytes for one message, each in a datagram of its own if it is by those."""

        def encode(self, message: Message) -> list[bytes]:
            """Raises ValueError if the protocol has no place for so large a message."""

        def count_acks(self, data: bytes) -> tuple[int, bytes]:
            """How many messages the server confirms in `data`, and what is left of it."""


_CLOSE_S = 10.0  # as Docker waits for a logger


class RemoteLog:
    """A `LogDriver`: messages to the server, and a local copy that `logs` reads."""

    def __init__(
        self,
        plan: dict[str, Any],
        loop: EventLoop,
        sender: Sender,
        lines: Lines,
        cache: LogWriter | None,
    ):
        self._plan = plan
        self._lines = lines
        self._cache = cache
        self._encoder = _encoder(plan)
        self._sender = sender
        self._closed = False
        self.on_room: Callable[[], None] = lambda: None
        sender.on_room = lambda: self.on_room()
        sender.on_up = self._tell_loss
        sender.count_acks = self._encoder.count_acks

    @classmethod
    def open(cls, plan: dict[str, Any], loop: EventLoop) -> RemoteLog:
        """Connect as far as the plan wants it.  Raises StartError, KernelError (the copy)."""
        sender = Sender(plan["target"], loop)
        sender.open()
        return cls(plan, loop, sender, Lines(), _open_cache(plan["cache"], loop))

    @property
    def lost(self) -> int:
        return self._sender.lost

    @property
    def full(self) -> bool:
        return self._sender.full

    @property
    def idle(self) -> bool:
        return self._sender.idle and (self._cache is None or self._cache.idle)

    def write(self, stream: str, data: bytes) -> None:
        if self._cache is not None:
            self._cache.write(stream, data)
        self._send(self._lines.feed(stream, data, time.time_ns()))

    def _send(self, messages: list[Message]) -> None:
        put, encode = self._sender.put, self._encoder.encode
        for message in messages:
            try:
                frames = encode(message)
            except ValueError:
                self._sender.lose(1)
                continue
            for frame in frames:
                put(frame)
        self._sender.pump()

    def flush(self) -> None:
        if self._cache is not None:
            self._cache.flush()
        self._send(self._lines.flush(time.time_ns()))

    def _tell_loss(self, count: int) -> None:
        """The server is back: it hears how much it has missed."""
        text = f"jubako: {count} messages were lost while the log server did not take them"
        for frame in self._encoder.encode(Message("stderr", text.encode(), time.time_ns())):
            self._sender.put(frame, force=True)

    def hand_over(self) -> dict[str, Any]:
        return {
            "driver": self._plan["driver"],
            "plan": self._plan,
            "lines": self._lines.hand_over(),
            "sender": self._sender.hand_over(),
            "cache": None if self._cache is None else self._cache.hand_over(),
        }

    @classmethod
    def take_over(cls, state: dict[str, Any], loop: EventLoop) -> RemoteLog:
        cache = None
        if state["cache"] is not None:
            from jubako.containers.logs.writer import LogWriter

            cache = LogWriter.take_over(state["cache"], loop)
        sender = Sender.take_over(state["plan"]["target"], state["sender"], loop)
        taken = cls(state["plan"], loop, sender, Lines.take_over(state["lines"]), cache)
        sender.resume()
        return taken

    def close(self) -> None:
        """Send what is left, for some seconds; the local copy says how much did not arrive."""
        if self._closed:
            return
        self._closed = True
        self._send(self._lines.flush(time.time_ns()))
        self._sender.close(_CLOSE_S)
        if self._cache is not None:
            self._cache.flush()
            if self.lost:
                text = f"jubako: {self.lost} messages did not reach the log server\n"
                self._cache.write("stderr", text.encode())
            self._cache.close()


def _open_cache(options: dict[str, Any] | None, loop: EventLoop) -> LogWriter | None:
    if options is None:
        return None
    from jubako.containers.logs.writer import LogWriter

    return LogWriter(options, loop)


def _encoder(plan: dict[str, Any]) -> Encoder:
    if plan["driver"] == "syslog":
        from jubako.containers.logs.syslog import Syslog

        return Syslog(plan)
    if plan["driver"] == "fluentd":
        from jubako.containers.logs.fluentd import Fluentd

        return Fluentd(plan)
    if plan["driver"] == "gelf":
        from jubako.containers.logs.gelf import Gelf

        return Gelf(plan)
    from jubako.containers.logs.journald import Journald

    return Journald(plan)
