"""A queue of bytes in a file without a name, for a reader that is slower than the writer."""

from __future__ import annotations

import os

CAPACITY_BYTES = 64 << 20


class Spool:
    """First in, first out; the file is used in a circle and never grows beyond the capacity.

    Raises OSError when the file cannot be made.
    """

    def __init__(self, directory: str, capacity_bytes: int = CAPACITY_BYTES):
        self._capacity = capacity_bytes
        self._fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self._start = 0  # where the oldest byte is
        self.size = 0

    def put(self, data: bytes) -> bool:
        """Take all of `data`; False if there is no room for it, in the spool or on the disk."""
        if self.size + len(data) > self._capacity:
            return False
        at = (self._start + self.size) % self._capacity
        first = min(len(data), self._capacity - at)
        try:
            _write(self._fd, data[:first], at)
            _write(self._fd, data[first:], 0)
        except OSError:
            return False
        self.size += len(data)
        return True

    def take(self, most: int) -> bytes:
        """The oldest bytes, up to `most`."""
        length = min(most, self.size, self._capacity - self._start)
        data = os.pread(self._fd, length, self._start)
        self._start = (self._start + len(data)) % self._capacity
        self.size -= len(data)
        return data

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, data: bytes, at: int) -> None:
    while data:
        done = os.pwrite(fd, data, at)
        data, at = data[done:], at + done
