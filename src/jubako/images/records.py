"""Rows of images and tags: how a user's word finds an image, and how an image is written down."""

from __future__ import annotations

import json
import time

from jubako.errors import Conflict, InvalidReference, NotFound
from jubako.oci.reference import guess, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from jubako.oci.image import ImageConfig
    from jubako.oci.reference import Reference
    from jubako.store import Store

# The containers (id, status) of the image ?1: made of it, or with its files mounted.
USERS = (
    "SELECT id, status FROM containers WHERE image_id = ?1 OR (instr(record, ?1) AND EXISTS ("
    "SELECT 1 FROM json_each(record, '$.Mounts') WHERE json_extract(value, '$.ImageId') = ?1))"
)

_HEX = frozenset("0123456789abcdef")
_ID_PREFIX = "sha256:"


def _is_hex(text: str) -> bool:
    return 0 < len(text) <= 64 and _HEX.issuperset(text)


def resolve(store: Store, reference: str) -> str:
    """The image ID for a name, `name@digest`, a full or a short ID.  Raises as `find`."""
    return find(store, reference)[0]


def find(store: Store, reference: str) -> tuple[str, bool]:
    """The image ID, and whether it was found by a name; names win over short IDs.

    Raises NotFound with Docker's text, InvalidReference, Conflict (ambiguous short ID).
    """
    db = store.db
    digits = reference.removeprefix(_ID_PREFIX)
    if len(digits) == 64 and _is_hex(digits):
        row = db.execute(
            "SELECT id FROM images WHERE id = ? AND removed = 0", (_ID_PREFIX + digits,)
        ).fetchone()
        if row is None:
            raise NotFound(f"No such image: {_ID_PREFIX}{digits}", subject=reference)
        return str(row[0]), False
    if not reference.startswith(_ID_PREFIX):
        query = "SELECT image_id FROM tags WHERE name = ?"
        found = db.execute(query, (guess(reference),)).fetchone()
        if found is not None:
            return str(found[0]), True
    if _is_hex(digits):
        rows = db.execute(
            "SELECT id FROM images WHERE id >= ? AND id < ? AND removed = 0 LIMIT 2",
            (_ID_PREFIX + digits, _ID_PREFIX + digits + "g"),
        ).fetchall()
        if len(rows) > 1:
            raise Conflict(f"multiple IDs found with provided prefix: {digits}", subject=reference)
        if rows:
            return str(rows[0][0]), False
    by_id = reference.startswith(_ID_PREFIX)
    wanted = reference if by_id else parse(reference).tagged().familiar()
    raise NotFound(f"No such image: {wanted}", subject=reference)


def tag_name(reference: Reference) -> str:
    """The key in the table `tags`; a digest makes the tag irrelevant, as for Docker."""
    if reference.digest is not None:
        return str(reference.with_digest(reference.digest))
    return str(reference.tagged())


def row(store: Store, image_id: str) -> sqlite3.Row:
    """The row of an image.  Raises NotFound."""
    query = "SELECT * FROM images WHERE id = ?"
    found: sqlite3.Row | None = store.db.execute(query, (image_id,)).fetchone()
    if found is None:
        raise NotFound(f"No such image: {image_id}", subject=image_id)
    return found


def config_of(found: sqlite3.Row) -> ImageConfig:
    """The parsed config of a row."""
    config: ImageConfig = json.loads(found["config"])
    return config


def diff_ids(store: Store, image_id: str) -> list[str]:
    """The image's layers, the lowest first."""
    query = "SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position"
    return [found[0] for found in store.db.execute(query, (image_id,))]


def references(db: sqlite3.Connection, image_id: str) -> list[Reference]:
    """All names of an image, tags and digests, in alphabetical order."""
    query = "SELECT name FROM tags WHERE image_id = ? ORDER BY name"
    return [parse(found[0]) for found in db.execute(query, (image_id,))]


def children(db: sqlite3.Connection, image_id: str) -> list[str]:
    """Images made from this one on this machine."""
    query = "SELECT id FROM images WHERE parent = ? AND removed = 0"
    return [found[0] for found in db.execute(query, (image_id,))]


def insert_image(
    db: sqlite3.Connection,
    image_id: str,
    config: bytes,
    layers: Sequence[str],
    *,
    parent: str | None = None,
    arriving: Mapping[str, int] | None = None,
) -> None:
    """Write an image down; one that exists stays as it is, one removed by force comes back.

    For use inside a transaction, after the layers' rows.  arriving: layers without one so far, with
    the bytes of their files.
    """
    text = config.decode("utf-8")
    parsed: ImageConfig = json.loads(text)
    marks = ", ".join("?" * len(layers))
    sizes = dict(
        db.execute(
            f"SELECT diff_id, size_bytes FROM layers WHERE diff_id IN ({marks})", tuple(layers)
        ).fetchall()
    )
    sizes.update(arriving or {})
    missing = [layer for layer in layers if layer not in sizes]
    if missing:
        raise NotFound(f"image {image_id}: no such layer: {missing[0]}", subject=missing[0])
    now = time.time_ns()
    db.execute(
        "INSERT INTO images (id, parent, created, size_bytes, config, last_used_ns)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET removed = 0",
        (
            image_id,
            parent,
            parsed.get("created") or "",
            sum(sizes[layer] for layer in layers),
            text,
            now,
        ),
    )
    db.executemany(
        "INSERT OR IGNORE INTO image_layers (image_id, position, diff_id) VALUES (?, ?, ?)",
        [(image_id, position, layer) for position, layer in enumerate(layers)],
    )


def note_manifest(db: sqlite3.Connection, digest: str, image_id: str, media_type: str) -> None:
    """Write down a manifest or index that the image was pulled or pushed with.

    For use inside a transaction, after the image's row and after the blob is in the content store.
    """
    db.execute(
        "INSERT INTO manifests (digest, image_id, media_type, seen_ns) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET image_id = excluded.image_id,"
        " seen_ns = excluded.seen_ns",
        (digest, image_id, media_type, time.time_ns()),
    )


def set_tag(db: sqlite3.Connection, reference: Reference, image_id: str) -> str | None:
    """Point a name at an image; returns the ID of the image that had it before, if another."""
    name = tag_name(reference)
    before = db.execute("SELECT image_id FROM tags WHERE name = ?", (name,)).fetchone()
    db.execute(
        "INSERT INTO tags (name, image_id, updated_ns) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id,"
        " updated_ns = excluded.updated_ns",
        (name, image_id, time.time_ns()),
    )
    return before[0] if before and before[0] != image_id else None


def parse_target(text: str) -> Reference:
    """A name to give to an image: no digest.  Raises InvalidReference with Docker's text."""
    reference = parse(text)
    if reference.digest is not None:
        raise InvalidReference("refusing to create a tag with a digest reference", subject=text)
    return reference.tagged()
