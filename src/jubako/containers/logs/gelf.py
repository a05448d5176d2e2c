"""Messages in the Graylog Extended Log Format 1.1: in chunks of datagrams, or over TCP."""

from __future__ import annotations

import json
import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.logs.lines import Message

_LEVELS = {"stdout": 6, "stderr": 3}
_WINDOW_BITS = {"gzip": 31, "zlib": 15}
_CHUNK_BYTES = 1420 - 12  # a datagram, without the head of the chunk, as Docker cuts
_MAX_CHUNKS = 128
_CHUNK_MAGIC = b"\x1e\x0f"


class Gelf:
    """An `Encoder`.  plan: compression ("" over TCP), level, hostname, extra (fields)."""

    def __init__(self, plan: dict[str, Any]):
        self._compression: str = plan["compression"]
        self._level: int = plan["level"]
        self._host = json.dumps(plan["hostname"])
        self._extra = json.dumps(plan["extra"], separators=(",", ":"))[1:]

    def encode(self, message: Message) -> list[bytes]:
        if not message.line:
            return []  # the format has no empty messages
        text = json.dumps(message.line.decode(errors="replace"))
        milliseconds = message.at_ns // 10**6
        document = (
            f'{{"version":"1.1","host":{self._host},"short_message":{text},'
            f'"timestamp":{milliseconds // 1000}.{milliseconds % 1000:03},'
            f'"level":{_LEVELS[message.stream]},{self._extra}'
        ).encode()
        if not self._compression:
            return [document + b"\0"]
        return _chunks(self._pack(document))

    def _pack(self, document: bytes) -> bytes:
        if self._compression == "none":
            return document
        packer = zlib.compressobj(self._level, wbits=_WINDOW_BITS[self._compression])
        return packer.compress(document) + packer.flush()

    def count_acks(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""


def _chunks(data: bytes) -> list[bytes]:
    if len(data) <= _CHUNK_BYTES + 12:
        return [data]
    pieces = [data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES)]
    if len(pieces) > _MAX_CHUNKS:
        raise ValueError(f"{len(data)} bytes are more than {_MAX_CHUNKS} chunks")
    head = _CHUNK_MAGIC + os.urandom(8)
    return [head + bytes((number, len(pieces))) + piece for number, piece in enumerate(pieces)]
