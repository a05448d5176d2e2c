"""Paths that never leave a root: openat2(2), and the same by hand where it is missing.

A path of a container is untrusted: any component may be a symbolic link, and may become one while
it is looked at.  `open_in_root` and its kin start at a descriptor of the root, treat `/` and `..`
as chroot would, follow no magic link, and hand out descriptors rather than names.

The kernel refuses with EAGAIN when a rename interferes (repeated here), with ENOSYS before 5.6 and
with EPERM under some seccomp profiles; then `_walk` goes component by component.  It never asks the
kernel for `..` but returns to a descriptor it already holds, so a concurrent rename cannot lead it
out either.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux._libc import encode, get_errno, syscall
from jubako.linux.shell import quote
from jubako.linux.statfs import PROC_SUPER_MAGIC, SYSFS_MAGIC, filesystem_type
from jubako.linux.trace import traced

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

MAX_LINKS = 40  # as the kernel: ELOOP after these
EAGAIN_TRIES = 64
_NO_FILES = (PROC_SUPER_MAGIC, SYSFS_MAGIC)  # every file there is a view of the kernel

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CREATING = os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY

_openat2 = syscall("openat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_missing = False  # True once the kernel has said ENOSYS


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec always.  Raises KernelError; repeats after EINTR only."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    name = encode(path)
    while True:
        fd = _openat2(dirfd, name, how, 24)
        if fd >= 0:
            return fd
        number = get_errno()
        if number != errno.EINTR:
            raise KernelError("open", number, path=path)


def open_in_root(rootfd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as a process would whose root directory is `rootfd`.

    flags: of open(2); O_CLOEXEC is added.  mode: of a new file, less the umask.
    Raises KernelError: ENOENT, ELOOP, EXDEV (a magic link), ENOTDIR...
    """
    global _missing
    name = encode(path or ".")
    if not flags & _CREATING:
        mode = 0  # openat2 is strict: EINVAL for a mode without a file to make
    if not _missing:
        how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT)
        for _ in range(EAGAIN_TRIES):
            fd = _openat2(rootfd, name, how, 24)
            if fd >= 0:
                return fd
            number = get_errno()
            if number == errno.ENOSYS:
                _missing = True
            elif number not in (errno.EAGAIN, errno.EINTR, errno.EPERM, errno.EINVAL):
                raise KernelError("open", number, path=path)
            if number not in (errno.EAGAIN, errno.EINTR):
                break
    return _walk(rootfd, path, flags | os.O_CLOEXEC, mode, None)


def mkdir_in_root(rootfd: int, path: str, mode: int = 0o755) -> int:
    """`mkdir -p` inside the root; returns an O_PATH descriptor of the directory.

    mode: of each directory that is made, less the umask.  Links are followed inside the root, also
    to what does not exist yet.  Idempotent and safe beside others who do the same.
    Raises KernelError (ENOTDIR, EROFS...).
    """
    try:
        return open_in_root(rootfd, path, _DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    return _walk(rootfd, path, _DIRECTORY, 0, mode)


@traced(
    lambda dirfd, name, mode, *, why="": f"mkdir {quote(f'{trace.place(dirfd)}/{name}')}",
    op="mkdir",
    facts=lambda dirfd, name, mode, *, why="": {"path": f"{trace.place(dirfd)}/{name}"},
)
def mkdirat(dirfd: int, name: str, mode: int, *, why: str = "") -> None:
    """mkdirat(2).  Raises OSError."""
    os.mkdir(name, mode, dir_fd=dirfd)


def open_parent(rootfd: int, path: str) -> tuple[int, str]:
    """An O_PATH descriptor of the directory that holds `path`, and the last name in it.

    The last component is not looked at: use it with dirfd calls that follow no link.
    Raises KernelError (EINVAL: the path has no last name: empty, `/`, or ends in `.` or `..`).
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise KernelError("open parent", errno.EINVAL, path=path)
    return open_in_root(rootfd, parent or ".", _DIRECTORY), name


def open_file_in_root(rootfd: int, path: str) -> int:
    """Open a regular file for reading, of a file system that holds files.

    Devices, pipes and sockets are not even opened, nor what only looks like a file: reading
    /proc/kmsg takes the kernel's messages away from the host and then waits for more.
    Raises KernelError: ENOENT..., EINVAL (not a regular file).
    """
    handle = open_in_root(rootfd, path, os.O_PATH)
    try:
        regular = stat.S_ISREG(os.fstat(handle).st_mode)
        if not regular or filesystem_type(handle) in _NO_FILES:
            raise KernelError("read", errno.EINVAL, path=path, detail="not a regular file")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        return os.open(f"/proc/self/fd/{handle}", flags)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("open", error, path=path) from error
    finally:
        os.close(handle)


def read_in_root(rootfd: int, path: str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises KernelError: ENOENT..., EINVAL (not a regular file), EFBIG (more than `limit`).
    """
    fd = open_file_in_root(rootfd, path)
    try:
        chunks: list[bytes] = []
        left = limit + 1
        while left > 0:
            chunk = os.read(fd, min(left, 1 << 20))
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            left -= len(chunk)
        raise KernelError("read", errno.EFBIG, path=path, detail=f"more than {limit} bytes")
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("read", error, path=path) from error
    finally:
        os.close(fd)


def _walk(rootfd: int, path: str, flags: int, mode: int, make: int | None) -> int:
    """Resolve by hand.  make: mode of missing directories, None to fail with ENOENT."""
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    trailing = path.endswith(("/", "/.")) and bool(todo)
    stack = [os.dup(rootfd)]  # the directories from the root to here
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            here = stack[-1]
            last = not todo
            directory = trailing or bool(flags & os.O_DIRECTORY) or make is not None
            follow = not (
                last
                and not trailing
                and (flags & os.O_NOFOLLOW or flags & os.O_EXCL and flags & os.O_CREAT)
            )
            target = _link(here, name) if follow else None
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise KernelError("open", errno.ELOOP, path=path)
                if last and target.endswith("/"):
                    trailing = True
                if target.startswith("/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
                continue
            if last and make is None:
                # O_NOFOLLOW: should it become a link after the look above, the answer is ELOOP.
                extra = os.O_DIRECTORY if directory else 0
                return os.open(name, flags | extra | os.O_NOFOLLOW, mode, dir_fd=here)
            stack.append(_step(here, name, make))
        if make is None and flags & os.O_CREAT:
            raise KernelError("open", errno.EISDIR, path=path)
        return os.open(".", flags, mode, dir_fd=stack[-1])
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("open", error, path=path) from error
    finally:
        for fd in stack:
            os.close(fd)


def _link(dirfd: int, name: str) -> str | None:
    """The target if `name` is a symbolic link; None for anything else and for nothing."""
    try:
        return os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def _step(dirfd: int, name: str, make: int | None) -> int:
    flags = _DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=dirfd)
    except FileNotFoundError:
        if make is None:
            raise
    try:
        mkdirat(dirfd, name, make, why="a place for what is put there, or below")
    except FileExistsError:
        pass  # somebody else was faster; what it is shows below
    return os.open(name, flags, dir_fd=dirfd)
