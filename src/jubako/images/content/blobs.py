"""What registries call a layer: the blobs that it is sent as, and which of them are kept.

A layer is known here by the diff ID of its tar.  Registries know it by the digest of a blob, often
a compressed one, and there may be several.  The table `blobs` remembers them whether or not their
bytes are in the content store, so that a layer that is here is never fetched or sent again.

Which bytes are kept is the setting `blobs`:

    keep       all that is compressed: a push sends what was pulled, and a damaged layer is repaired
    drop       none: the unpacked layer is the only copy; a push compresses anew
    rebuild    what cannot be made again of the layer's tar, to the byte (see `recipes`)

A blob that is a plain tar is not kept under any of them: the layer's archive is the same bytes.
"""

from __future__ import annotations

import os
import time

from jubako.errors import IntegrityError, KernelError, NotFound
from jubako.images.content import recipes
from jubako.oci.digest import Digest
from jubako.store import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from jubako.images.content.store import ContentStore
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
        self._policy = ""

    @property
    def policy(self) -> str:
        """The setting `blobs`: `keep`, `drop` or `rebuild`.  Raises InvalidArgument."""
        if not self._policy:
            self._policy = settings.load(self._store.path).blobs
        return self._policy

    def keeps(self, blob: Blob, path: str) -> bool:
        """Whether the bytes of a blob that has come are to be kept.

        path: where they are, complete and checked; a missing file is no error.  The blob and its
        layer have their rows.  A recipe that is found is written down; under `rebuild` that takes
        as long as compressing the layer (see `recipe_search.BUDGET_S` for the bound).
        Raises KernelError, InvalidArgument (settings).
        """
        recipe = blob.recipe or self._find_recipe(path)
        if recipe and not blob.recipe:
            with self._store.transaction() as db:
                self.record(
                    db,
                    Blob(blob.digest, blob.diff_id, blob.media_type, blob.size_bytes, recipe),
                )
        if recipe == recipes.PLAIN:
            return False
        return self.policy == "keep" or (self.policy == "rebuild" and not recipe)

    def _find_recipe(self, path: str) -> str:
        from jubako.images.content.recipe_search import find_recipe, is_plain

        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        except OSError as exc:
            raise KernelError.from_oserror("open blob", exc, path=path) from exc
        try:
            if is_plain(fd):
                return recipes.PLAIN
            return find_recipe(fd) if self.policy == "rebuild" else ""
        finally:
            os.close(fd)

    def unwanted(self) -> list[Digest]:
        """Kept blobs that would not be kept if they came today: the setting has changed since."""
        going = {"keep": f"= '{recipes.PLAIN}'", "rebuild": "!= ''", "drop": "IS NOT NULL"}
        rows = self._store.db.execute(
            f"SELECT digest FROM blobs WHERE recipe {going[self.policy]}"
            " AND diff_id IN (SELECT diff_id FROM layers)"
        )
        return [digest for row in rows if self._content.exists(digest := Digest(row[0]))]

    def available(self, digest: Digest) -> bool:
        """Whether `open` has the bytes of a blob, kept or by a recipe."""
        return self._content.exists(digest) or self._buildable(digest) is not None

    def open(self, digest: Digest) -> Iterator[bytes]:
        """The bytes of a layer's blob: those that are kept, else made again of the layer's tar.

        Iterate to the end, or close it.  Raises NotFound at once: neither is possible.
        IntegrityError at the end: the bytes are not those of the digest.
        """
        if self._content.exists(digest):
            return self._content.stream(digest)
        blob = self._buildable(digest)
        if blob is None:
            raise NotFound(
                f"no such blob: {digest}",
                hint="its bytes were not kept and no recipe makes them: pull the image again",
                subject=digest,
            )
        return self._made_again(blob)

    def _buildable(self, digest: Digest) -> Blob | None:
        """The blob if there is a recipe, and the layer for it."""
        if self._layers.exists(digest):
            return Blob(digest, digest, "", 0, recipes.PLAIN)
        blob = self.find(digest)
        if blob is not None and blob.recipe and self._layers.exists(blob.diff_id):
            return blob
        return None

    def _made_again(self, blob: Blob) -> Iterator[bytes]:
        query = "SELECT tar_bytes FROM layers WHERE diff_id = ?"
        tar_bytes = self._store.db.execute(query, (blob.diff_id,)).fetchone()[0]
        hasher = blob.digest.new_hasher()
        tar = self._layers.archive(blob.diff_id)
        for piece in recipes.compress(blob.recipe, tar, tar_bytes=tar_bytes):
            hasher.update(piece)
            yield piece
        found = Digest.from_hasher(hasher)
        if found != blob.digest:
            raise IntegrityError(
                f"blob made again of layer {blob.diff_id}: expected {blob.digest}, found {found}",
                hint="the compression library may have changed since: pull the image again",
                subject=blob.digest,
            )

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
