"""What the tests of logs share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jubako.containers.logs.render import Renderer
from jubako.linux.loop import EventLoop


def file_options(path: Path, **changes: Any) -> dict[str, Any]:
    """A plan's part for a file, without limits but for `changes`."""
    limits = {"max_size": -1, "max_files": 1, "compress": False, "max_age_s": 0.0}
    return {"path": str(path), "attributes": {}, **limits, **changes}


def text(blocks: Iterable[bytes], **chosen: Any) -> bytes:
    """What `logs` shows of blocks of records, both streams together."""
    renderer = Renderer(streams={"stdout", "stderr"}, **chosen)
    return b"".join(data for block in blocks for _, data in renderer.feed(block))


def turn_until(loop: EventLoop, condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Let a loop work until something is so."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        loop.run_once(0.02)


def unpack(data: bytes) -> Any:
    """One value of MessagePack, of the kinds that fluentd's protocol has."""
    value, rest = unpack_first(data)
    assert rest == b""
    return value


def unpack_first(data: bytes) -> tuple[Any, bytes]:
    """The first value, and what follows it.  IndexError or struct.error: it is not whole."""
    head, data = data[0], data[1:]
    if head & 0xE0 == 0xA0:
        return _take(data, head & 0x1F)
    if head in (0xD9, 0xDA, 0xDB):
        size = {0xD9: 1, 0xDA: 2, 0xDB: 4}[head]
        return _take(data[size:], int.from_bytes(data[:size], "big"))
    if head & 0xF0 == 0x90:
        values = []
        for _ in range(head & 0x0F):
            value, data = unpack_first(data)
            values.append(value)
        return values, data
    if head & 0xF0 == 0x80:
        pairs = {}
        for _ in range(head & 0x0F):
            key, data = unpack_first(data)
            pairs[key], data = unpack_first(data)
        return pairs, data
    if head == 0xCE:
        return int.from_bytes(data[:4], "big"), data[4:]
    assert (head, data[0]) == (0xD7, 0), "of all extensions there is only EventTime"
    return _take(data[1:], 8)


def _take(data: bytes, length: int) -> tuple[bytes, bytes]:
    if len(data) < length:
        raise IndexError
    return data[:length], data[length:]
