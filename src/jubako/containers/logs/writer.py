"""Writing a container's output as Docker's json-file records, with rotation.

One record is one line of JSON: `{"log":"text\\n","stream":"stdout","time":"…"}`.  A line of output
longer than 16 KiB becomes several records, only the last of which ends in a newline, as in Docker.

What is read from the container at once becomes one block of records, made by a few operations on
the whole: a container can write lines by the million.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress

from jubako.containers.logs.rotation import Rotation
from jubako.containers.times import now
from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.linux.loop import EventLoop

MAX_RECORD_BYTES = 16 << 10
_BLOCK_BYTES = 16 << 10  # of output made into one block; short lines make it 40 times as long
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
# The common ones; the others are found by `_CONTROL`.
_ESCAPES = (
    (b"\\", rb"\\"),
    (b'"', rb"\""),
    (b"\t", rb"\t"),
    (b"\r", rb"\r"),
    (b"\x1b", rb"\u001b"),
)


class LogWriter:
    """Appends records to a file; used by one process, the container's monitor.

    options: as `jubako.containers.logs.plan.file_plan` makes them.
    A failed write (disk full) is counted in `lost` and remembered in `last_error`, and the
    container goes on; the next record that finds room comes after one that says how many are
    missing.
    """

    full = False

    def __init__(self, options: dict[str, Any], loop: EventLoop):
        self._options = options
        self._path: str = options["path"]
        self._limit: int = options["max_size"]
        self._max_age_s: float = options["max_age_s"]
        self._rotation = Rotation(options, loop)
        attributes = options["attributes"]
        self._attributes = f',"attrs":{_compact(attributes)}' if attributes else ""
        self._partial = {"stdout": b"", "stderr": b""}
        self.on_room: Callable[[], None] = lambda: None  # never full
        self.lost = 0
        self.last_error: OSError | None = None
        self._untold = 0
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._born_s = self._rotation.born_s(self._size)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o640)
        except OSError as exc:
            raise KernelError.from_oserror("open log", exc, path=self._path) from exc

    @property
    def idle(self) -> bool:
        return self._rotation.idle

    def write(self, stream: str, data: bytes) -> None:
        """Take output as it came; complete lines are recorded at once."""
        if self._partial[stream]:
            data = self._partial[stream] + data
        end = data.rfind(b"\n") + 1
        if len(data) - end >= MAX_RECORD_BYTES or _longest_exceeds(data, end):
            end = self._write_long(stream, data)
        else:
            for block in _slices(data, end):
                self._append(self._records(stream, block))
        self._partial[stream] = data[end:]

    def _write_long(self, stream: str, data: bytes) -> int:
        """The same where some line is longer than a record; returns how much is recorded."""
        start = 0
        while start < len(data):
            end = data.find(b"\n", start, start + MAX_RECORD_BYTES) + 1
            if end:
                self._append(self._records(stream, data[start:end]))
            elif len(data) - start >= MAX_RECORD_BYTES:
                end = character_end(data, start + MAX_RECORD_BYTES)
                self._append(self._unended(stream, data[start:end]))
            else:
                break
            start = end
        return start

    def _records(self, stream: str, lines: bytes) -> bytes:
        """Complete lines to records."""
        ending = self._ending(stream)
        between = b'\\n%b{"log":"' % ending
        return b'{"log":"%b\\n%b' % (_escape(lines[:-1]).replace(b"\n", between), ending)

    def _unended(self, stream: str, piece: bytes) -> bytes:
        """A piece of a line to a record."""
        return b'{"log":"%b%b' % (_escape(piece), self._ending(stream))

    def _ending(self, stream: str) -> bytes:
        """Everything of a record after its text."""
        return f'","stream":"{stream}"{self._attributes},"time":"{now()}"}}\n'.encode()

    def _append(self, block: bytes) -> None:
        """Write records, rotating between them."""
        if self._untold:
            block = self._notice() + block
        start = 0
        if self._max_age_s and self._size and time.time() - self._born_s > self._max_age_s:
            self._rotate()
        try:
            while start < len(block):
                end = self._fitting(block, start)
                self._put(block, start, end)
                start = end
        except OSError as exc:
            missing = block.count(b"\n", start)
            if start:  # the notice, if any, is written
                self._untold = missing
            else:
                missing -= 1 if self._untold else 0
                self._untold += missing
            self.lost += missing
            self.last_error = exc
        else:
            self._untold = 0

    def _notice(self) -> bytes:
        reason = os.strerror(self.last_error.errno or 0) if self.last_error else ""
        text = f"jubako: {self._untold} records of this log were lost here: {reason}\n"
        return self._records("stderr", text.encode())

    def _fitting(self, block: bytes, start: int) -> int:
        """The end of the records from `start` on that go into the current file."""
        if self._limit < 0 or self._size + len(block) - start <= self._limit:
            return len(block)
        end = block.rfind(b"\n", start, start + max(0, self._limit - self._size)) + 1
        if end > start:
            return end
        if self._size and self._rotate():
            return self._fitting(block, start)
        return block.find(b"\n", start) + 1  # larger than a file may be, or rotating failed

    def _put(self, block: bytes, start: int, end: int) -> None:
        done = start
        view = memoryview(block)
        try:
            while done < end:
                done += os.write(self._fd, view[done:end])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)  # no half record: readers would stumble
            raise
        self._size += end - start

    def _rotate(self) -> bool:
        """Begin a new current file; False if that is impossible now, and the old one goes on."""
        try:
            self._rotation.shift()
            fd = self._open()
        except OSError as exc:
            self.last_error = exc
            return False
        os.close(self._fd)
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._born_s = time.time()
        self._rotation.tidy()
        return True

    def flush(self) -> None:
        """Record unfinished lines."""
        for stream, rest in self._partial.items():
            if rest:
                self._append(self._unended(stream, rest))
                self._partial[stream] = b""

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of in another program, which opens the file itself."""
        return {
            "driver": "file",
            "file": self._options,
            "partial": {name: data.decode("latin-1") for name, data in self._partial.items()},
            "lost": self.lost,
        }

    @classmethod
    def take_over(cls, state: dict[str, Any], loop: EventLoop) -> LogWriter:
        """Go on with what `hand_over` described."""
        writer = cls(state["file"], loop)
        writer._partial = {name: text.encode("latin-1") for name, text in state["partial"].items()}
        writer.lost = state["lost"]
        return writer

    def close(self) -> None:
        """Record unfinished lines and close the file."""
        if self._fd < 0:
            return
        self.flush()
        self._rotation.close()
        os.close(self._fd)
        self._fd = -1


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _escape(data: bytes) -> bytes:
    """Output as it stands inside a JSON string, but with the newlines as they are.

    Bytes that are not UTF-8 become U+FFFD, as in Docker.
    """
    for char, escaped in _ESCAPES:
        if char in data:
            data = data.replace(char, escaped)
    if _CONTROL.search(data):
        data = _CONTROL.sub(lambda match: b"\\u%04x" % match[0][0], data)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode(errors="replace").encode()
    return data


def _longest_exceeds(data: bytes, end: int) -> bool:
    """Whether a line in data[:end], with its newline, is longer than a record may be."""
    start = 0
    while end - start > MAX_RECORD_BYTES:
        found = data.rfind(b"\n", start, start + MAX_RECORD_BYTES) + 1
        if not found:
            return True
        start = found
    return False


def _slices(data: bytes, end: int) -> list[bytes]:
    """data[:end], which ends in a newline, in pieces that do too and make blocks of fair size."""
    if end <= _BLOCK_BYTES:
        return [data[:end]] if end else []
    pieces = []
    start = 0
    while start < end:
        cut = data.rfind(b"\n", start, min(end, start + _BLOCK_BYTES)) + 1
        pieces.append(data[start:cut])
        start = cut
    return pieces


def character_end(data: bytes, end: int) -> int:
    """`end`, or a little before where it would cut a character of UTF-8 in two."""
    for back in range(4):
        if end >= len(data) or data[end - back] & 0xC0 != 0x80:
            return end - back
    return end
