"""Where the layers are that have not fully arrived.

    <run directory>/lazy/<hex>     link to its directory, by the layer's diff ID
    layers/.ingest/<n>/            the directory, see `layer`; its flock is held for as long as
                                   somebody fetches what is missing (see `guardian`)

A directory without its flock is never used again, and the next change of images deletes it: what
had been a hole might have been read as zeros meanwhile.
"""

from __future__ import annotations

import fcntl
import os

from jubako.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.store import Store

LAYER = "layer"
SIZE = "size"  # beside it: the bytes of its files
_LINKS = "lazy"


def link(store: Store, diff_id: str) -> str:
    """The path of a layer's link."""
    return f"{store.run_dir}/{_LINKS}/{diff_id.partition(':')[2]}"


def find(store: Store, diff_id: str) -> str | None:
    """The directory of a layer that is arriving, as layers have it; None if it is not."""
    try:
        directory = os.readlink(link(store, diff_id))
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"{directory}/{LAYER}"
    finally:
        os.close(fd)
    return None


def size_bytes(store: Store, diff_id: str) -> int:
    """The bytes of the files of a layer that is arriving; 0 if it is not."""
    directory = find(store, diff_id)
    try:
        with open(f"{directory}/../{SIZE}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def announce(store: Store, diff_id: str, directory: str) -> None:
    """Let others find a layer.  Raises OSError."""
    path = link(store, diff_id)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    withdraw(store, diff_id)
    os.symlink(directory, path)


def withdraw(store: Store, diff_id: str) -> None:
    """Nobody is to find the layer any more.  Idempotent."""
    try:
        os.unlink(link(store, diff_id))
    except FileNotFoundError:
        pass


def is_arriving(store: Store, diff_ids: Iterable[str]) -> bool:
    """Whether one of the layers is still arriving."""
    if not os.path.isdir(f"{store.run_dir}/{_LINKS}"):
        return False
    query = "SELECT 1 FROM layers WHERE diff_id = ?"
    return any(
        find(store, diff_id) is not None and store.db.execute(query, (diff_id,)).fetchone() is None
        for diff_id in diff_ids
    )


def refuse_arriving(store: Store, diff_ids: Iterable[str], what: str) -> None:
    """Raise Conflict if one of the layers is still arriving.  what: cannot be done before."""
    if is_arriving(store, diff_ids):
        raise Conflict(
            f"{what}: the image is still arriving",
            hint="jubako pull waits until it is here",
        )
