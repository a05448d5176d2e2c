"""`diff`: what a container has changed in the files of its image.

The writable directory tells where something was written, not whether it differs: overlayfs copies a
file there as soon as it is opened for writing.  So each of its entries is compared with the image,
by Docker's measure: type, mode, owner, and of what is no directory also size and time.

    in the writable directory          in the image     change
    whiteout                           there            deleted
    anything                           nothing          added
    anything that differs              there            changed
    opaque directory                   directory        what it has not: deleted
    directory with a change in it      there            changed
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

from jubako.errors import KernelError
from jubako.images.layers import whiteout
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.containers.services import Services
    from jubako.containers.table import Container

MODIFIED, ADDED, DELETED = 0, 1, 2  # as in the API

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_SECOND = 1_000_000_000
_MADE_MODE = 0o755  # of the directories that a start makes
# What a start makes where the image has nothing: its mark, and places for the engine's own mounts.
_OURS = frozenset(
    (
        b".dockerenv",
        b".dockerenv",
        b"dev",
        b"dev/console",
        b"dev/mqueue",
        b"dev/pts",
        b"dev/shm",
        b"etc",
        b"etc/hostname",
        b"etc/hosts",
        b"etc/resolv.conf",
        b"proc",
        b"run",
        b"run/secrets",
        b"sys",
    )
)


def changes(services: Services, container: Container) -> list[dict[str, Any]]:
    """Every change as the API has it: `Path` and `Kind`, sorted, parents first.

    The container may run; what changes meanwhile may be missing.  Raises KernelError.
    """
    with _both(services, container) as (upper, lower):
        found = dict(_compare(upper, lower))
    kinds = _with_parents(found)
    return [
        {"Path": "/" + os.fsdecode(path), "Kind": kinds[path]}
        for path in sorted(kinds, key=lambda path: path.split(b"/"))
    ]


def made_by_engine(services: Services, container: Container) -> frozenset[bytes]:
    """The paths in its writable directory that only hold the engine's own mounts."""
    with _both(services, container) as (upper, lower):
        found = {path for path in _OURS if _is_ours(path, upper, lower)}
        for path in {path.rpartition(b"/")[0] for path in found} - found - {b""}:
            if _only_holds(path, found, upper, lower):
                found.add(path)
        return frozenset(found)


def _only_holds(path: bytes, ours: set[bytes], upper: int, lower: int) -> bool:
    """Whether a directory of the image was copied up for nothing but those paths."""
    new, old = _look(upper, path), _look(lower, path)
    if new is None or old is None or _differs(new, old):
        return False
    fd = _open(upper, path)
    if fd < 0:
        return False
    try:
        below = {path + b"/" + os.fsencode(name) for name in os.listdir(fd)}
        return below <= ours and not _is_opaque(fd)
    finally:
        os.close(fd)


def _is_ours(path: bytes, upper: int, lower: int) -> bool:
    new, old = _look(upper, path), _look(lower, path)
    if new is None or old is not None or (new.st_uid, new.st_gid) != (0, 0):
        return False
    if stat.S_ISDIR(new.st_mode):
        return stat.S_IMODE(new.st_mode) == _MADE_MODE
    return stat.S_ISREG(new.st_mode) and not new.st_size


def _look(root: int, path: bytes) -> os.stat_result | None:
    """What is at a path; links of the container lead nowhere else."""
    try:
        fd = open_in_root(root, os.fsdecode(path), os.O_PATH | os.O_NOFOLLOW)
    except KernelError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


@contextmanager
def _both(services: Services, container: Container) -> Iterator[tuple[int, int]]:
    """Descriptors of what the container has written and of its image's files."""
    lower = services.images.layers.open_view(
        services.images.diff_ids(container.image_id),
        why="compare what the container has written with its image",
    )
    try:
        upper = os.open(f"{services.directory(container.id)}/upper", _DIRECTORY | os.O_CLOEXEC)
        try:
            yield upper, lower
        finally:
            os.close(upper)
    finally:
        os.close(lower)


def _with_parents(found: dict[bytes, int | None]) -> dict[bytes, int]:
    """A directory in which something has changed has changed itself."""
    result = {path: kind for path, kind in found.items() if kind is not None}
    for path in list(result):
        while path := path.rpartition(b"/")[0]:
            if path in result:
                break
            own = found.get(path)
            result[path] = MODIFIED if own is None else own
    return result


def _compare(upper: int, lower: int) -> Iterator[tuple[bytes, int | None]]:
    """Paths and their changes; None: the same in itself, or made by the engine."""
    waiting = [(b"", True)]
    while waiting:
        path, merged = waiting.pop()
        fd = _open(upper, path)
        if fd < 0:
            continue
        below = _open(lower, path) if merged else -1
        try:
            names = set(map(os.fsencode, os.listdir(fd)))
            prefix = path + b"/" if path else b""
            for name in names:
                new, old = _stat(fd, name), _stat(below, name)
                if new is None:
                    continue
                yield prefix + name, _change(prefix + name, new, old)
                if stat.S_ISDIR(new.st_mode):
                    waiting.append((prefix + name, old is not None and stat.S_ISDIR(old.st_mode)))
            if below >= 0 and _is_opaque(fd):
                for name in set(map(os.fsencode, os.listdir(below))) - names:
                    yield prefix + name, DELETED
        finally:
            os.close(fd)
            if below >= 0:
                os.close(below)


def _change(path: bytes, new: os.stat_result, old: os.stat_result | None) -> int | None:
    if whiteout.is_device(new):
        return None if old is None else DELETED
    if old is None:
        ours = path in _OURS and (stat.S_ISDIR(new.st_mode) or not new.st_size)
        return None if ours else ADDED
    return MODIFIED if _differs(new, old) else None


def _differs(new: os.stat_result, old: os.stat_result) -> bool:
    if (new.st_mode, new.st_uid, new.st_gid, new.st_rdev) != (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_rdev,
    ):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return new.st_size != old.st_size or not _same_time(new.st_mtime_ns, old.st_mtime_ns)


def _same_time(one_ns: int, other_ns: int) -> bool:
    """Equal, or to the second where an archive has kept no more."""
    if one_ns == other_ns:
        return True
    whole = one_ns % _SECOND == 0 or other_ns % _SECOND == 0
    return whole and one_ns // _SECOND == other_ns // _SECOND


def _open(root: int, path: bytes) -> int:
    """A directory, -1 if it has vanished or is something else."""
    try:
        return open_in_root(root, os.fsdecode(path) or ".", _DIRECTORY)
    except KernelError:
        return -1


def _stat(fd: int, name: bytes) -> os.stat_result | None:
    if fd < 0:
        return None
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, whiteout.OPAQUE_XATTR) == b"y"
    except OSError:
        return False  # no such attribute, or none at all
