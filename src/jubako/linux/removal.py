"""Deleting a tree, whatever it holds: links, any depth, other deleters, and mounts above all.

What a container leaves is hostile: deeper than PATH_MAX, links everywhere.  And a directory of the
engine may have something mounted on it, a user's files among others: nothing here ever descends
into a mount (openat2(2), RESOLVE_NO_XDEV); the deletion then fails instead.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import deque

from jubako.errors import KernelError
from jubako.linux.openat2 import RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_THREADS = 8  # they wait more than they work
_MAX_PARTS = 512  # enough for all threads to end at about the same time
_MAX_PATH = 1024  # characters: a component more, and the path above it, are below PATH_MAX
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> None:
    """Delete a directory and everything in it; idempotent, also beside another who deletes it.

    However deep it is, two descriptors are enough: directories that are not empty move up to the
    top and wait there.  Raises KernelError: EBUSY or EXDEV where something is mounted, EPERM for an
    immutable file; what could be deleted by then is.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    try:
        parent_fd = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc
    try:
        _remove(parent_fd, name)
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc
    finally:
        os.close(parent_fd)


def remove_large_tree(path: str) -> None:
    """The same with threads, for a tree of thousands of files that nobody else changes.

    A file system may let a thread wait a while for each file (a journal, trimming); here several
    wait at once.
    """
    from concurrent.futures import ThreadPoolExecutor

    try:
        top = os.open(path, _DIRECTORY)
    except OSError:
        return remove_tree(path)
    try:
        above, subtrees = _split(top)
        if len(subtrees) > 1:
            with ThreadPoolExecutor(_THREADS, "remove") as pool:
                for _ in pool.map(lambda name: remove_tree(f"{path}/{name}"), subtrees):
                    pass
                for _ in pool.map(lambda name: _remove_files(top, name), above):
                    pass
    except OSError as exc:
        raise KernelError.from_oserror("remove", exc, path=path) from exc
    finally:
        os.close(top)
    return remove_tree(path)


def _split(top: int) -> tuple[list[str], list[str]]:
    """Directories whose subdirectories are in one of the lists too, and others, with all below."""
    above: list[str] = []
    subtrees: list[str] = []
    waiting = deque((".",))
    while waiting and len(waiting) + len(subtrees) < _MAX_PARTS:
        directory = waiting.popleft()
        if len(directory) > _MAX_PATH:
            subtrees.append(directory)
            continue
        fd = _open(top, directory)
        if fd is None:
            continue
        try:
            below = [f"{directory}/{name}" for name, is_directory in _scan(fd) if is_directory]
        finally:
            os.close(fd)
        (above if below else subtrees).append(directory)
        waiting += below
    return above, [*subtrees, *waiting]


def _remove_files(top: int, name: str) -> None:
    """Delete what is no directory in one."""
    fd = _open(top, name)
    if fd is None:
        return
    try:
        for file, is_directory in _scan(fd):
            if not is_directory:
                os.unlink(file, dir_fd=fd)
    finally:
        os.close(fd)


def _remove(parent_fd: int, name: str) -> None:
    top = _open(parent_fd, name)
    if top is None:
        return
    try:
        serial = itertools.count()
        waiting = _empty(top, top, serial)
        while waiting:
            below = waiting.pop()
            fd = _open(top, below)
            if fd is None:
                continue
            try:
                waiting += _empty(fd, top, serial)
            finally:
                os.close(fd)
            _rmdir(below, top)
    finally:
        os.close(top)
    _rmdir(name, parent_fd)


def _open(parent_fd: int, name: str) -> int | None:
    """The directory; None if it is gone.  EXDEV if something is mounted there."""
    try:
        return openat2(parent_fd, name, _DIRECTORY, resolve=RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS)
    except KernelError as exc:
        if exc.errno == errno.ENOENT:
            return None
        if exc.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return _open_by_device(parent_fd, name)


def _open_by_device(parent_fd: int, name: str) -> int | None:
    """Without openat2 (before Linux 5.6): a mount of the same file system goes unnoticed here, so
    the caller's directories must hold none of those, which is so where nothing is being started.
    """
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except FileNotFoundError:
        return None
    if os.fstat(fd).st_dev != os.fstat(parent_fd).st_dev:
        os.close(fd)
        raise KernelError("remove", errno.EXDEV, path=name)
    return fd


def _empty(fd: int, top: int, serial: Iterator[int]) -> list[str]:
    """Delete what is in a directory; returns what its non-empty subdirectories are in `top` now."""
    moved = []
    for name, is_directory in _scan(fd):
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


def _scan(fd: int) -> list[tuple[str, bool]]:
    """What is in a directory, and whether it is one itself."""
    with os.scandir(fd) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


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
