"""Running something to its end and keeping what it wrote: for programs rather than terminals."""

from __future__ import annotations

import os
import tempfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Protocol

    class Pumped(Protocol):
        """An attachment or an execution."""

        def pump(self, *, stdin: int | None, stdout: int | None, stderr: int | None) -> int: ...


class Output:
    """What a process left: its exit status, and what it wrote."""

    __slots__ = __match_args__ = ("status", "stdout", "stderr")

    def __init__(self, status: int, stdout: bytes, stderr: bytes):
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"Output(status={self.status}, stdout={self.stdout!r}, stderr={self.stderr!r})"


def collect(process: Pumped, stdin: bytes | None = None) -> Output:
    """Feed `stdin`, wait for the end, return the rest.

    Output goes through files without names, so that its size is bounded by the disk alone.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with tempfile.TemporaryFile() as source:
            source.write(stdin or b"")
            source.seek(0)
            status = process.pump(
                stdin=None if stdin is None else source.fileno(),
                stdout=out.fileno(),
                stderr=err.fileno(),
            )
        return Output(status, _content(out), _content(err))


def _content(file: IO[bytes]) -> bytes:
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file.read()
