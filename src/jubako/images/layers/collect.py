"""Deleting layers: what no image names, and what killed processes left."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

from jubako.errors import KernelError, Unavailable
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.store import Store

LOCK = "layers"
INGEST = ".ingest"
_EMPTY = "empty"  # the lower directory of images without layers
# Images that were removed by force stay until the last container that uses them is gone.
_FORGOTTEN = "DELETE FROM images WHERE removed = 1 AND id NOT IN (SELECT image_id FROM containers)"
_UNUSED = "SELECT diff_id FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)"


def collect(store: Store, directory: str, *, wait: bool) -> None:
    """See `LayerStore.collect`."""
    if not os.path.isdir(directory):
        return
    try:
        with store.lock(LOCK, timeout_s=None if wait else 0):
            with store.transaction() as db:
                db.execute(_FORGOTTEN)
                unused = [row[0] for row in db.execute(_UNUSED)]
                db.executemany("DELETE FROM layers WHERE diff_id = ?", [(row,) for row in unused])
                known = {
                    row[0].partition(":")[2] for row in db.execute("SELECT diff_id FROM layers")
                }
            point("images.collect.forgotten")
            doomed = set(os.listdir(directory)) - known - {INGEST}
            trash = [_to_trash(store, directory, name) for name in doomed]
    except Unavailable:
        return  # whoever makes images now will collect, or the next removal does
    for path in trash:
        remove_tree(path)


def _to_trash(store: Store, directory: str, name: str) -> str:
    trash = temporary_directory(store, directory)
    os.close(trash[1])
    os.rename(f"{directory}/{name}", f"{trash[0]}/{name}")
    return trash[0]


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


def remove_abandoned(ingest: str) -> None:
    """Delete the temporary directories whose processes are gone."""
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
            remove_tree(path)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def remove_tree(path: str) -> None:
    """Delete a tree without following links; idempotent, also beside another who deletes it."""

    def failed(
        _: object, name: str, info: tuple[type[BaseException], BaseException, object]
    ) -> None:
        exc = info[1]
        if isinstance(exc, OSError) and exc.errno != errno.ENOENT:
            raise KernelError.from_oserror("remove", exc, path=name) from exc

    shutil.rmtree(path, onerror=failed)
