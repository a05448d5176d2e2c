"""Files that appear complete or not at all.

A state file is written beside its place under a hidden name, made durable, renamed, and then its
directory is made durable, so that after a crash either the old or the new content is there.
"""

from __future__ import annotations

import ctypes
import itertools
import os

from jubako.errors import KernelError
from jubako.linux._libc import check, encode, function, syscall

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
AT_FDCWD = -100

_renameat2 = syscall(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_syncfs = function("syncfs", ctypes.c_int)
_sync_file_range = function(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)
_SYNC_FILE_RANGE_WRITE = 2
_serial = itertools.count()


def temporary_name(path: str) -> str:
    """A hidden sibling of `path` that no other process or thread uses."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name[:200]}.{os.getpid()}.{next(_serial)}.tmp")


def write_all(fd: int, data: bytes | memoryview) -> None:
    """write(2) until everything is written.  Raises OSError as os.write does."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path: str, data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Give `path` the content `data` and exactly the permissions `mode`.

    After a failure the old file is untouched and nothing is left over; after a crash a hidden
    `.NAME.PID.N.tmp` may be.  Safe beside other writers: the last one wins.
    durable: survives a power failure once this returns.  Raises KernelError.
    """
    temporary = temporary_name(path)
    try:
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode
        )
    except OSError as error:
        raise KernelError.from_oserror("create", error, path=path) from error
    try:
        try:
            os.fchmod(fd, mode)  # the umask has no say
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        if isinstance(error, OSError):
            raise KernelError.from_oserror("write", error, path=path) from error
        raise
    if durable:
        fsync_dir(os.path.dirname(path) or ".")


def fsync_dir(path: str) -> None:
    """Make the names in a directory durable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError.from_oserror("fsync", error, path=path) from error


def syncfs(path: str) -> None:
    """Write out everything of the file system that holds `path`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError.from_oserror("open", error, path=path) from error
    try:
        check(_syncfs(fd), "syncfs", path=path)
    finally:
        os.close(fd)


def start_writing(fd: int, offset: int, size: int) -> None:
    """sync_file_range(2): let the disk begin with what was written, so that fsync finds less to do.

    A hint: nothing is waited for or promised, and a file system that cannot need not.
    """
    _sync_file_range(fd, offset, size, _SYNC_FILE_RANGE_WRITE)


def rename(old: str, new: str, *, durable: bool = True) -> None:
    """rename(2); durable: both directories are synced afterwards.  Raises KernelError."""
    try:
        os.rename(old, new)
    except OSError as error:
        raise KernelError.from_oserror("rename", error, path=f"{old} to {new}") from error
    if durable:
        target = os.path.dirname(new) or "."
        source = os.path.dirname(old) or "."
        fsync_dir(target)
        if source != target:
            fsync_dir(source)


def renameat2(old_fd: int, old: str, new_fd: int, new: str, flags: int = RENAME_NOREPLACE) -> None:
    """renameat2(2): RENAME_NOREPLACE (EEXIST) or RENAME_EXCHANGE.  Raises KernelError."""
    result = _renameat2(old_fd, encode(old), new_fd, encode(new), flags)
    check(result, "rename", path=f"{old} to {new}")
