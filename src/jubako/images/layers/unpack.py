"""Unpacking a layer's tar into a directory, whatever the archive tries.

Each entry is made by calls relative to a descriptor of its parent directory, which openat2 resolves
inside the layer's root, and never follows a link in the last component.  Absolute names and links
mean the image's root, as for Docker; a name with `..` that leads out of it is an error, and so is a
name that goes through a link to nothing.

Order for each file: owner, mode (chown clears setuid), attributes (chown clears
security.capability), times.  Directories get theirs last, because making what is in them changes
their times and a mode may lock out those who are not root.

Whiteouts are turned into overlayfs's form when all else is done, so that, whatever their order in
the archive, they hide lower layers only and never what this layer brings (image-spec layer.md).
"""

from __future__ import annotations

import array
import errno
import os
import stat

from jubako.errors import InvalidArgument, KernelError
from jubako.images.layers import whiteout
from jubako.images.layers.attributes import drop_default_acl, set_xattrs
from jubako.images.layers.members import (
    OPAQUE_MARK,
    ROOT_MARK,
    check_device,
    check_owner,
    check_root,
    hard_link_target,
    invalid_hard_link,
)
from jubako.images.layers.parents import Parents
from jubako.images.layers.paths import DIRECTORY_FLAGS, clean, walk
from jubako.images.layers.split import FILE_NAME, SplitWriter, rewrite
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    Limits,
    TarReader,
)
from jubako.linux.atomic import start_writing, write_all
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Buffer = bytes | memoryview

_MAX_KEPT_BYTES = 512 << 20  # of what must be remembered to the end: directories and whiteouts
_KEPT_OVERHEAD = 400  # of each directory, in Python's objects
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHADOWED = "shadowed"
_EARLY_BYTES = 1 << 18  # the disk is told of such a file at once, while more arrives


def unpack(buffers: Iterable[Buffer], directory: str, limits: Limits | None = None) -> int:
    """Unpack an archive into the empty directory `directory`; returns the layer's size in bytes.

    It then holds `diff`, the tree in overlayfs's form, `split`, the recipe of the archive, and the
    marks.  The size is that of regular files and link targets, as Docker counts.  `buffers` is read
    to its end.  After an error the content of `directory` is of no use, and nothing outside has
    been touched.  Raises InvalidArgument (hostile or malformed archive), KernelError.
    """
    with SplitWriter(f"{directory}/{FILE_NAME}") as split:
        unpacker = _Unpacker(directory, split, limits or Limits())
        try:
            reader = TarReader(buffers, limits=limits, on_raw=split.raw)
            unpacker.run(reader)
            reader.drain()
            split.finish()
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise _kernel_error(exc, unpacker.current) from exc
        finally:
            unpacker.close()
    if unpacker.shadowed:
        unpacker.relocate()
    return unpacker.size


def _kernel_error(exc: OSError, current: bytes) -> KernelError:
    path = os.fsdecode(current) or None
    hint = None
    if exc.errno == errno.ENOSPC:
        hint = "free some disk space: jubako image prune"
    return KernelError("unpack", exc.errno or 0, path=path, hint=hint)


