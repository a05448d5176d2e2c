"""The old files of a log: their names, their compression, their end.

    log      the current file        ─┐
    log.1    the one before           │ a rotation renames each to the next number; a reader that
    log.2.gz older, compressed       ─┘ has one open reads on

Compression is a child's work and no rotation waits for it.  The child writes `log.gz.tmp`; the
monitor alone gives names.  A compressed file has the time of its last record, and in its gzip
header the inode number of what it was made of, by which a reader that followed the file when it was
not compressed finds its place again.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.logs.background import Background
    from jubako.linux.loop import EventLoop

_CHUNK_BYTES = 1 << 20


class Rotation:
    """What lies beside the current file.  options: see `jubako.containers.logs.plan.file_plan`."""

    def __init__(self, options: dict[str, Any], loop: EventLoop):
        self._path: str = options["path"]
        self._kept: int = options["max_files"] - 1
        self._compress: bool = options["compress"]
        self._max_age_s: float = options["max_age_s"]
        self._loop = loop
        self._job: Background | None = None
        self._job_index = 0  # of the file that is being compressed; 0 when it is gone meanwhile
        with suppress(OSError):
            os.unlink(f"{self._path}.gz.tmp")
        self.tidy()

    @property
    def idle(self) -> bool:
        return self._job is None

    def born_s(self, size_bytes: int) -> float:
        """When the current file's first record was written, in seconds since 1970."""
        if not size_bytes or not self._max_age_s:
            return time.time()
        from jubako.containers.logs.render import parse
        from jubako.containers.times import seconds

        with suppress(OSError, ValueError), open(self._path, "rb") as file:
            first = parse(file.readline(_CHUNK_BYTES))
            if first is not None:
                return seconds(first.time)
        return time.time()

    def shift(self) -> None:
        """Give every file the next number, dropping the oldest; there is no current one then."""
        if self._kept == 0:
            os.unlink(self._path)
            return
        self._remove(self._kept)
        for index in range(self._kept - 1, 0, -1):
            for suffix in ("", ".gz"):
                with suppress(FileNotFoundError):
                    os.rename(f"{self._path}.{index}{suffix}", f"{self._path}.{index + 1}{suffix}")
        if self._job_index:
            self._job_index = (self._job_index + 1) % (self._kept + 1)
        os.rename(self._path, f"{self._path}.1")

    def _remove(self, index: int) -> None:
        for suffix in ("", ".gz"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}.{index}{suffix}")

    def tidy(self) -> None:
        """Remove what is too old; compress what is not compressed, the oldest first."""
        for index in range(self._kept, 0, -1):
            name = f"{self._path}.{index}"
            if self._max_age_s and self._too_old(name):
                self._remove(index)
            elif self._compress and self._job is None and os.path.exists(name):
                if os.path.exists(f"{name}.gz"):
                    os.unlink(name)  # it was compressed, and we were killed before it was removed
                else:
                    self._start(index)

    def _too_old(self, name: str) -> bool:
        for path in (name, f"{name}.gz"):
            with suppress(FileNotFoundError):
                return time.time() - os.stat(path).st_mtime > self._max_age_s
        return False

    def _start(self, index: int) -> None:
        from jubako.containers.logs.background import Background

        target = f"{self._path}.gz.tmp"
        try:
            source = os.open(f"{self._path}.{index}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            self._job = Background(
                self._loop, lambda: _compress(source, target), self._finish, (source,)
            )
            self._job_index = index
        except OSError:
            pass  # no process to be had: it stays as it is until the next rotation
        finally:
            os.close(source)

    def _finish(self, answer: bytes) -> None:
        index, self._job, self._job_index = self._job_index, None, 0
        target = f"{self._path}.gz.tmp"
        if not index or answer != b"done":  # dropped meanwhile; or the disk is full
            with suppress(OSError):
                os.unlink(target)
            return
        with suppress(OSError):
            os.rename(target, f"{self._path}.{index}.gz")
            os.unlink(f"{self._path}.{index}")
        self.tidy()

    def close(self) -> None:
        """Stop compressing; the next start does it."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            with suppress(OSError):
                os.unlink(f"{self._path}.gz.tmp")


def _compress(source: int, target: str) -> bytes:
    """In the child."""
    import gzip

    status = os.fstat(source)
    with open(target, "wb") as out:
        name = str(status.st_ino)
        with gzip.GzipFile(name, "wb", compresslevel=1, fileobj=out, mtime=0) as packed:
            while chunk := os.read(source, _CHUNK_BYTES):
                packed.write(chunk)
    os.chmod(target, 0o640)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return b"done"
