"""Deleting layers and blobs that no image names, and what killed processes left.

A temporary directory exists from before the first change until everything is deleted, so that a
process killed in between leaves a trace, and `recover` knows that there is work.
"""

from __future__ import annotations

import os

from jubako.errors import Unavailable
from jubako.images.layers.temporary import LOCK, temporary_directory
from jubako.linux.removal import remove_tree
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
_NAMED_BLOBS = (
    "SELECT id FROM images",
    "SELECT digest FROM manifests",
    "SELECT digest FROM blobs",
)


def collect(images: ImageService) -> None:
    """See `ImageService.collect`."""
    directory = f"{images.store.path}/layers"
    try:
        with images.store.lock(LOCK, timeout_s=0):
            if not (_unused(images, directory) or _unnamed(images)):
                return
            trash, descriptor = temporary_directory(images.store, directory)
            try:
                with images.store.transaction() as db:
                    db.execute(f"DELETE FROM images WHERE {_FORGET}")
                    unused = [(row[0],) for row in db.execute(_UNUSED)]
                    db.executemany("DELETE FROM layers WHERE diff_id = ?", unused)
                    db.executemany("DELETE FROM blobs WHERE diff_id = ?", unused)
                point("images.collect.forgotten")
                for name in _unused(images, directory):
                    os.rename(f"{directory}/{name}", f"{trash}/{name}")
                    point("images.collect.renamed")
                for digest in _unnamed(images):
                    images.content.remove(digest)
            except BaseException:
                os.close(descriptor)
                raise
    except Unavailable:
        return  # others make images: whoever ends last, or the next removal, collects
    try:
        # Outside of the lock: deleting thousands of files takes a while.
        remove_tree(trash)
    finally:
        os.close(descriptor)


def _unused(images: ImageService, directory: str) -> set[str]:
    """Names of layer directories that go."""
    try:
        there = set(os.listdir(directory)) - {_INGEST}
    except FileNotFoundError:
        return set()
    return there - _named_layers(images.store.db)


def _named_layers(db: sqlite3.Connection) -> set[str]:
    query = (
        "SELECT DISTINCT diff_id FROM image_layers"
        f" WHERE image_id NOT IN (SELECT id FROM images WHERE {_FORGET})"
    )
    return {row[0].partition(":")[2] for row in db.execute(query)}


def _unnamed(images: ImageService) -> set[Digest]:
    """Digests of blobs that go."""
    named = {row[0] for query in _NAMED_BLOBS for row in images.store.db.execute(query)}
    return images.content.all() - named
