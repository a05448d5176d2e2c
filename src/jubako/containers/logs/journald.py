"""Messages in the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.logs.lines import Message

_PRIORITIES = {"stdout": b"6", "stderr": b"3"}  # info, err


class Journald:
    """An `Encoder`.  plan: fields (what each entry has)."""

    def __init__(self, plan: dict[str, Any]):
        self._common = b"".join(
            _field(name.encode(), value.encode(errors="replace"))
            for name, value in plan["fields"].items()
        )

    def encode(self, message: Message) -> list[bytes]:
        entry = [
            _field(b"PRIORITY", _PRIORITIES[message.stream]),
            _field(b"MESSAGE", message.line),
            self._common,
        ]
        if (partial := message.partial) is not None:
            if not partial.last:
                entry.append(_field(b"CONTAINER_PARTIAL_MESSAGE", b"true"))
            entry += [
                _field(b"CONTAINER_PARTIAL_ID", partial.name.encode()),
                _field(b"CONTAINER_PARTIAL_ORDINAL", b"%d" % partial.ordinal),
                _field(b"CONTAINER_PARTIAL_LAST", b"true" if partial.last else b"false"),
            ]
        return [b"".join(entry)]

    def count_acks(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, struct.pack("<Q", len(value)), value)
    return b"%b=%b\n" % (name, value)
