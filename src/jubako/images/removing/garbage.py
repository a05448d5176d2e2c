"""Deleting layers and blobs that no image names, and what killed processes left.

A temporary directory exists from before the first change until everything is deleted, so that a
process killed in between leaves a trace, and `recover` knows that there is work.  Where others make
images nothing is deleted; a trace is left on purpose then, and they find it when they are done.
"""

from __future__ import annotations

import os

from jubako.errors import Unavailable
from jubako.images.layers.session import ACTIVE, REPLACED
from jubako.images.layers.temporary import LOCK, temporary_directory
from jubako.linux.removal import remove_large_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from jubako.images import ImageService
    from jubako.oci.digest import Digest

_INGEST = ".ingest"
# Images that were removed by force stay until the last container that uses them is gone.
_FORGET = (
    "removed = 1 AND id NOT IN (SELECT image_id FROM containers) AND id NOT IN ("
    "SELECT json_extract(value, '$.ImageId') FROM containers, json_each(record, '$.Mounts')"
    " WHERE json_extract(value, '$.Type') = 'image')"
)
_UNUSED = "SELECT diff_id FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)"
_KEPT = f"NOT IN (SELECT id FROM images WHERE {_FORGET})"
_NAMED_BLOBS = (
    f"SELECT id FROM images WHERE id {_KEPT}",
    f"SELECT digest FROM manifests WHERE image_id {_KEPT}",
    "SELECT digest FROM blobs WHERE diff_id IN"
    f" (SELECT diff_id FROM image_layers WHERE image_id {_KEPT})",
)


def collect(images: ImageService, *, thorough: bool = False) -> None:
    """See `ImageService.collect`.

    thorough: also what is only kept for speed: downloads that were interrupted, and blobs that the
    setting `blobs` does not want any more.
    """
    try:
        with images.store.lock(LOCK, timeout_s=0):
            _remove_partial(images, thorough)
            if thorough:
                for digest in images.blobs.unwanted():
                    images.content.remove(digest)
            found = _take_out(images)
    except Unavailable:
        _leave_trace(images)
        return
    if found is not None:
        trash, descriptor = found
        try:
            # Outside of the lock: deleting thousands of files takes a while.
            remove_large_tree(trash)
        finally:
            os.close(descriptor)


def orphans(images: ImageService) -> list[str]:
    """What `collect` would free: directories of layers, digests of blobs."""
    directory = f"{images.store.path}/layers"
    return [
        *(f"{directory}/{name}" for name in sorted(unused_layers(images))),
        *sorted(unnamed_blobs(images)),
    ]


def _take_out(images: ImageService) -> tuple[str, int] | None:
    """Forget what is unused and move it aside; None if there is nothing."""
    directory = f"{images.store.path}/layers"
    if not (unused_layers(images) or unnamed_blobs(images)):
        return None
    trash, descriptor = temporary_directory(images.store, directory)
    try:
        with images.store.transaction() as db:
            db.execute(f"DELETE FROM images WHERE {_FORGET}")
            unused = [(row[0],) for row in db.execute(_UNUSED)]
            db.executemany("DELETE FROM layers WHERE diff_id = ?", unused)
            db.executemany("DELETE FROM blobs WHERE diff_id = ?", unused)
        point("images.collect.forgotten")
        for name in unused_layers(images):
            os.rename(f"{directory}/{name}", f"{trash}/{name}")
            point("images.collect.renamed")
        for digest in unnamed_blobs(images):
            images.content.remove(digest)
    except BaseException:
        os.close(descriptor)
        raise
    return trash, descriptor


def _leave_trace(images: ImageService) -> None:
    """Others make images.  Whoever of them is done last finds an abandoned directory."""
    _, descriptor = temporary_directory(images.store, f"{images.store.path}/layers")
    os.close(descriptor)


def _remove_partial(images: ImageService, thorough: bool) -> None:
    from jubako.images.content import partial

    partial.remove_abandoned(images.store, 0 if thorough else partial.MAX_AGE_S)


def unused_layers(images: ImageService) -> set[str]:
    """Names of the directories of layers that no image needs."""
    try:
        there = set(os.listdir(f"{images.store.path}/layers")) - {_INGEST}
    except FileNotFoundError:
        return set()
    unused = there - _named_layers(images.store.db)
    replaced = {name for name in unused if REPLACED in name}
    if replaced and images.store.db.execute(ACTIVE).fetchone() is not None:
        unused -= replaced
    return unused


def _named_layers(db: sqlite3.Connection) -> set[str]:
    query = f"SELECT DISTINCT diff_id FROM image_layers WHERE image_id {_KEPT}"
    return {row[0].partition(":")[2] for row in db.execute(query)}


def unnamed_blobs(images: ImageService) -> set[Digest]:
    """Digests of the blobs that no image needs."""
    named = {row[0] for query in _NAMED_BLOBS for row in images.store.db.execute(query)}
    return images.content.all() - named
