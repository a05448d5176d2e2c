"""`tmpcopyup`: a tmpfs starts with what it hides.

The source is a directory of the image: names, types and sizes are taken as they come, links are
copied and never followed.
"""

from __future__ import annotations

import os
import stat

from jubako.errors import KernelError

_BLOCK_BYTES = 1 << 20
_MAX_DEPTH = 256  # deeper trees are no configuration directories


def copy_tree(source: int, destination: int) -> None:
    """Copy what is in directory `source` into `destination`, with owners, modes and times.

    source: opened for reading.  destination: O_PATH is enough.  Devices and sockets are left out.
    Raises KernelError; what was copied stays then.
    """
    try:
        _copy_directory(source, destination, 0)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("copy up", error) from error


def _copy_directory(source: int, destination: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise KernelError("copy up", 36, detail=f"more than {_MAX_DEPTH} directories deep")
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=destination)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            inner = os.open(name, flags, dir_fd=source)
            made = -1
            try:
                made = os.open(name, flags, dir_fd=destination)
                _copy_directory(inner, made, depth + 1)
            finally:
                os.close(inner)
                if made >= 0:
                    os.close(made)
        elif kind == stat.S_IFREG:
            _copy_file(source, destination, name)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, dir_fd=destination)
        else:
            continue
        _copy_attributes(info, destination, name)
    _copy_attributes(os.fstat(source), destination, ".")


def _copy_file(source: int, destination: int, name: str) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    reader = os.open(name, flags, dir_fd=source)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writer = os.open(name, flags, 0o600, dir_fd=destination)
        try:
            while os.sendfile(writer, reader, None, _BLOCK_BYTES):
                pass
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_attributes(info: os.stat_result, directory: int, name: str) -> None:
    # After chown, which clears the setuid bits; times last.
    os.chown(name, info.st_uid, info.st_gid, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=directory)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=directory, follow_symlinks=False)
