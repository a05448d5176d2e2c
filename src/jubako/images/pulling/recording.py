"""An image of which every layer is there gets its rows, its names and its blobs."""

from __future__ import annotations

from jubako.images import events, records
from jubako.images.content.partial import settle
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from jubako.images import ImageService
    from jubako.images.pulling.resolving import Target
    from jubako.oci.digest import Digest


def is_complete(images: ImageService, target: Target) -> bool:
    """Whether the image is here with all its layers, under whatever name.

    A layer without a row was damaged and given up: see `repairing`.
    """
    query = (
        "SELECT 1 FROM images WHERE id = ?1 AND removed = 0 AND NOT EXISTS (SELECT 1 FROM"
        " image_layers LEFT JOIN layers USING (diff_id) WHERE image_id = ?1 AND driver IS NULL)"
    )
    return images.store.db.execute(query, (target.image_id,)).fetchone() is not None


def record(images: ImageService, target: Target, arriving: Mapping[str, int] | None = None) -> bool:
    """Write an image down, durably; whether its name is new or meant another image before.

    Every layer has its row, but for those that are `arriving`, diff IDs with the bytes of their
    files (see `images.lazy`).  Raises KernelError.
    """
    _settle(images, target)
    for document in target.documents:
        _keep(images, document.digest, document.data)
    _keep(images, target.image_id, target.config_data)
    point("images.pull.stored")
    with images.store.transaction() as db:
        diff_ids = target.config["rootfs"]["diff_ids"]
        records.insert_image(db, target.image_id, target.config_data, diff_ids, arriving=arriving)
        for document in target.documents:
            records.note_manifest(db, document.digest, target.image_id, document.media_type)
        new = _name(db, target)
        _note_sources(images, db, target)
        events.emit_transfer(images.store, "pull", target.image_id, target.reference)
        point("images.pull.recorded")
    images.store.flush()
    point("images.pull.done")
    return new


def _settle(images: ImageService, target: Target) -> None:
    """Keep the blobs that have come, or not: as the root's settings want it."""
    found = (images.blobs.find(layer.descriptor.digest) for layer in target.layers())
    settle(images, [blob for blob in found if blob is not None])


def _keep(images: ImageService, digest: Digest, data: bytes) -> None:
    if not images.content.exists(digest):
        with images.content.ingest() as ingest:
            ingest.write(data)
            ingest.commit(digest, len(data))


def _name(db: sqlite3.Connection, target: Target) -> bool:
    """The tag, and the digest by which the registry knows the image; whether anything changed."""
    by_digest = target.reference.with_digest(target.digest)
    names = [by_digest]
    if target.reference.digest is None:
        names.insert(0, target.reference)
    query = "SELECT image_id FROM tags WHERE name = ?"
    before = db.execute(query, (records.tag_name(names[0]),)).fetchone()
    for name in names:
        records.set_tag(db, name, target.image_id)
    return before is None or before["image_id"] != target.image_id


def _note_sources(images: ImageService, db: sqlite3.Connection, target: Target) -> None:
    """The repository has these blobs: a push to it need not send them."""
    for layer in target.layers():
        blob = images.blobs.find(layer.descriptor.digest)
        if blob is not None and blob.diff_id == layer.diff_id:
            images.blobs.record(db, blob, target.reference.name)
