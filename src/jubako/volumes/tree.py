"""Whole directory trees that somebody else may be changing: walk, measure.

A container with the volume mounted may rename, replace and link at any moment.  Every step here
starts at a descriptor and follows no link (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS),
so that nothing outside the tree is ever touched.  Trees are deleted by `jubako.linux.removal`.
"""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import KernelError
from jubako.linux import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_STAY = openat2.RESOLVE_BENEATH | openat2.RESOLVE_NO_SYMLINKS | openat2.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 64  # EAGAIN: the kernel saw a rename somewhere and wants the question again


def open_below(root_fd: int, path: str, flags: int) -> int:
    """Open `path` relative to `root_fd`; no component may be a link or lead out.

    Raises KernelError: ELOOP for a link, ENOENT, ENOTDIR...
    """
    for attempt in range(_TRIES):
        try:
            return openat2.openat2(root_fd, path or ".", flags, 0, _STAY)
        except KernelError as exc:
            if exc.errno == errno.EAGAIN and attempt + 1 < _TRIES:
                continue
            if exc.errno not in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
                raise
            return _open_by_steps(root_fd, path, flags)
    raise AssertionError("unreachable")


def _open_by_steps(root_fd: int, path: str, flags: int) -> int:
    """The same without openat2, component by component."""
    *parents, name = [part for part in path.split("/") if part] or ["."]
    if ".." in parents or name == "..":
        raise KernelError("open", errno.EXDEV, path=path)
    here = os.dup(root_fd)
    try:
        for part in parents:
            below = os.open(part, os.O_PATH | _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
    finally:
        os.close(here)


def walk(
    root_fd: int, *, stay: bool = False
) -> Iterator[tuple[str, int, list[tuple[str, os.stat_result]]]]:
    """Every directory from the root down: (path below the root, descriptor, its entries).

    Parents come before their children.  The descriptor is valid until the next step.
    stay: do not enter other file systems that are mounted below.  What
    vanishes or turns into something else meanwhile is left out.  Raises KernelError for the root.
    """
    pending = [""]
    device = os.fstat(root_fd).st_dev
    while pending:
        path = pending.pop()
        try:
            fd = open_below(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        except KernelError as exc:
            if path and exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                continue
            raise
        try:
            entries = []
            for name in sorted(os.listdir(fd)):
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                entries.append((name, status))
                if stat.S_ISDIR(status.st_mode) and not (stay and status.st_dev != device):
                    pending.append(f"{path}/{name}" if path else name)
            yield path, fd, entries
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("read", exc, path=path) from exc
        finally:
            os.close(fd)


def size_bytes(path: str) -> int:
    """The sum of the sizes of everything below `path`; a file with several names counts once."""
    fd = _open(path)
    seen: set[tuple[int, int]] = set()
    total = 0
    try:
        for _, _, entries in walk(fd):
            for _, status in entries:
                if stat.S_ISDIR(status.st_mode):
                    continue
                if status.st_nlink > 1:
                    key = (status.st_dev, status.st_ino)
                    if key in seen:
                        continue
                    seen.add(key)
                total += status.st_size
    finally:
        os.close(fd)
    return total


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
