"""Entries become files below a directory that others may be changing meanwhile.

The rules are those of Docker's `archive.Untar` with NoOverwriteDirNonDir: what is there makes room,
but a directory never for something else nor the other way round; a directory that is there gets
owner and mode of the one that comes.  Each entry is made by calls relative to a descriptor of its
directory, which openat2 resolves inside the root, and no link is followed in the last component.

    nothing there      made under its name, removed again if its content cannot be written
    something there    made under a name of its own beside it, then renamed over it
"""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import InvalidArgument, KernelError, PermissionDenied
from jubako.golang.quote import quote
from jubako.images.layers.attributes import set_xattrs
from jubako.images.layers.parents import Parents
from jubako.images.layers.paths import clean
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
)
from jubako.linux.atomic import write_all
from jubako.linux.copyfile import copy_data
from jubako.linux.openat2 import RESOLVE_NO_XDEV, openat2
from jubako.linux.statfs import is_kernel_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.images.tar import Entry

    Buffer = bytes | memoryview

_MAX_IMPLIED = 1_000_000  # directories that an archive may use without an entry for them
_MAX_ID = (1 << 32) - 2  # the next one means "leave it" to chown(2)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class Placer:
    """Makes files below one directory.

        placer = Placer(root, "w/target", shown="/w/target", owners=True)
        try:
            placer.place(entry, content)     # any number of times, parents first
            placer.finish()
        finally:
            placer.close()

    root: a descriptor that nothing leads out of.  directory: a path below it, "" for itself.
    shown: that directory in error texts.  owners: give files the owners of their entries; else they
    belong to who makes them.
    """

    def __init__(self, root: int, directory: str, *, shown: str, owners: bool):
        base = os.fsencode(directory).strip(b"/")
        check = self._refuse_views
        self._parents = Parents(root, _MAX_IMPLIED, base=base + b"/" if base else b"", check=check)
        self._shown = shown
        self._owners = owners
        self._times: list[tuple[bytes, int]] = []
        self.size_bytes = 1024  # of a tar of all this: its end, and a header for each entry

    def close(self) -> None:
        self._parents.close()

    def place(self, entry: Entry, content: int | Iterable[Buffer]) -> None:
        """Make one entry.

        content: of a regular file, a descriptor of a file to copy, or its bytes in pieces (of a
        sparse file those of its segments).
        Raises InvalidArgument (a directory meets something else, a name that leads out),
        KernelError; then nothing of this entry is there.
        """
        path = clean(entry.name, entry.name)
        self.size_bytes += 512 + entry.payload_bytes + -entry.payload_bytes % 512
        if not path:
            return  # the directory itself, which keeps what it has
        try:
            self._place(entry, path, content)
        except OSError as exc:
            if isinstance(exc, KernelError) and exc.hint:
                raise
            raise KernelError.from_oserror("copy", exc, path=self._name(path)) from exc

    def finish(self) -> None:
        """Directories get their times last: what was made in them has changed them."""
        for path, mtime_ns in reversed(self._times):
            try:
                fd = self._parents.get(path, make=False)
                os.utime(f"/proc/self/fd/{fd}", ns=(mtime_ns, mtime_ns))
            except OSError:
                continue  # somebody removed it meanwhile
        self._times.clear()

    def _place(self, entry: Entry, path: bytes, content: int | Iterable[Buffer]) -> None:
        origin = self._link_origin(entry) if entry.kind == HARDLINK else None
        try:
            parent_path, _, base = path.rpartition(b"/")
            parent = self._parents.get(parent_path)
            there = _type(parent, base)
            if entry.kind == DIRECTORY:
                if there not in (0, stat.S_IFDIR):
                    raise self._clash("non-directory", path, "directory")
                self._directory(entry, path, parent, base, new=not there)
                return
            if there == stat.S_IFDIR:
                raise self._clash("directory", path, "non-directory")
            if there:
                self._refuse_mount(parent, base, path)
            name = b".new-" + os.urandom(8).hex().encode() if there else base
            try:
                if origin is not None:
                    fd, old = origin
                    os.link(old, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
                elif entry.kind == REGULAR:
                    self._file(entry, parent, name, content)
                else:
                    self._special(entry, parent, name)
                if there:
                    os.rename(name, base, src_dir_fd=parent, dst_dir_fd=parent)
                    if origin is not None:
                        _unlink(parent, name)  # rename(2) does nothing to two names of one file
            except BaseException as exc:
                if not isinstance(exc, FileExistsError):  # that one is somebody else's
                    _unlink(parent, name)
                raise
            if there == stat.S_IFLNK:
                self._parents.replaced(keep=parent)
        finally:
            if origin is not None:
                os.close(origin[0])

    def _link_origin(self, entry: Entry) -> tuple[int, bytes]:
        """The directory, the caller's to close, and the name of what a hard link is to name too."""
        target = clean(entry.link, entry.name)
        if not target:
            raise InvalidArgument(f"invalid hard link {os.fsdecode(entry.name)!r}")
        parent, _, base = target.rpartition(b"/")
        return os.dup(self._parents.get(parent, make=False)), base

    def _clash(self, old: str, path: bytes, new: str) -> InvalidArgument:
        shown = self._name(path)
        text = f"cannot overwrite {old} {quote(shown)} with {new} {quote(self._shown)}"
        return InvalidArgument(text, subject=shown)

    def _name(self, path: bytes) -> str:
        return f"{self._shown.rstrip('/')}/{os.fsdecode(path)}"

    def _directory(self, entry: Entry, path: bytes, parent: int, base: bytes, *, new: bool) -> None:
        if new:
            os.mkdir(base, 0o700, dir_fd=parent)
        fd = os.open(base, _DIRECTORY, dir_fd=parent)
        try:
            self._refuse_views(fd)
            self._attributes(entry, fd)
        finally:
            os.close(fd)
        self._times.append((path, entry.mtime_ns))

    def _file(
        self, entry: Entry, parent: int, name: bytes, content: int | Iterable[Buffer]
    ) -> None:
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            if isinstance(content, int):
                copy_data(content, fd, entry.size)
            elif entry.segments is not None:
                _write_sparse(entry, fd, content)
            else:
                for piece in content:
                    write_all(fd, piece)
            self._attributes(entry, fd)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _attributes(self, entry: Entry, fd: int) -> None:
        """Owner, mode, attributes: chown clears setuid and security.capability."""
        if self._owners:
            os.fchown(fd, *_owner(entry))
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            set_xattrs(fd, entry)

    def _special(self, entry: Entry, parent: int, name: bytes) -> None:
        """A link, a device or a pipe."""
        if entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
        else:
            device = 0 if entry.kind == FIFO else os.makedev(entry.major, entry.minor)
            os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=parent)
        if self._owners:
            os.chown(name, *_owner(entry), dir_fd=parent, follow_symlinks=False)
        if entry.kind != SYMLINK:
            _chmod(parent, name, entry.mode)
        if entry.xattrs:
            set_xattrs(b"/proc/self/fd/%d/%s" % (parent, name), entry)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)

    def _refuse_mount(self, parent: int, base: bytes, path: bytes) -> None:
        """A file that is a mount, as /etc/hosts is, is never replaced.

        The kernel would only refuse that in the container's own mount namespace; from here the
        rename would take the mount away from the container.
        """
        try:
            os.close(openat2(parent, os.fsdecode(base), _LOOK, resolve=RESOLVE_NO_XDEV))
            return
        except KernelError as exc:
            if exc.errno == errno.ENOENT:
                return  # somebody has just removed it
            if exc.errno not in (errno.EXDEV, errno.ENOSYS, errno.EPERM):
                raise
            mounted = exc.errno == errno.EXDEV
        if not mounted:  # without openat2, before Linux 5.6
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
            mounted = status.st_dev != os.fstat(parent).st_dev
        if mounted:
            hint = "something is mounted there"
            raise KernelError("replace", errno.EBUSY, path=self._name(path), hint=hint)

    def _refuse_views(self, fd: int) -> None:
        if is_kernel_view(fd):
            raise PermissionDenied(
                f"copy to {self._shown}: a view of the kernel, such as /proc, takes no files",
                subject=self._shown,
            )


def _type(parent: int, base: bytes) -> int:
    """The type of what has this name, 0 for nothing."""
    try:
        return stat.S_IFMT(os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0


def _owner(entry: Entry) -> tuple[int, int]:
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        name = os.fsdecode(entry.name)
        raise InvalidArgument(f"{name!r}: owner {entry.uid}:{entry.gid} is out of range")
    return entry.uid, entry.gid


def _chmod(parent: int, name: bytes, mode: int) -> None:
    """By descriptor: chmod(2) would follow a link put in the place of what was made."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _write_sparse(entry: Entry, fd: int, pieces: Iterable[Buffer]) -> None:
    os.ftruncate(fd, entry.size)
    segments = iter(entry.segments or ())
    offset = left = 0
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            if not left:
                offset, left = next(segments)
            count = os.pwrite(fd, rest[:left], offset)
            offset += count
            left -= count
            rest = rest[count:]


def _unlink(parent: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except OSError:
        pass  # it was not made, or somebody removed it
