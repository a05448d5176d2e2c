"""Writing a container's output as Docker's json-file records, with rotation.

One record is one line of JSON: `{"log":"text\\n","stream":"stdout","time":"…"}`.  A line of output
longer than 16 KiB becomes several records, only the last of which ends in a newline, as in Docker.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from jubako.containers.logs.options import LogOptions
from jubako.containers.times import now
from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAX_RECORD_BYTES = 16 << 10


class LogWriter:
    """Appends records to `path`; used by one process, the container's monitor.

    path: the current file; None keeps nothing (driver `none`).
    A failed write (disk full) is counted in `lost` and remembered in `last_error`, and the
    container goes on.
    """

    def __init__(self, path: str | None, options: LogOptions):
        self._path = path
        self._options = options
        self._partial = {"stdout": b"", "stderr": b""}
        self._fd = -1
        self._size = 0
        self.lost = 0
        self.last_error: OSError | None = None
        if path is not None:
            self._open(path)

    def _open(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o640)
        except OSError as exc:
            raise KernelError.from_oserror("open log", exc, path=path) from exc
        self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Take output as it came; complete lines are recorded at once."""
        if self._fd < 0:
            return
        data = self._partial[stream] + data
        lines = data.split(b"\n")
        rest = lines.pop()
        pieces = [piece for line in lines for piece in _pieces(line + b"\n")]
        while len(rest) >= MAX_RECORD_BYTES:
            pieces.append(rest[:MAX_RECORD_BYTES])
            rest = rest[MAX_RECORD_BYTES:]
        self._partial[stream] = rest
        if pieces:
            self._record(stream, pieces)

    def _record(self, stream: str, pieces: list[bytes]) -> None:
        ending = f',"stream":"{stream}","time":"{now()}"}}\n'
        records = [
            f'{{"log":{json.dumps(piece.decode(errors="replace"), ensure_ascii=False)}{ending}'
            for piece in pieces
        ]
        try:
            for block in self._blocks(records):
                self._append(block)
        except OSError as exc:
            self.lost += len(pieces)
            self.last_error = exc

    def _blocks(self, records: list[str]) -> Iterator[bytes]:
        """The records in pieces that fit into what is left of a file, which is rotated between."""
        block = "".join(records).encode()
        limit = self._options.max_size_bytes
        if limit < 0 or self._size + len(block) <= limit:
            yield block
            return
        pending = bytearray()
        for record in records:
            encoded = record.encode()
            if self._size + len(pending) + len(encoded) > limit:
                if pending:
                    yield bytes(pending)
                    pending.clear()
                if self._size:
                    self._rotate()
            pending += encoded
        yield bytes(pending)

    def _append(self, records: bytes) -> None:
        done = 0
        try:
            while done < len(records):
                done += os.write(self._fd, memoryview(records)[done:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)  # no half record: readers would stumble
            raise
        self._size += done

    def _rotate(self) -> None:
        """Shift the old files by one, dropping the oldest, and begin a new current file.

        The current file is renamed, so that a reader that has it open reads it to its end.
        """
        assert self._path is not None
        suffix = ".gz" if self._options.compress else ""
        kept = self._options.max_files - 1
        if kept == 0:
            os.unlink(self._path)
        else:
            for index in range(kept - 1, 0, -1):
                _rename(f"{self._path}.{index}{suffix}", f"{self._path}.{index + 1}{suffix}")
            os.rename(self._path, f"{self._path}.1")
            if self._options.compress:
                _compress(f"{self._path}.1")
        os.close(self._fd)
        self._open(self._path)

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of in another program, which opens the file itself."""
        options = self._options
        return {
            "path": self._path,
            "options": [
                options.driver,
                options.max_size_bytes,
                options.max_files,
                options.compress,
            ],
            "partial": {name: data.decode("latin-1") for name, data in self._partial.items()},
        }

    @classmethod
    def take_over(cls, state: dict[str, Any]) -> LogWriter:
        """Go on with what `hand_over` described."""
        writer = cls(state["path"], LogOptions(*state["options"]))
        writer._partial = {name: text.encode("latin-1") for name, text in state["partial"].items()}
        return writer

    def close(self) -> None:
        """Record unfinished lines and close the file."""
        if self._fd < 0:
            return
        for stream, rest in self._partial.items():
            if rest:
                self._record(stream, list(_pieces(rest)))
        os.close(self._fd)
        self._fd = -1


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_RECORD_BYTES:
        return [line]
    return [line[at : at + MAX_RECORD_BYTES] for at in range(0, len(line), MAX_RECORD_BYTES)]


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass  # fewer files than may be kept so far


def _compress(path: str) -> None:
    import gzip

    with open(path, "rb") as source, gzip.open(f"{path}.gz.tmp", "wb", compresslevel=1) as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
    os.rename(f"{path}.gz.tmp", f"{path}.gz")
    os.unlink(path)


def open_writer(directory: str, container_id: str, options: LogOptions) -> LogWriter:
    """The writer of a container whose files live in `directory`."""
    if options.driver == "none":
        return LogWriter(None, options)
    return LogWriter(log_path(directory, container_id), options)


def log_path(directory: str, container_id: str) -> str:
    """The current log file of a container."""
    return f"{directory}/{container_id}-json.log"
