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
from jubako.linux.statfs import is_kernel_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    Buffer = bytes | memoryview

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 17  # files up to this size wait for others to be written with
VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # replaced while we looked
MIN_HOLE_BYTES = 1 << 20  # files with less than that in holes are written out


class TreeWalk:
    """What is in a tree, depth first with sorted names; an iterable of (entry, descriptor).

    root: an open directory, which stays the caller's.  prefix: what the entries' names begin with.
    overlay: the tree is the upper directory of an overlay: whiteouts and opaque directories are
    told as the image specification wants.
    leave_out: paths below the root that are not told; what is in such a directory is.
    across: enter other mounts too, but for the kernel's own file systems (`is_kernel_view`), which
    look like empty directories; else every mount looks like one.
    The descriptor is that of a regular file whose content is wanted, valid until the next step,
    else -1.  Hard links, devices, attributes and holes are told, sockets left out, as Docker does.
    However deep the tree is, one directory is open at a time.  Raises KernelError.
    """

    def __init__(
        self,
        root: int,
        *,
        prefix: bytes = b"",
        overlay: bool = False,
        across: bool = False,
        leave_out: frozenset[bytes] = frozenset(),
    ):
        self._root = root
        self._prefix = prefix
        self._overlay = overlay
        self._across = across
        self._leave_out = leave_out
        self._links: dict[tuple[int, int], bytes] = {}
        self._device = os.fstat(root).st_dev

    def __iter__(self) -> Iterator[tuple[Entry, int]]:
        waiting = [(b"", self._names(self._root))]
        while waiting:
            path, names = waiting.pop()
            try:
                fd = open_in_root(self._root, os.fsdecode(path) or ".", DIRECTORY_FLAGS)
            except KernelError as exc:
                if exc.errno in VANISHED:
                    continue  # the container may be running
                raise
            try:
                below = yield from self._directory(fd, path, names)
                if below is not None:
                    waiting += [(path, names), below]
            finally:
                os.close(fd)

    def top(self, name: bytes) -> Entry:
        """The entry of the root itself."""
        return entry_of(name, os.fstat(self._root), self._root, b"")

    def opaque(self, path: bytes = b"") -> Entry | None:
        """The mark of an opaque root directory, if it is one."""
        return _mark(path + whiteout.OPAQUE) if self._is_opaque(self._root) else None

    def single(self, parent: int, name: bytes, shown: bytes) -> Iterator[tuple[Entry, int]]:
        """The one file `name` of the open directory `parent`, which is no directory, as `shown`."""
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield from self._file(parent, name, shown)
        elif not stat.S_ISSOCK(status.st_mode):
            yield entry_of(shown, status, parent, name), -1

    @staticmethod
    def _names(fd: int) -> list[bytes]:
        return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)

    def _directory(
        self, fd: int, path: bytes, names: list[bytes]
    ) -> Generator[tuple[Entry, int], None, tuple[bytes, list[bytes]] | None]:
        """Tell what is in a directory; returns the next one to go into, None at the end."""
        below = path + b"/" if path else b""
        prefix = self._prefix + below
        while names:
            name = names.pop()
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            told = below + name not in self._leave_out
            if self._overlay and whiteout.is_device(status):
                yield _mark(prefix + whiteout.PREFIX + name), -1
            elif stat.S_ISDIR(status.st_mode):
                inside = yield from self._subdirectory(fd, name, prefix + name, told)
                if inside:
                    return below + name, inside
            elif not told:
                continue
            elif stat.S_ISREG(status.st_mode):
                yield from self._file(fd, name, prefix + name)
            elif not stat.S_ISSOCK(status.st_mode):
                entry = entry_of(prefix + name, status, fd, name)
                self._is_another_name(entry, status)
                yield entry, -1
        return None

    def _subdirectory(
        self, parent: int, name: bytes, path: bytes, told: bool
    ) -> Generator[tuple[Entry, int], None, list[bytes]]:
        """Tell a directory's entry; returns the names in it."""
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except OSError as exc:
            if exc.errno in VANISHED:
                return []
            raise
        try:
            status = os.fstat(fd)
            if told:
                yield entry_of(path + b"/", status, fd, b""), -1
            if self._overlay and self._is_opaque(fd):
                yield _mark(path + b"/" + whiteout.OPAQUE), -1
            return self._names(fd) if self._enters(fd, status) else []
        finally:
            os.close(fd)

    def _enters(self, fd: int, status: os.stat_result) -> bool:
        if status.st_dev == self._device:
            return True
        return self._across and not is_kernel_view(fd)

    @staticmethod
    def _is_opaque(fd: int) -> bool:
        try:
            return os.getxattr(fd, whiteout.OPAQUE_XATTR) == b"y"
        except OSError:
            return False  # no such attribute, or none at all

    def _is_another_name(self, entry: Entry, status: os.stat_result) -> bool:
        """Whether the inode was told before: then the entry becomes a hard link."""
        if status.st_nlink == 1:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), entry.name)
        if first is entry.name:
            return False
        become_hard_link(entry, first)
        return True

    def _file(self, parent: int, name: bytes, path: bytes) -> Iterator[tuple[Entry, int]]:
        fd = open_file(parent, name)
        if fd is None:
            return
        try:
            status = os.fstat(fd)
            if self._across and status.st_dev != self._device and is_kernel_view(fd):
                return
            entry = entry_of(path, status, fd, b"")
            if status.st_size - status.st_blocks * 512 >= MIN_HOLE_BYTES:
                entry.segments = segments(fd, status.st_size)
                entry.payload_bytes = sum(length for _, length in entry.segments)
            yield entry, -1 if self._is_another_name(entry, status) else fd
        finally:
            os.close(fd)


