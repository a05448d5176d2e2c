"""Messages in fluentd's Forward protocol: [tag, time, record, option] as MessagePack."""

from __future__ import annotations

import base64
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.logs.lines import Message

_MAX_CHUNK_NAME = 64  # longer than what we make


class Fluentd:
    """An `Encoder`.  plan: tag, sub_second, fields (what each record has), target with acks."""

    def __init__(self, plan: dict[str, Any]):
        self._tag = pack_text(plan["tag"].encode())
        self._sub_second: bool = plan["sub_second"]
        self._fields = plan["fields"]
        self._common = b"".join(
            pack_text(key.encode()) + pack_text(value.encode(errors="replace"))
            for key, value in self._fields.items()
        )
        self._acks: bool = plan["target"]["acks"]

    def encode(self, message: Message) -> list[bytes]:
        own = [(b"source", message.stream.encode()), (b"log", message.line)]
        if (partial := message.partial) is not None:
            own += [
                (b"partial_message", b"true"),
                (b"partial_id", partial.name.encode()),
                (b"partial_ordinal", b"%d" % partial.ordinal),
                (b"partial_last", b"true" if partial.last else b"false"),
            ]
        record = pack_map_head(len(self._fields) + len(own)) + self._common
        record += b"".join(pack_text(key) + pack_text(value) for key, value in own)
        option = b"\x80"
        if self._acks:
            chunk = base64.b64encode(os.urandom(16))
            option = b"\x81" + pack_text(b"chunk") + pack_text(chunk)
        return [b"\x94" + self._tag + self._time(message.at_ns) + record + option]

    def _time(self, at_ns: int) -> bytes:
        seconds, fraction_ns = divmod(at_ns, 10**9)
        if self._sub_second:
            return b"\xd7\x00" + struct.pack(">II", seconds & 0xFFFFFFFF, fraction_ns)  # EventTime
        return b"\xce" + struct.pack(">I", seconds & 0xFFFFFFFF)

    def count_acks(self, data: bytes) -> tuple[int, bytes]:
        """Answers are `{"ack": chunk}`, in the order of the messages."""
        count = 0
        head = b"\x81" + pack_text(b"ack")
        while data.startswith(head):
            length = _text_length(data, len(head))
            if length is None or len(data) < length:
                break
            count, data = count + 1, data[length:]
        return count, data[: len(head) + 2 + _MAX_CHUNK_NAME]


def pack_text(data: bytes) -> bytes:
    """A string of MessagePack."""
    length = len(data)
    if length < 32:
        return bytes((0xA0 | length,)) + data
    if length < 1 << 8:
        return b"\xd9" + struct.pack(">B", length) + data
    if length < 1 << 16:
        return b"\xda" + struct.pack(">H", length) + data
    return b"\xdb" + struct.pack(">I", length) + data


def pack_map_head(count: int) -> bytes:
    """The beginning of a map with `count` pairs."""
    if count < 16:
        return bytes((0x80 | count,))
    if count < 1 << 16:
        return b"\xde" + struct.pack(">H", count)
    return b"\xdf" + struct.pack(">I", count)


def _text_length(data: bytes, at: int) -> int | None:
    """Where the short string that begins at `at` ends; None if that is not there yet."""
    if len(data) <= at:
        return None
    if data[at] & 0xE0 == 0xA0:
        return at + 1 + (data[at] & 0x1F)
    if len(data) <= at + 1:
        return None
    return at + 2 + data[at + 1]
