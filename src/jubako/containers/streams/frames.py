"""The protocol on a monitor's attach socket.

A client connects to `<run_dir>/<id>/attach.sock` (stream) and says HELLO; then both sides send
frames until the monitor has sent GONE or the client closes.

    client                         monitor
      │ HELLO {stdin, output}         │   what the client wants
      │ ────────────────────────────> │
      │ STDIN bytes …, STDIN_END      │   for clients with stdin
      │ RESIZE rows columns           │   of the terminal
      │ ────────────────────────────> │
      │    STDOUT bytes, STDERR bytes │   for clients with output
      │ <──────────────────────────── │
      │           EXITED code, error  │   the container's process has ended
      │ <──────────────────────────── │
      │                          GONE │   everything is taken down; `--rm` has removed it
      │ <──────────────────────────── │
      │                DROPPED reason │   in place of all this: the client will get no more
      │ <──────────────────────────── │

A frame is one byte of kind, four of length (big endian), and the payload.
"""

from __future__ import annotations

import json
import os
import struct

from jubako.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR, STDIN_END, RESIZE, HELLO, EXITED, GONE, DROPPED = range(9)

_HEADER = struct.Struct(">BI")
_SIZE = struct.Struct(">HH")
MAX_PAYLOAD_BYTES = 1 << 20  # far above what either side sends at once; more is not our peer


def encode(kind: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return _HEADER.pack(kind, len(payload)) + payload


def encode_json(kind: int, content: dict[str, Any]) -> bytes:
    """A frame whose payload is a JSON object."""
    return encode(kind, json.dumps(content).encode())


def encode_resize(rows: int, columns: int) -> bytes:
    return encode(RESIZE, _SIZE.pack(rows, columns))


def decode_resize(payload: bytes) -> tuple[int, int]:
    """Rows and columns of a RESIZE frame; (0, 0) if it is malformed."""
    if len(payload) != _SIZE.size:
        return 0, 0
    rows, columns = _SIZE.unpack(payload)
    return rows, columns


class Decoder:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Add bytes and take out each frame (kind, payload) that is complete.

        Raises Unavailable on a length that no peer of ours sends.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if length > MAX_PAYLOAD_BYTES:
                raise Unavailable(f"attach: frame of {length} bytes exceeds {MAX_PAYLOAD_BYTES}")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload


def write_all(fd: int, data: bytes) -> None:
    """Write everything to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
