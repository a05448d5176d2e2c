"""Temporary directories of layers, and deleting trees."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os

from jubako.errors import KernelError, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.store import Store

LOCK = "layers"
INGEST = ".ingest"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EMPTY = "empty"  # the lower directory of images without layers


def temporary_directory(store: Store, directory: str) -> tuple[str, int]:
    """A new directory below `.ingest` and a descriptor that holds its lock while it is open."""
    parent = store.directory(os.path.basename(directory), INGEST)
    for number in range(1 << 30):
        path = f"{parent}/{os.getpid()}-{number}"
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError as exc:
            raise KernelError.from_oserror("mkdir", exc) from exc
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX)
        except FileNotFoundError:
            continue  # taken for abandoned in the moment before the lock
        if os.path.exists(path):
            return path, fd
        os.close(fd)
    raise Unavailable(f"no name is left in {parent}")


def remove_abandoned(ingest: str) -> bool:
    """Delete the temporary directories whose processes are gone; whether there were any."""
    found = False
    for name in os.listdir(ingest):
        if name == _EMPTY:
            continue
        path = f"{ingest}/{name}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = True
            remove_tree(path)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
    return found


def remove_tree(path: str) -> None:
    """Delete a tree without following links; idempotent, also beside another who deletes it.

    However deep it is, two descriptors are enough: directories that are not empty move up to the
    top and wait there.  Raises KernelError.
    """
    try:
        top = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc
    try:
        serial = itertools.count()
        waiting = _empty(top, top, serial)
        while waiting:
            name = waiting.pop()
            try:
                fd = os.open(name, _DIRECTORY, dir_fd=top)
            except FileNotFoundError:
                continue
            try:
                waiting += _empty(fd, top, serial)
            finally:
                os.close(fd)
            _rmdir(name, top)
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc
    finally:
        os.close(top)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc


def _empty(fd: int, top: int, serial: Iterator[int]) -> list[str]:
    """Delete what is in a directory; returns what its non-empty subdirectories are in `top` now."""
    moved = []
    with os.scandir(fd) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            try:
                os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                continue
        elif fd == top:
            moved.append(name)
        elif not _rmdir(name, fd):
            moved.append(_move_up(name, fd, top, serial))
    return moved


def _rmdir(name: str, fd: int) -> bool:
    """Whether it is gone; False: it is not empty."""
    try:
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        pass
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _move_up(name: str, fd: int, top: int, serial: Iterator[int]) -> str:
    while True:
        new = f".moved-{next(serial)}"
        try:
            os.rename(name, new, src_dir_fd=fd, dst_dir_fd=top)
            return new
        except OSError as exc:
            # The tree itself has something of this name.
            if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
