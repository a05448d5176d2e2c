"""From blocks of records to what `logs` shows.

Records that were written together have all but their text in common.  A run of them is handled
as a whole, which for a log of a million lines is the difference between seconds and a moment.
"""

from __future__ import annotations

import json

from jubako.containers.times import seconds, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HEAD = b'{"log":"'
_AFTER_TEXT = b'","stream":"'
_TIME = b'"time":"'
_TIME_CHARS = 30  # with nine digits after the point
_WINDOW_BYTES = 1 << 12
_FLOAT_NS = 300  # how exactly a float holds a time of these years, rounded up


class Record:
    """stream: "stdout" or "stderr".  log: the output.  time: RFC 3339 text.  attrs: of the log."""

    __slots__ = ("attrs", "log", "stream", "time")

    def __init__(self, stream: str, log: bytes, time: str, attrs: dict[str, str]):
        self.stream = stream
        self.log = log
        self.time = time
        self.attrs = attrs


def parse(line: bytes) -> Record | None:
    """A record of one line of the file; None if it is damaged (a crash, a full disk)."""
    try:
        content = json.loads(line)
        log, attrs = content["log"], content.get("attrs") or {}
        stream, time = content["stream"], content["time"]
        if stream not in ("stdout", "stderr") or not isinstance(time, str):
            return None
        return Record(stream, log.encode(errors="replace"), time, dict(attrs))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Renderer:
    """Chooses records and puts before each line what was asked for.

    streams: which are wanted.  since_s, until_s: seconds since 1970.  timestamps, details: put the
    time, the attributes before each line, as Docker does.
    `done` is set once a record is later than `until_s`.
    """

    def __init__(
        self,
        *,
        streams: set[str],
        since_s: float | None = None,
        until_s: float | None = None,
        timestamps: bool = False,
        details: bool = False,
    ):
        self._streams = streams
        self._since_s, self._until_s = since_s, until_s
        self._since, self._until = _text(since_s, -_FLOAT_NS), _text(until_s, _FLOAT_NS)
        self._timestamps = timestamps
        self._details = details
        self._within = {"stdout": False, "stderr": False}  # the last record did not end its line
        self._out: list[tuple[str, bytes]] = []
        self.done = False

    def feed(self, block: bytes) -> list[tuple[str, bytes]]:
        """Pairs of stream and bytes; what follows one another in a stream comes together."""
        at = 0
        while at < len(block):
            end = block.find(b"\n", at) + 1
            at = self._run(block, at, end) or self._single(block[at:end], end)
        out, self._out = self._out, []
        return _joined(out)

    def _run(self, block: bytes, start: int, end: int) -> int:
        """Handle records from `start` on that differ in their text only; where they end, or 0."""
        text_end = block.find(_AFTER_TEXT, start, end)
        if text_end < 0 or not block.startswith(_HEAD, start):
            return 0
        common = block[text_end - 2 : end]  # from the newline in the text on
        second = block.find(b"\n", end) + 1
        if not common.startswith(b"\\n") or not block.endswith(common, end, second):
            return 0
        last = _last_of(block, common, end)
        between = common + _HEAD
        count = block.count(b"\n", start, last)
        if (
            block.count(common, start, last) != count
            or block.count(between, start, last) != count - 1
            or block.count(b"\\" + common, start, last)  # a backslash and an n, not a newline
        ):
            return 0
        sample = parse(block[start:end])
        text = block[start + len(_HEAD) : last - len(common)].replace(between, b"\n") + b"\n"
        unescaped = _unescape(text)
        if sample is None or unescaped is None:
            return 0
        if self._wanted(sample):
            self._emit(sample, unescaped)
        return last

    def _single(self, line: bytes, end: int) -> int:
        record = _parse_quickly(line) or parse(line)
        if record is not None and self._wanted(record):
            self._emit(record, record.log)
        return end

    def _wanted(self, record: Record) -> bool:
        if self._since_s is not None or self._until_s is not None:
            if self._is_early(record.time) or self._is_late(record.time):
                return False
        return record.stream in self._streams

    def _is_early(self, time: str) -> bool:
        if self._since_s is None:
            return False
        return time < self._since if len(time) == _TIME_CHARS else _at(time) < self._since_s

    def _is_late(self, time: str) -> bool:
        if self._until_s is None:
            return False
        late = time > self._until if len(time) == _TIME_CHARS else _at(time) > self._until_s
        self.done = self.done or late
        return late

    def _emit(self, record: Record, text: bytes) -> None:
        """text: one or more lines, of which the last may be unfinished."""
        prefix = b""
        if self._timestamps:
            prefix = record.time.encode() + b" "
        if self._details:
            prefix += _details(record.attrs) + b" "
        if prefix:
            within = self._within[record.stream]
            ended = text.endswith(b"\n")
            body = text[:-1] if ended else text
            text = body.replace(b"\n", b"\n" + prefix) + (b"\n" if ended else b"")
            text = text if within else prefix + text
        self._within[record.stream] = not text.endswith(b"\n")
        self._out.append((record.stream, text))


def _last_of(block: bytes, common: bytes, at: int) -> int:
    """The end of the last record in a row that ends with `common`; looks not much further."""
    window = _WINDOW_BYTES
    last = at
    while True:
        found = block.rfind(common, last, last + window)
        if found < 0:
            return last
        last = found + len(common)
        window *= 2


def _parse_quickly(line: bytes) -> Record | None:
    """The usual record, without attributes; None for any other."""
    text_end = line.find(_AFTER_TEXT)
    if text_end < 0 or not line.startswith(_HEAD) or not line.endswith(b'Z"}\n'):
        return None
    at = text_end + len(_AFTER_TEXT)
    stream = line[at : at + 6]
    at += 6
    if line[at : at + 10] != b'","time":"' or stream not in (b"stdout", b"stderr"):
        return None
    text: bytes | None = line[len(_HEAD) : text_end]
    assert text is not None
    if text.endswith(b"\\n") and text.count(b"\\") == 1:
        text = text[:-2] + b"\n"
    elif b"\\" in text:
        text = _unescape(text)
    if text is None:
        return None
    return Record(stream.decode(), text, line[at + 10 : -3].decode(errors="replace"), {})


def _unescape(text: bytes) -> bytes | None:
    """The inside of a JSON string, where newlines may stand for themselves; None if it is wrong."""
    if b"\\" not in text:
        return text
    try:
        decoded: Any = json.loads(b'"%b"' % text.replace(b"\n", b"\\n"))
    except ValueError:
        return None
    return str(decoded).encode(errors="replace")


def _joined(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The same with neighbours of one stream put together."""
    result: list[tuple[str, bytes]] = []
    pieces: list[bytes] = []
    for place, (stream, text) in enumerate(parts):
        pieces.append(text)
        if place + 1 == len(parts) or parts[place + 1][0] != stream:
            result.append((stream, b"".join(pieces)))
            pieces = []
    return result


def _details(attrs: dict[str, str]) -> bytes:
    """`key=value,…` as Docker writes them, escaped as in the query of an URL."""
    from urllib.parse import quote_plus

    pairs = (f"{quote_plus(key)}={quote_plus(str(value))}" for key, value in sorted(attrs.items()))
    return ",".join(pairs).encode()


def _text(at_s: float | None, more_ns: int) -> str:
    return "" if at_s is None else timestamp(max(0, int(at_s * 1e9) + more_ns))


def _at(time: str) -> float:
    """A record's time that is not in our own form; one that makes no sense is very old."""
    try:
        return seconds(time)
    except ValueError:
        return 0.0
