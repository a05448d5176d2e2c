"""A directory tree as a tar stream: for `export`, and for the layer of a commit."""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import KernelError
from jubako.images.layers import whiteout
from jubako.images.layers.attributes import get_xattrs
from jubako.images.layers.paths import DIRECTORY_FLAGS
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarWriter,
)
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    Buffer = bytes | memoryview

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # replaced while we looked
_MIN_HOLE_BYTES = 1 << 20  # files with less than that in holes are written out


class TreeTar:
    """The tar of a tree; an iterable of buffers, readable like a file, a context manager.

    overlay: the tree is the upper directory of an overlay: whiteouts and opaque directories are
    written as the image specification wants.  Names are sorted, so equal trees give equal bytes.
    Hard links, devices, attributes and holes (GNU.sparse 1.0) are kept, sockets left out, as Docker
    does.  Nothing below another mount is read.  A buffer is valid until the next step.
    Raises KernelError.
    """

    def __init__(self, path: str, *, overlay: bool = False):
        self._path = path
        self._overlay = overlay
        self._out: list[Buffer] = []
        self._writer = TarWriter(self._out.append)
        self._links: dict[tuple[int, int], bytes] = {}
        self._device = -1
        self._rest = b""
        self._iterator: Iterator[Buffer] | None = None

    def __enter__(self) -> TreeTar:
        return self

    def __exit__(self, *exc: object) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[Buffer]:
        if self._iterator is None:
            self._iterator = self._run()
        return self._iterator

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as a binary file; b"" at the end."""
        while size < 0 or len(self._rest) < size:
            piece = next(iter(self), None)
            if piece is None:
                break
            self._rest += piece
            if size > 0 and self._rest:
                break
        data = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(data) :]
        return data

    def _run(self) -> Iterator[Buffer]:
        try:
            root = os.open(self._path, DIRECTORY_FLAGS)
            try:
                self._device = os.fstat(root).st_dev
                if not self._overlay:
                    self._writer.add_header(self._entry(b"./", os.fstat(root), root, b""))
                elif self._is_opaque(root):
                    self._writer.add_file(whiteout.OPAQUE, b"", mode=0)
                yield from self._walk(root)
            finally:
                os.close(root)
            self._writer.close()
            yield from self._take()
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("read", exc, path=self._path) from exc

    def _take(self) -> list[Buffer]:
        taken = self._out[:]
        self._out.clear()
        return taken

    def _walk(self, root: int) -> Iterator[Buffer]:
        """Depth first, without recursion and with one open directory, for trees of any depth."""
        waiting = [(b"", self._names(root))]
        while waiting:
            path, names = waiting.pop()
            try:
                fd = open_in_root(root, os.fsdecode(path) or ".", DIRECTORY_FLAGS)
            except KernelError as exc:
                if exc.errno in _VANISHED:
                    continue  # the container may be running
                raise
            try:
                below = yield from self._directory(fd, path, names)
                if below is not None:
                    waiting += [(path, names), below]
            finally:
                os.close(fd)

    @staticmethod
    def _names(fd: int) -> list[bytes]:
        return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)

    def _directory(
        self, fd: int, path: bytes, names: list[bytes]
    ) -> Generator[Buffer, None, tuple[bytes, list[bytes]] | None]:
        """Write what is in a directory; returns the next one to go into, None at the end."""
        prefix = path + b"/" if path else b""
        while names:
            name = names.pop()
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            below = prefix + name
            if self._overlay and whiteout.is_device(status):
                self._writer.add_file(prefix + whiteout.PREFIX + name, b"", mode=0)
            elif stat.S_ISDIR(status.st_mode):
                inside = self._subdirectory(fd, name, below)
                if inside:
                    yield from self._take()
                    return below, inside
            elif stat.S_ISREG(status.st_mode):
                yield from self._file(fd, name, below)
            elif not stat.S_ISSOCK(status.st_mode):
                self._add_once(self._entry(below, status, fd, name), status)
            yield from self._take()
        return None

    def _subdirectory(self, parent: int, name: bytes, path: bytes) -> list[bytes]:
        """Write a directory's entry; returns the names in it."""
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except OSError as exc:
            if exc.errno in _VANISHED:
                return []
            raise
        try:
            status = os.fstat(fd)
            self._writer.add_header(self._entry(path + b"/", status, fd, b""))
            if self._overlay and self._is_opaque(fd):
                self._writer.add_file(path + b"/" + whiteout.OPAQUE, b"", mode=0)
            return self._names(fd) if status.st_dev == self._device else []
        finally:
            os.close(fd)

    @staticmethod
    def _is_opaque(fd: int) -> bool:
        try:
            return os.getxattr(fd, whiteout.OPAQUE_XATTR) == b"y"
        except OSError:
            return False  # no such attribute, or none at all

    def _add_once(self, entry: Entry, status: os.stat_result) -> bool:
        """Write the headers; a second name of an inode becomes a hard link (then False)."""
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), entry.name)
            if first is not entry.name:
                entry.kind, entry.link, entry.size, entry.payload_bytes = HARDLINK, first, 0, 0
                entry.segments = None
                entry.xattrs = {}
                self._writer.add_header(entry)
                return False
        self._writer.add_header(entry)
        return True

    def _file(self, parent: int, name: bytes, path: bytes) -> Iterator[Buffer]:
        fd = _open_file(parent, name)
        if fd is None:
            return
        try:
            status = os.fstat(fd)
            entry = self._entry(path, status, fd, b"")
            if status.st_size - status.st_blocks * 512 >= _MIN_HOLE_BYTES:
                entry.segments = _segments(fd, status.st_size)
                entry.payload_bytes = sum(length for _, length in entry.segments)
            if not self._add_once(entry, status):
                return
            yield from self._take()
            for offset, length in entry.segments or ((0, entry.size),):
                if not length:
                    continue
                os.lseek(fd, offset, os.SEEK_SET)
                while length:
                    piece = os.read(fd, min(length, _CHUNK_BYTES))
                    if not piece:
                        # It shrank while it was read: the header's promise is kept with zeros.
                        piece = bytes(min(length, _CHUNK_BYTES))
                    length -= len(piece)
                    yield piece
            self._writer.pad(entry.payload_bytes)
        finally:
            os.close(fd)

    def _entry(self, path: bytes, status: os.stat_result, fd: int, name: bytes) -> Entry:
        """fd, name: the file itself with an empty name, or its parent directory and its name."""
        mode = status.st_mode
        entry = Entry(
            path,
            _KINDS[stat.S_IFMT(mode)],
            mode=stat.S_IMODE(mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime_ns=status.st_mtime_ns,
        )
        if entry.kind == REGULAR:
            entry.size = entry.payload_bytes = status.st_size
        elif entry.kind == SYMLINK:
            entry.link = os.fsencode(os.readlink(name, dir_fd=fd))
        elif entry.kind in (CHARACTER, BLOCK):
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        where: int | bytes = b"/proc/self/fd/%d/%s" % (fd, name) if name else fd
        entry.xattrs = get_xattrs(where)
        return entry


_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFIFO: FIFO,
}


def _open_file(parent: int, name: bytes) -> int | None:
    """A regular file for reading; None if it has vanished or become something else.

    It is looked at before it is opened: to open a device that a running container has put in its
    place would already do something.
    """
    try:
        handle = os.open(name, _HANDLE, dir_fd=parent)
    except OSError as exc:
        if exc.errno in _VANISHED:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return os.open(f"/proc/self/fd/{handle}", _FILE)
    finally:
        os.close(handle)


def _segments(fd: int, size: int) -> list[tuple[int, int]]:
    """Where a file holds data (lseek(2), SEEK_DATA)."""
    segments = []
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            break  # ENXIO: only a hole is left
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if end > start:
            segments.append((start, end - start))
    return segments
