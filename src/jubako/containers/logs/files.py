"""The files of a log as a reader sees them, while another process rotates and compresses them.

A set of files is opened together and looked at again: if nothing has been renamed meanwhile, it is
complete and in order.  An open file stays what it was, whatever becomes of its name.  Blocks that
are read end with a record; what follows the last newline is read again, for the writer takes back
what it could not write completely.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_BYTES = 1 << 18
_GZIP_HEAD_BYTES = 64
_GZIP_FNAME = 8  # the flag: a name follows the ten bytes of the head
_OPEN_ATTEMPTS = 100  # a rotation takes less than the reading of a directory


class LogFile:
    """One open file.  identity: the inode that it was written as; mtime: of its last record."""

    def __init__(self, path: str, number: int):
        self.path = path
        self.number = number  # 0 is the current one
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.fd)
        self._inode = status.st_ino
        self.mtime_s = status.st_mtime
        self._packed = path.endswith(".gz")
        self._at = 0
        self.identity = self._original() if self._packed else self._inode

    def _original(self) -> int:
        head = os.pread(self.fd, _GZIP_HEAD_BYTES, 0)
        if len(head) > 10 and head[3] & _GZIP_FNAME:
            name = head[10:].partition(b"\0")[0]
            if name.isdigit():
                return int(name)
        return -1

    def has_name_still(self) -> bool:
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def blocks(self) -> Iterator[bytes]:
        """Complete records from where the last call ended, up to what is there now."""
        return self._unpacked() if self._packed else self._plain()

    def _plain(self) -> Iterator[bytes]:
        size = _BLOCK_BYTES
        while data := os.pread(self.fd, size, self._at):
            end = data.rfind(b"\n") + 1
            if end:
                self._at += end
                yield data if end == len(data) else data[:end]
                size = _BLOCK_BYTES
            elif len(data) < size:
                return  # a record that is being written
            else:
                size *= 2

    def _unpacked(self) -> Iterator[bytes]:
        import zlib

        unpacker = zlib.decompressobj(31)
        rest = b""
        at = 0
        while data := os.pread(self.fd, _BLOCK_BYTES, at):
            at += len(data)
            try:
                data = rest + unpacker.decompress(data)
            except zlib.error:
                return  # damaged: what came before is all there is
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield data[:end]

    def skip_to_end(self) -> None:
        """Begin after the last complete record."""
        if self._packed:
            for _ in self._unpacked():
                pass
            return
        size = os.fstat(self.fd).st_size
        at = size
        while at:
            step = min(_BLOCK_BYTES, at)
            found = os.pread(self.fd, step, at - step).rfind(b"\n")
            at -= step
            if found >= 0:
                self._at = at + found + 1
                return
        self._at = 0

    def last_lines(self, count: int) -> list[bytes]:
        """The last lines before where `skip_to_end` has gone, with their newlines."""
        if self._packed:
            return b"".join(self._unpacked()).splitlines(keepends=True)[-count:]
        at, block = self._at, b""
        while at and block.count(b"\n") <= count:
            step = min(_BLOCK_BYTES, at)
            at -= step
            block = os.pread(self.fd, step, at) + block
        return block.splitlines(keepends=True)[-count:]

    def close(self) -> None:
        os.close(self.fd)


def open_files(path: str) -> list[LogFile]:
    """All files of a log, the oldest first; empty if there is none."""
    for _ in range(_OPEN_ATTEMPTS):
        names = _names(path)
        files: list[LogFile] = []
        try:
            for number, name in names:
                files.append(LogFile(name, number))
        except FileNotFoundError:
            close_all(files)
            continue
        if _names(path) == names and all(file.has_name_still() for file in files):
            return files
        close_all(files)
    raise TimeoutError(f"read log {path}: its files are being renamed all the time")


def _names(path: str) -> list[tuple[int, str]]:
    """Numbers and names, the oldest (with the highest number) first."""
    directory, base = os.path.split(path)
    try:
        entries = set(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = []
    for entry in entries:
        number = entry.removeprefix(f"{base}.").removesuffix(".gz")
        if entry == base:
            found.append((0, path))
        elif entry.startswith(f"{base}.") and number.isascii() and number.isdigit():
            if not entry.endswith(".gz") or entry.removesuffix(".gz") not in entries:
                found.append((int(number), f"{directory}/{entry}"))
    return sorted(found, reverse=True)


def newer_files(path: str, current: LogFile) -> list[LogFile]:
    """What came after a file that is open, the oldest first; empty if it is the newest still.

    If it is gone altogether, so are perhaps some after it: then everything that is there.
    """
    try:
        if not current.path.endswith(".gz") and os.stat(path).st_ino == current.identity:
            return []
    except FileNotFoundError:
        return []  # in the middle of a rotation: look again
    files = open_files(path)
    known = [at for at, file in enumerate(files) if file.identity == current.identity]
    if known:
        # An older file may have had the number of an inode that has been free in between.
        close_all(files[: known[-1] + 1])
        files = files[known[-1] + 1 :]
    return files


def close_all(files: list[LogFile]) -> None:
    for file in files:
        file.close()
