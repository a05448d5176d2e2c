"""Output cut into messages for drivers that send them one by one."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE_BYTES = 16 << 10  # as Docker


class Partial:
    """The place of a piece of a long line: a name for the line, 1, 2, …, whether it is the last."""

    __slots__ = ("last", "name", "ordinal")

    def __init__(self, name: str, ordinal: int, last: bool):
        self.name = name
        self.ordinal = ordinal
        self.last = last


class Message:
    """line: without its newline.  at_ns: since 1970.  partial: None for a whole line."""

    __slots__ = ("at_ns", "line", "partial", "stream")

    def __init__(self, stream: str, line: bytes, at_ns: int, partial: Partial | None = None):
        self.stream = stream
        self.line = line
        self.at_ns = at_ns
        self.partial = partial


class Lines:
    """Cuts both streams."""

    def __init__(self) -> None:
        self._rest = {"stdout": b"", "stderr": b""}
        self._piece: dict[str, tuple[str, int]] = {}  # of a line that is under way: name, ordinal

    def feed(self, stream: str, data: bytes, at_ns: int) -> list[Message]:
        """What is complete now."""
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        messages: list[Message] = []
        for line in lines:
            line = self._cut(stream, line, at_ns, messages)
            messages.append(Message(stream, line, at_ns, self._next(stream, last=True)))
            self._piece.pop(stream, None)
        self._rest[stream] = self._cut(stream, rest, at_ns, messages)
        return messages

    def _cut(self, stream: str, line: bytes, at_ns: int, messages: list[Message]) -> bytes:
        """Take full pieces off a line; what remains is shorter than a message may be."""
        start = 0
        while len(line) - start >= MAX_MESSAGE_BYTES:
            self._piece.setdefault(stream, (os.urandom(32).hex(), 0))
            piece = line[start : start + MAX_MESSAGE_BYTES]
            messages.append(Message(stream, piece, at_ns, self._next(stream, last=False)))
            start += MAX_MESSAGE_BYTES
        return line[start:] if start else line

    def _next(self, stream: str, *, last: bool) -> Partial | None:
        if stream not in self._piece:
            return None
        name, ordinal = self._piece[stream]
        self._piece[stream] = (name, ordinal + 1)
        return Partial(name, ordinal + 1, last)

    def flush(self, at_ns: int) -> list[Message]:
        """What has not ended yet, for nothing more will come."""
        messages = []
        for stream, rest in self._rest.items():
            if rest:
                self._piece.setdefault(stream, (os.urandom(32).hex(), 0))
                messages.append(Message(stream, rest, at_ns, self._next(stream, last=False)))
                self._rest[stream] = b""
        return messages

    def hand_over(self) -> dict[str, Any]:
        rest = {stream: data.decode("latin-1") for stream, data in self._rest.items()}
        return {"rest": rest, "piece": self._piece}

    @classmethod
    def take_over(cls, state: dict[str, Any]) -> Lines:
        lines = cls()
        lines._rest = {stream: text.encode("latin-1") for stream, text in state["rest"].items()}
        lines._piece = {stream: (name, at) for stream, (name, at) in state["piece"].items()}
        return lines
