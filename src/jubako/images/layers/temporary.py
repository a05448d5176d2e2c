"""Temporary directories of layers."""

from __future__ import annotations

import fcntl
import os

from jubako.errors import KernelError, Unavailable
from jubako.linux.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.store import Store

LOCK = "layers"
INGEST = ".ingest"
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
