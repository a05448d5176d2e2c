"""The levels of a stack as trees: a directory in overlayfs's form, or the index of an EROFS layer.

A name in a directory is (name, file type, reference), where the reference finds it again in its own
level; the file types are those of EROFS.  Nothing here follows a link or leaves the level's root.
"""

from __future__ import annotations

import os
import stat

from jubako.images.layers import whiteout
from jubako.images.layers.erofs import format
from jubako.images.layers.erofs.reading import open_reader
from jubako.images.layers.paths import DIRECTORY_FLAGS
from jubako.images.layers.tree import (
    MIN_HOLE_BYTES,
    VANISHED,
    content,
    entry_of,
    open_file,
    segments,
)
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator
    from typing import Protocol

    from jubako.images.tar import Entry

    Buffer = bytes | memoryview
    Name = tuple[bytes, int, int]

    class Level(Protocol):
        """One tree.  Methods raise OSError, and what damage in an index raises.

        path: of the directory, or of a file's parent, below the level's root; number: what
        `names` said, 0 for the root.
        """

        def names(self, path: bytes, number: int) -> list[Name]: ...

        def is_whiteout(self, path: bytes, name: Name) -> bool: ...

        def is_opaque(self, path: bytes, number: int) -> bool: ...

        def member(
            self, path: bytes, name: Name, shown: bytes
        ) -> tuple[Entry, Hashable, Iterable[Buffer]] | None:
            """Entry, identity of a file with several names (None: it has one), content.

            The content is to be read before the next call.  None: the file has vanished.
            """
            ...

        def close(self) -> None: ...


_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 18
_NEAR_BYTES = 1 << 12  # headers between two files
_ZEROS = bytes(1 << 16)
_FILE_TYPES = {
    stat.S_IFREG: format.FILE,
    stat.S_IFDIR: format.DIRECTORY,
    stat.S_IFCHR: format.CHARACTER,
    stat.S_IFBLK: format.BLOCK,
    stat.S_IFIFO: format.FIFO,
    stat.S_IFLNK: format.SYMLINK,
}