class TarStream:
    """Entries and their content as a tar: an iterable of buffers, readable like a file, a context
    manager.

    entries: as `TreeWalk` gives them.  A buffer is valid until the next step.  Equal trees give
    equal bytes.  Raises KernelError.
    """

    def __init__(self, entries: Iterator[tuple[Entry, int]]):
        self._entries = entries
        self._out: list[Buffer] = []
        self._writer = TarWriter(self._out.append)
        self._pending = 0  # bytes in _out, about
        self._rest = b""
        self._iterator: Iterator[Buffer] | None = None

    def __enter__(self) -> TarStream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open; idempotent."""
        for iterator in (self._iterator, self._entries):
            close = getattr(iterator, "close", None)
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
            for entry, fd in self._entries:
                self._writer.add_header(entry)
                if fd >= 0:
                    if entry.payload_bytes > _SMALL_BYTES:
                        yield self._take()
                        yield from content(fd, entry)
                    else:
                        self._out += content(fd, entry)
                        self._pending += entry.payload_bytes
                    self._writer.pad(entry.payload_bytes)
                self._pending += 512
                if self._pending > _SMALL_BYTES:
                    yield self._take()
            self._writer.close()
            yield self._take()
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("read", exc) from exc

    def _take(self) -> bytes:
        """What waits, in one piece: thousands of small files would be thousands of writes."""
        taken = b"".join(self._out)
        self._out.clear()
        self._pending = 0
        return taken


class TreeTar(TarStream):
    """The tar of a whole tree, without what is below another mount; see `TarStream`.

    tree: a path, or an open directory, which stays the caller's.  leave_out: as for `TreeWalk`.
    """

    def __init__(
        self,
        tree: str | int,
        *,
        overlay: bool = False,
        leave_out: frozenset[bytes] = frozenset(),
    ):
        super().__init__(_whole_tree(tree, overlay, leave_out))


def _whole_tree(
    tree: str | int, overlay: bool, leave_out: frozenset[bytes]
) -> Iterator[tuple[Entry, int]]:
    # a descriptor of the caller's may be one that nothing can be read through (O_PATH)
    if isinstance(tree, int):
        root = os.open(".", DIRECTORY_FLAGS, dir_fd=tree)
    else:
        root = os.open(tree, DIRECTORY_FLAGS)
    try:
        walk = TreeWalk(root, overlay=overlay, leave_out=leave_out)
        # no entry for the root: who unpacks it here wants no other owner and mode of this directory
        if overlay and (mark := walk.opaque()) is not None:
            yield mark, -1
        yield from walk
    finally:
        os.close(root)


def _mark(name: bytes) -> Entry:
    return Entry(name, mode=0)


def content(fd: int, entry: Entry) -> Iterator[Buffer]:
    for offset, length in entry.segments or ((0, entry.size),):
        while length:
            piece = os.pread(fd, min(length, _CHUNK_BYTES), offset)
            if not piece:
                # It shrank while it was read: the header's promise is kept with zeros.
                piece = bytes(min(length, _CHUNK_BYTES))
            offset += len(piece)
            length -= len(piece)
            yield piece


def become_hard_link(entry: Entry, first: bytes) -> None:
    """Make a file's entry another name of the file that was told as `first`."""
    entry.kind, entry.link, entry.size, entry.payload_bytes = HARDLINK, first, 0, 0
    entry.segments = None
    entry.xattrs = {}


def entry_of(path: bytes, status: os.stat_result, fd: int, name: bytes) -> Entry:
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


def open_file(parent: int, name: bytes) -> int | None:
    """A regular file for reading; None if it has vanished or become something else.

    It is looked at before it is opened: to open a device that a running container has put in its
    place would already do something.
    """
    try:
        handle = os.open(name, _HANDLE, dir_fd=parent)
    except OSError as exc:
        if exc.errno in VANISHED:
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return os.open(f"/proc/self/fd/{handle}", _FILE)
    finally:
        os.close(handle)


def segments(fd: int, size: int) -> list[tuple[int, int]]:
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
