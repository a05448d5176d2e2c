"""What registries call a layer: the blobs that it is sent as, and which of them are kept.

A layer is known here by the diff ID of its tar.  Registries know it by the digest of a blob, often
a compressed one, and there may be several.  The table `blobs` remembers them whether or not their
bytes are in the content store, so that a layer that is here is never fetched or sent again.
"""

from __future__ import annotations

import time

from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from jubako.images.content import ContentStore
    from jubako.images.layers import LayerStore
    from jubako.store import Store


class Blob:
    """A row: a layer as registries have it.

    recipe: how the same bytes are made of the layer's tar again; "" if nobody knows.
    """

    __slots__ = __match_args__ = ("digest", "diff_id", "media_type", "size_bytes", "recipe")

    def __init__(
        self, digest: Digest, diff_id: Digest, media_type: str, size_bytes: int, recipe: str = ""
    ):
        self.digest = digest
        self.diff_id = diff_id
        self.media_type = media_type
        self.size_bytes = size_bytes
        self.recipe = recipe


class LayerBlobs:
    """The blobs of one root's layers."""

    def __init__(self, store: Store, content: ContentStore, layers: LayerStore):
        self._store = store
        self._content = content
        self._layers = layers

    def find(self, digest: Digest) -> Blob | None:
        """What is known of a blob."""
        row = self._store.db.execute("SELECT * FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else _blob(row)

    def of_layer(self, diff_id: Digest) -> list[Blob]:
        """The blobs of a layer, those that are kept first."""
        query = "SELECT * FROM blobs WHERE diff_id = ? ORDER BY digest"
        found = [_blob(row) for row in self._store.db.execute(query, (diff_id,))]
        return sorted(found, key=lambda blob: not self._content.exists(blob.digest))

    def record(self, db: sqlite3.Connection, blob: Blob, repository: str | None = None) -> None:
        """Write a blob down, and that a repository (`docker.io/library/busybox`) has it.

        For use inside a transaction, after the layer's row.
        """
        db.execute(
            "INSERT INTO blobs (digest, diff_id, media_type, size_bytes, recipe)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET"
            " recipe = CASE excluded.recipe WHEN '' THEN recipe ELSE excluded.recipe END",
            (blob.digest, blob.diff_id, blob.media_type, blob.size_bytes, blob.recipe),
        )
        if repository is not None:
            db.execute(
                "INSERT INTO blob_sources (digest, repository, seen_ns) VALUES (?, ?, ?)"
                " ON CONFLICT (digest, repository) DO UPDATE SET seen_ns = excluded.seen_ns",
                (blob.digest, repository, time.time_ns()),
            )

    def repositories(self, digest: Digest, domain: str) -> list[str]:
        """Repositories of a registry that had the blob, the latest first."""
        query = (
            "SELECT repository FROM blob_sources WHERE digest = ? AND repository >= ?"
            " AND repository < ? ORDER BY seen_ns DESC"
        )
        rows = self._store.db.execute(query, (digest, f"{domain}/", f"{domain}0"))
        return [row[0] for row in rows]


def _blob(row: sqlite3.Row) -> Blob:
    return Blob(
        Digest(row["digest"]),
        Digest(row["diff_id"]),
        row["media_type"],
        row["size_bytes"],
        row["recipe"],
    )