class DirectoryLevel:
    """A container's writable directory, or a layer that was unpacked.

    changing: somebody may be writing to it.
    """

    def __init__(self, directory: str, *, changing: bool):
        self._root = os.open(directory, DIRECTORY_FLAGS)
        self._changing = changing
        self._parent = -1  # the directory in which was looked last
        self._path: bytes | None = None
        self._file_fd = -1  # the file that was told of last

    def close(self) -> None:
        self._close_file()
        self._forget()
        os.close(self._root)

    def _forget(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    def _open(self, path: bytes) -> int:
        if self._parent < 0 or path != self._path:
            self._forget()
            self._parent = open_in_root(self._root, os.fsdecode(path) or ".", DIRECTORY_FLAGS)
            self._path = path
        return self._parent

    def names(self, path: bytes, number: int) -> list[Name]:
        found: list[Name] = []
        try:
            with os.scandir(self._open(path)) as entries:
                for entry in entries:
                    kind = _kind(entry)
                    if kind is not None:
                        found.append((os.fsencode(entry.name), *kind))
        except OSError as exc:
            if exc.errno not in VANISHED:  # the container may be running
                raise
        return found

    def is_whiteout(self, path: bytes, name: Name) -> bool:
        return bool(name[2])

    def is_opaque(self, path: bytes, number: int) -> bool:
        try:
            return os.getxattr(self._open(path), whiteout.OPAQUE_XATTR) == b"y"
        except OSError:
            return False

    def member(
        self, path: bytes, name: Name, shown: bytes
    ) -> tuple[Entry, Hashable, Iterable[Buffer]] | None:
        try:
            if name[1] == format.FILE:
                return self._file(path, name[0], shown)
            parent = self._open(path)
            status = os.stat(name[0], dir_fd=parent, follow_symlinks=False)
            return entry_of(shown, status, parent, name[0]), _identity(status), ()
        except (OSError, KeyError) as exc:  # KeyError: it has become a socket
            if isinstance(exc, OSError) and exc.errno not in VANISHED:
                raise
            return None

    def _file(
        self, path: bytes, name: bytes, shown: bytes
    ) -> tuple[Entry, Hashable, Iterable[Buffer]] | None:
        self._close_file()
        parent = self._open(path)
        if self._changing:
            fd = open_file(parent, name)
            if fd is None:
                return None
        else:
            fd = os.open(name, _FILE, dir_fd=parent)
        self._file_fd = fd
        status = os.fstat(fd)
        entry = entry_of(shown, status, fd, b"")
        if status.st_size - status.st_blocks * 512 >= MIN_HOLE_BYTES:
            entry.segments = segments(fd, status.st_size)
            entry.payload_bytes = sum(length for _, length in entry.segments)
        return entry, _identity(status), content(fd, entry)

    def _close_file(self) -> None:
        if self._file_fd >= 0:
            os.close(self._file_fd)
            self._file_fd = -1


def _kind(entry: os.DirEntry[str]) -> tuple[int, int] | None:
    """The file type and whether it is a whiteout; None: it is not told.  Most need no stat(2)."""
    if entry.is_file(follow_symlinks=False):
        return format.FILE, 0
    if entry.is_dir(follow_symlinks=False):
        return format.DIRECTORY, 0
    if entry.is_symlink():
        return format.SYMLINK, 0
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as exc:
        if exc.errno in VANISHED:
            return None
        raise
    file_type = _FILE_TYPES.get(stat.S_IFMT(status.st_mode))  # sockets are left out, as by Docker
    return None if file_type is None else (file_type, int(whiteout.is_device(status)))


def _identity(status: os.stat_result) -> Hashable:
    if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
        return None
    return status.st_dev, status.st_ino


class IndexLevel:
    """An EROFS layer: the index tells, the tar has the content."""

    def __init__(self, directory: str):
        self._reader = open_reader(directory)
        self._directory = directory
        self._tar = os.open(f"{directory}/tar", os.O_RDONLY | os.O_CLOEXEC)
        self._window = b""  # of the tar, where was read last
        self._window_at = 0
        self._read_to = 0

    def close(self) -> None:
        self._reader.__exit__()
        os.close(self._tar)

    def names(self, path: bytes, number: int) -> list[Name]:
        found = self._reader.names(number or self._reader.root)
        return [(name, file_type, inode) for name, inode, file_type in found]

    def is_whiteout(self, path: bytes, name: Name) -> bool:
        return self._reader.is_whiteout(name[2], name[1])

    def is_opaque(self, path: bytes, number: int) -> bool:
        return self._reader.is_opaque(number or self._reader.root)

    def member(
        self, path: bytes, name: Name, shown: bytes
    ) -> tuple[Entry, Hashable, Iterable[Buffer]] | None:
        _, file_type, number = name
        entry, links, extents = self._reader.member(number, file_type, shown)
        identity = number if links > 1 and file_type != format.DIRECTORY else None
        if file_type != format.FILE:
            return entry, identity, ()
        stored = sum(extent[1] for extent in extents)
        if len(extents) == 1 and stored == entry.size <= _READ_BYTES:  # most files
            _, _, device, position = extents[0]
            return entry, identity, self._whole(device, position, stored)
        if entry.size - stored < MIN_HOLE_BYTES:
            return entry, identity, self._pieces(extents, entry.size)
        entry.segments = [(offset, length) for offset, length, _, _ in extents]
        entry.payload_bytes = stored
        return entry, identity, self._pieces(extents, None)

    def _whole(self, device: int, position: int, size: int) -> Iterable[Buffer]:
        piece = self._read(device, position, size)
        return (piece,) if len(piece) == size else self._pieces([(0, size, device, position)], size)

    def _pieces(
        self, extents: list[tuple[int, int, int, int]], size: int | None
    ) -> Iterator[bytes]:
        """The content; size: with zeros in its holes, up to so many bytes."""
        at = 0
        for offset, length, device, position in extents:
            if size is not None:
                yield from _zeros(offset - at)
            at = offset + length
            while length:
                piece = self._read(device, position, min(length, _READ_BYTES))
                position += len(piece)
                length -= len(piece)
                yield piece
        if size is not None:
            yield from _zeros(size - at)

    def _read(self, device: int, position: int, size: int) -> bytes:
        if device == format.TAR_DEVICE:
            piece = self._read_tar(position, size)
        else:
            piece = self._reader.read(position, size)
        if not piece:
            raise ValueError(f"{self._directory}/tar ends before byte {position}")
        return piece

    def _read_tar(self, position: int, size: int) -> bytes:
        """Some of the tar; small files, which mostly lie there in order, come many at a time."""
        at = position - self._window_at
        if at < 0 or at + size > len(self._window):
            goes_on = 0 <= position - self._read_to <= _NEAR_BYTES
            wanted = max(size, _WINDOW_BYTES) if goes_on else size
            self._window, self._window_at, at = os.pread(self._tar, wanted, position), position, 0
        self._read_to = position + size
        return self._window[at : at + size]


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= len(_ZEROS)