class _Unpacker:
    def __init__(self, directory: str, split: SplitWriter, limits: Limits):
        self._directory = directory
        self._split = split
        self._kept_bytes = 0
        self._owner = (os.geteuid(), os.getegid())  # what new files get by themselves
        self._top = f"{directory}/diff"
        os.mkdir(self._top, 0o755)
        drop_default_acl(self._top)
        self._root = os.open(self._top, DIRECTORY_FLAGS)
        self._real_top = os.readlink(b"/proc/self/fd/%d" % self._root)
        if self._owner[0] == 0:
            os.fchown(self._root, 0, 0)
        os.fchmod(self._root, 0o755)
        self._parents = Parents(self._root, limits.max_entries)
        self._directories: dict[bytes, Entry] = {}
        self._whiteouts = whiteout.Whiteouts(self._keep)
        self._inodes = array.array("Q")  # of the file of each payload in `split`
        self.shadowed = 0
        self.size = 0
        self.current = b""

    def close(self) -> None:
        self._parents.close()
        os.close(self._root)

    # --- the archive -----------------------------------------------------------------------------

    def run(self, reader: TarReader) -> None:
        for entry in reader:
            self.current = name = entry.name
            path = clean(name, name)
            parent_path, _, base = path.rpartition(b"/")
            if whiteout.concerns(path, base):
                self._whiteouts.add(path)
                self._to_split(reader)
                continue
            if not path:
                check_root(entry)
                self._keep_directory(b"", entry)
                continue
            check_owner(entry, path)
            parent = self._parents.get(parent_path)
            kind = entry.kind
            if kind == REGULAR:
                self._file(reader, entry, path, parent, base)
            elif kind == DIRECTORY:
                self._make_directory(entry, path, parent, base)
            elif kind == SYMLINK:
                self._symlink(entry, path, parent, base)
            elif kind == HARDLINK:
                self._hard_link(entry, path, parent, base)
            else:
                self._device(entry, parent, base)
        self.current = b""
        self._finish()

    def _to_split(self, reader: TarReader) -> None:
        for piece in reader.payload():
            self._split.raw(piece)

    def _file(self, reader: TarReader, entry: Entry, path: bytes, parent: int, base: bytes) -> None:
        mode = entry.mode & 0o777  # nobody else gets to the directory before it is published
        try:
            fd = os.open(base, _NEW_FILE, mode, dir_fd=parent)
        except FileExistsError:
            self._replace(path, parent, base)
            fd = os.open(base, _NEW_FILE, mode, dir_fd=parent)
        try:
            if entry.segments is not None:
                self._sparse_content(reader, entry, fd)
            else:
                for piece in reader.payload():
                    written = os.write(fd, piece)
                    if written != len(piece):
                        write_all(fd, piece[written:])  # the error that follows a short write
            self.size += entry.size
            if (entry.uid, entry.gid) != self._owner:
                os.fchown(fd, entry.uid, entry.gid)
            status = os.fstat(fd)
            if stat.S_IMODE(status.st_mode) != entry.mode:
                os.fchmod(fd, entry.mode)
            if entry.xattrs:
                set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            if entry.payload_bytes:
                self._inodes.append(status.st_ino)
                self._split.payload(path, entry.payload_bytes, entry.segments)
            if entry.payload_bytes >= _EARLY_BYTES:
                start_writing(fd, 0, entry.size)
        finally:
            os.close(fd)

    def _sparse_content(self, reader: TarReader, entry: Entry, fd: int) -> None:
        os.ftruncate(fd, entry.size)
        segments = iter(entry.segments or ())
        offset = left = 0
        for piece in reader.payload():
            while piece:
                if not left:
                    offset, left = next(segments)
                count = os.pwrite(fd, piece[:left], offset)
                offset += count
                left -= count
                piece = piece[count:]

    def _make_directory(self, entry: Entry, path: bytes, parent: int, base: bytes) -> None:
        try:
            os.mkdir(base, 0o700, dir_fd=parent)
        except FileExistsError:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._replace(path, parent, base)
                os.mkdir(base, 0o700, dir_fd=parent)
        self._keep_directory(self._real_path(path, parent, base), entry)

    def _real_path(self, path: bytes, parent: int, base: bytes) -> bytes:
        """The path of what is in an open directory, by no link: links may be replaced later.

        As the archive names it if it is longer than the kernel tells.
        """
        try:
            where = os.readlink(b"/proc/self/fd/%d" % parent)
        except OSError as exc:
            if exc.errno != errno.ENAMETOOLONG:
                raise
            return path
        return (where[len(self._real_top) :] + b"/" + base)[1:]

    def _keep_directory(self, path: bytes, entry: Entry) -> None:
        self._keep(
            _KEPT_OVERHEAD
            + len(path)
            + sum(len(key) + len(value) for key, value in entry.xattrs.items())
        )
        entry.name = path  # one copy is enough
        self._directories[path] = entry

    def _keep(self, size: int) -> None:
        self._kept_bytes += size
        if self._kept_bytes > _MAX_KEPT_BYTES:
            raise InvalidArgument(
                f"the names of the archive's directories take more than {_MAX_KEPT_BYTES} bytes"
            )

    def _symlink(self, entry: Entry, path: bytes, parent: int, base: bytes) -> None:
        target = entry.link
        try:
            os.symlink(target, base, dir_fd=parent)
        except FileExistsError:
            self._replace(path, parent, base)
            os.symlink(target, base, dir_fd=parent)
        self.size += len(target)
        self._set_owner_and_times(entry, parent, base)

    def _hard_link(self, entry: Entry, path: bytes, parent: int, base: bytes) -> None:
        target = hard_link_target(entry, path)
        if target == path:
            return  # GNU tar writes this when a file is named twice on its command line
        target_parent, _, target_base = target.rpartition(b"/")
        try:
            source = self._parents.get(target_parent, make=False)
            parent = self._parents.get(
                path.rpartition(b"/")[0]
            )  # the line above may have closed it
            try:
                os.link(
                    target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
                )
            except FileExistsError:
                here = os.stat(base, dir_fd=parent, follow_symlinks=False)
                there = os.stat(target_base, dir_fd=source, follow_symlinks=False)
                if (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev):
                    return
                self._replace(path, parent, base)
                source = self._parents.get(target_parent, make=False)
                parent = self._parents.get(path.rpartition(b"/")[0])
                os.link(
                    target_base, base, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
                )
        except OSError as exc:
            if exc.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.ELOOP):
                raise
            raise invalid_hard_link(entry, path, os.strerror(exc.errno)) from exc

    def _device(self, entry: Entry, parent: int, base: bytes) -> None:
        mode = {CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.kind]
        check_device(entry)
        device = 0 if entry.kind == FIFO else os.makedev(entry.major, entry.minor)
        try:
            os.mknod(base, mode | 0o600, device, dir_fd=parent)
        except FileExistsError:
            self._replace(clean(entry.name, entry.name), parent, base)
            os.mknod(base, mode | 0o600, device, dir_fd=parent)
        self._set_owner_and_times(entry, parent, base)

    def _set_owner_and_times(self, entry: Entry, parent: int, base: bytes) -> None:
        if (entry.uid, entry.gid) != self._owner:
            os.chown(base, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != SYMLINK:
            os.chmod(base, entry.mode, dir_fd=parent)  # we made it: it is no link
        if entry.xattrs:
            set_xattrs(b"/proc/self/fd/%d/%s" % (parent, base), entry)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(base, ns=times, dir_fd=parent, follow_symlinks=False)

    # --- the same name twice ----------------------------------------------------------------------

    def _replace(self, path: bytes, parent: int, base: bytes) -> None:
        """Make room for a second entry of the same name.

        Files whose content is part of the archive move to `shadowed`: the recipe needs them.
        """
        status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory or stat.S_ISREG(status.st_mode):
            self._shadow(path, parent, base, is_directory)
        else:
            os.unlink(base, dir_fd=parent)
            if stat.S_ISLNK(status.st_mode):
                self.shadowed = self.shadowed or 1  # paths of the recipe may lead through it
        if not stat.S_ISREG(status.st_mode):
            self._parents.replaced(keep=parent)

    def _shadow(self, path: bytes, parent: int, base: bytes, is_directory: bool) -> None:
        directory = f"{self._directory}/{_SHADOWED}"
        if not os.path.isdir(directory):
            os.mkdir(directory, 0o700)
            self.shadowed = self.shadowed or 1
        new = f"{directory}/{self.shadowed}"
        os.rename(base, new.encode(), src_dir_fd=parent)
        self.shadowed += 1
        if is_directory:
            path = self._real_path(path, parent, base)
            self._directories.pop(path, None)
            fd = os.open(new, DIRECTORY_FLAGS)
            try:
                for below, status in walk(fd):
                    if stat.S_ISDIR(status.st_mode):
                        self._directories.pop(path + b"/" + below, None)
            finally:
                os.close(fd)

    def relocate(self) -> None:
        """After replacements: give each payload of the recipe the place where it is in the end."""
        places: dict[int, bytes] = {}
        self.size = 0
        for mark, name in ((b"", "diff"), (b"\0", _SHADOWED)):
            top = f"{self._directory}/{name}"
            if not os.path.isdir(top):
                continue
            fd = os.open(top, DIRECTORY_FLAGS)
            try:
                for path, status in walk(fd):
                    kind = stat.S_IFMT(status.st_mode)
                    if status.st_ino in places or kind not in (stat.S_IFREG, stat.S_IFLNK):
                        continue
                    places[status.st_ino] = mark + path
                    if not mark:
                        self.size += status.st_size
            finally:
                os.close(fd)
        inodes = self._inodes
        rewrite(f"{self._directory}/{FILE_NAME}", lambda number, _: places[inodes[number]])

    # --- at the end ------------------------------------------------------------------------------

    def _finish(self) -> None:
        for parent_path, name in self._whiteouts.hidden():
            self._apply_whiteout(parent_path, name)
        for path in self._whiteouts.opaque():
            if not path:
                # The kernel merges the roots of all layers whatever their attributes say.
                self._mark(OPAQUE_MARK)
                continue
            try:
                self._set_opaque(self._parents.get(path))
            except KernelError as exc:
                if exc.errno != errno.ENOTDIR:  # a file of this layer hides the directory anyway
                    raise
        self._parents.close()
        if b"" in self._directories:
            self._mark(ROOT_MARK)
        for path in sorted(self._directories, reverse=True):
            self._finish_directory(path, self._directories[path])

    def _apply_whiteout(self, parent_path: bytes, name: bytes) -> None:
        try:
            parent = self._parents.get(parent_path)
        except KernelError as exc:
            if exc.errno == errno.ENOTDIR:
                return  # as above
            raise
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            # This layer brings it: if it is a directory, what lower layers had in it is gone.
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    self._set_opaque(fd)
                finally:
                    os.close(fd)

    @staticmethod
    def _set_opaque(fd: int) -> None:
        os.setxattr(f"/proc/self/fd/{fd}", whiteout.OPAQUE_XATTR, b"y")

    def _mark(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        os.close(os.open(f"{self._directory}/{name}", flags, 0o600))

    def _finish_directory(self, path: bytes, entry: Entry) -> None:
        try:
            fd = open_in_root(self._root, os.fsdecode(path) or ".", DIRECTORY_FLAGS)
        except KernelError as exc:
            if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return  # something else has taken its place
            raise
        try:
            check_owner(entry, path)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            if entry.xattrs:
                set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)
