"""Copy-up: what an image has at a volume's place becomes the volume's first content.

The source is an image's tree: it may hold any link, device or mode.  The destination may belong to
containers that run and change it meanwhile.  So both sides are entered by descriptor and no link is
followed (`tree.open_below`), files appear under their name only when they are complete, and nothing
that is there is replaced.

A marker beside `_data` says that a copy is under way.  A crash leaves it: the next copy then goes
on, although the volume is no longer empty, and adds what is missing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from jubako.errors import KernelError
from jubako.linux import atomic
from jubako.linux.copyfile import copy_data
from jubako.store import point
from jubako.volumes import tree

_MARKER = "filling"
# overlayfs keeps its own marks in these; they mean nothing outside a layer
_OWN_XATTRS = ("trusted.overlay.", "user.overlay.")
_UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EPERM)


def fill(source_fd: int, data_path: str, *, keep_owner: bool = False) -> bool:
    """Copy the tree at `source_fd` into the volume at `data_path` (`.../<name>/_data`).

    Nothing happens if the volume has content.  The volume's own owner, mode and attributes become
    those of the source's root, also when there is nothing to copy, unless `keep_owner`.  Only one
    process fills a volume at a time; what was copied is on the disk when this returns.
    Returns whether anything was copied.  Raises KernelError; what is copied so far stays, and the
    next call goes on with it.
    """
    parent = os.path.dirname(data_path)
    parent_fd = _open(parent)
    try:
        fcntl.flock(parent_fd, fcntl.LOCK_EX)  # released with the descriptor, also by a crash
        target_fd = _open(data_path)
        try:
            return _fill(source_fd, target_fd, parent_fd, data_path, keep_owner)
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("copy into volume", exc, path=data_path) from exc
        finally:
            os.close(target_fd)
    finally:
        os.close(parent_fd)


def _fill(source_fd: int, target_fd: int, parent_fd: int, data_path: str, keep_owner: bool) -> bool:
    if os.listdir(target_fd) and not _exists(parent_fd, _MARKER):
        return False
    root = os.fstat(source_fd)
    empty = not os.listdir(source_fd)
    if not empty:
        flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(_MARKER, flags, 0o600, dir_fd=parent_fd))
        point("volumes.fill.marked")
        _copy_tree(source_fd, target_fd)
    if not keep_owner:
        _copy_attributes(source_fd, target_fd, root)
    if not empty:
        atomic.syncfs(data_path)
        os.unlink(_MARKER, dir_fd=parent_fd)
    return not empty


def _copy_tree(source_fd: int, target_fd: int) -> None:
    """Everything below the source; directories get their attributes last, the deepest first."""
    links: dict[tuple[int, int], str] = {}
    directories: list[tuple[str, os.stat_result]] = []
    for path, fd, entries in tree.walk(source_fd):
        into = tree.open_below(target_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, status in entries:
                inside = f"{path}/{name}" if path else name
                if stat.S_ISDIR(status.st_mode):
                    _make_directory(into, name)
                    directories.append((inside, status))
                elif status.st_nlink > 1:
                    _copy_linked(fd, into, name, status, inside, links, target_fd)
                else:
                    _copy_one(fd, into, name, status)
        finally:
            os.close(into)
    for path, status in reversed(directories):
        into = tree.open_below(target_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            origin = tree.open_below(source_fd, path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _copy_attributes(origin, into, status)
            finally:
                os.close(origin)
        finally:
            os.close(into)


def _copy_linked(
    fd: int,
    into: int,
    name: str,
    status: os.stat_result,
    inside: str,
    links: dict[tuple[int, int], str],
    target_fd: int,
) -> None:
    """One of several names of a file: the first is copied, the others become links to it."""
    key = (status.st_dev, status.st_ino)
    first = links.setdefault(key, inside)
    if first != inside:
        parent, _, last = first.rpartition("/")
        origin = tree.open_below(target_fd, parent, os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(last, name, src_dir_fd=origin, dst_dir_fd=into, follow_symlinks=False)
            return
        except FileExistsError:
            return
        except FileNotFoundError:
            pass  # somebody removed the first name meanwhile: a copy of its own then
        finally:
            os.close(origin)
    _copy_one(fd, into, name, status)


def _copy_one(fd: int, into: int, name: str, status: os.stat_result) -> None:
    """A file that is no directory; one that is there already is left alone."""
    try:
        if stat.S_ISREG(status.st_mode):
            _copy_file(fd, into, name)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=fd), name, dir_fd=into)
            _name_attributes(into, name, status)
        else:
            # the mode comes with the creation: a later chmod would follow a link put there
            mask = os.umask(0)
            try:
                os.mknod(name, status.st_mode, status.st_rdev, dir_fd=into)
            finally:
                os.umask(mask)
            _name_attributes(into, name, status)
    except FileExistsError:
        pass


def _copy_file(fd: int, into: int, name: str) -> None:
    """Content first, attributes then, the name last."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    source = os.open(name, flags, dir_fd=fd)
    try:
        status = os.fstat(source)
        target, temporary = _unnamed_file(into)
        try:
            copy_data(source, target, status.st_size)
            _copy_attributes(source, target, status)
            if temporary is None:
                path = f"/proc/self/fd/{target}"
                os.link(path, name, dst_dir_fd=into, follow_symlinks=True)
            else:
                os.link(temporary, name, src_dir_fd=into, dst_dir_fd=into, follow_symlinks=False)
        finally:
            os.close(target)
            if temporary is not None:
                os.unlink(temporary, dir_fd=into)
    finally:
        os.close(source)


def _unnamed_file(into: int) -> tuple[int, str | None]:
    """A new file in a directory: without a name, or where that is not possible, a hidden one."""
    try:
        flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
        return os.open(".", flags, 0o600, dir_fd=into), None
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    name = f".filling-{os.urandom(8).hex()}"
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=into), name


def _make_directory(into: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=into)
    except FileExistsError:
        pass


def _copy_attributes(source: int, target: int, status: os.stat_result) -> None:
    """By descriptor: owner, mode, extended attributes, times, in the order that keeps them all."""
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))  # after chown, which clears setuid
    _copy_xattrs(source, target)  # after chown, which clears security.capability
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_xattrs(source: int, target: int) -> None:
    try:
        names = os.listxattr(source)
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            return
        raise
    for name in names:
        if name.startswith(_OWN_XATTRS):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as exc:
            if exc.errno not in (*_UNSUPPORTED, errno.ENODATA):
                raise


def _name_attributes(into: int, name: str, status: os.stat_result) -> None:
    """For what cannot be opened: links, devices, pipes, sockets."""
    os.chown(name, status.st_uid, status.st_gid, dir_fd=into, follow_symlinks=False)
    os.utime(
        name,
        ns=(status.st_atime_ns, status.st_mtime_ns),
        dir_fd=into,
        follow_symlinks=False,
    )


def _exists(dir_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return True
    except FileNotFoundError:
        return False


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
