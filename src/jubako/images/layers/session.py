"""Making layers: unpacked aside, checked, then published together with the rows that name them."""

from __future__ import annotations

import os
import time

from jubako.errors import IntegrityError, KernelError
from jubako.images.layers.temporary import LOCK, temporary_directory
from jubako.linux.atomic import AT_FDCWD, RENAME_EXCHANGE, fsync_dir, renameat2
from jubako.linux.removal import remove_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from jubako.images.layers import LayerStore
    from jubako.images.layers.driver import LayerDriver
    from jubako.images.stream import LayerStream
    from jubako.oci.digest import Digest
    from jubako.store import Store

# Beside a layer: the damaged one that had its name, for the containers that have it mounted.
REPLACED = ".replaced-"
# Containers that have their layers mounted now, or will have in a moment.
ACTIVE = "SELECT 1 FROM containers WHERE status IN ('running', 'paused', 'restarting') LIMIT 1"


class StagedLayer:
    """A layer that is unpacked and checked but not yet visible.

    directory: None if the layer existed before.  blob: the digest of the stored, maybe compressed
    bytes if it was computed.
    """

    __slots__ = ("blob", "diff_id", "directory", "size_bytes", "tar_bytes")

    def __init__(self, diff_id: Digest, size_bytes: int, tar_bytes: int, directory: str | None):
        self.diff_id = diff_id
        self.size_bytes = size_bytes
        self.tar_bytes = tar_bytes
        self.directory = directory
        self.blob: Digest | None = None


class Session:
    """A context in which layers are made.  No layer of the root is deleted while it is open.

        with layers.session() as session:
            staged = session.unpack(stream)
            session.publish([staged])
            with store.transaction() as db:
                session.record(db, [staged])
                ...                               # and the image that names them

    Whatever is not published is deleted at the end; after SIGKILL by `LayerStore.recover`.
    """

    def __init__(self, store: Store, layers: LayerStore):
        self._store = store
        self._layers = layers
        self._lock = store.lock(LOCK, shared=True)
        self._directories: list[tuple[str, int]] = []
        self._driver: LayerDriver

    def __enter__(self) -> Session:
        self._store.directory("layers")
        self._driver = self._layers.layer_driver()
        self._lock.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            for path, fd in self._directories:
                try:
                    remove_tree(path)
                finally:
                    os.close(fd)
        finally:
            self._directories.clear()
            self._lock.release()

    def unpack(self, stream: LayerStream, *, expected: Digest | None = None) -> StagedLayer:
        """Unpack a layer and check its digest.

        expected: the diff ID that it must have.  If that layer exists, the stream is only hashed.
        Raises IntegrityError (another digest), InvalidArgument (bad archive), KernelError.
        """
        if expected is not None and self._layers.exists(expected):
            for _ in stream:
                pass
            return self._checked(StagedLayer(stream.diff_id(), 0, stream.tar_bytes, None), expected)
        path, fd = temporary_directory(self._store, f"{self._store.path}/layers")
        self._directories.append((path, fd))
        point("images.layer.begin")
        try:
            os.mkdir(f"{path}/layer", 0o700)
            size = self._driver.unpack(stream, f"{path}/layer")
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise KernelError.from_oserror("unpack", exc, path=f"{path}/layer") from exc
        point("images.layer.extracted")
        staged = StagedLayer(stream.diff_id(), size, stream.tar_bytes, f"{path}/layer")
        return self._checked(staged, expected)

    def _checked(self, staged: StagedLayer, expected: Digest | None) -> StagedLayer:
        if expected is not None and staged.diff_id != expected:
            self.discard(staged)
            raise IntegrityError(
                f"layer: expected {expected}, found {staged.diff_id}", subject=expected
            )
        return staged

    def discard(self, staged: StagedLayer) -> None:
        """Delete a layer that is not wanted; its siblings stay."""
        if staged.directory is not None:
            remove_tree(staged.directory)
            staged.directory = None

    def publish(self, staged: list[StagedLayer]) -> None:
        """Make the layers durable and give them their final names."""
        new = [layer for layer in staged if layer.directory is not None]
        if not new:
            return
        directory = f"{self._store.path}/layers"
        self._driver.make_durable([layer.directory for layer in new if layer.directory is not None])
        point("images.layer.synced")
        for layer in new:
            target = self._layers.path(layer.diff_id)
            try:
                os.rename(layer.directory or "", target)
            except OSError as exc:
                if not os.path.isdir(target):
                    raise KernelError.from_oserror("rename", exc, path=target) from exc
                # Another process made the same layer: it has the same content, maybe by another
                # driver.  One without a row may be a damaged one that was given up.
                if not self._layers.exists(layer.diff_id):
                    self._exchange(layer.directory or "", target)
            point("images.layer.renamed")
        fsync_dir(directory)

    def replace(self, staged: StagedLayer) -> None:
        """Put a layer in the place of a damaged one, durably, and correct its row.

        Containers that run keep the old one mounted, and go on with it until they end.
        """
        directory, target = staged.directory or "", self._layers.path(staged.diff_id)
        self._driver.make_durable([directory])
        if os.path.exists(target):
            self._exchange(directory, target)
        else:
            os.rename(directory, target)
        fsync_dir(os.path.dirname(target))
        point("images.verify.exchanged")
        with self._store.transaction() as db:
            db.execute("DELETE FROM layers WHERE diff_id = ?", (staged.diff_id,))
            self.record(db, [staged])
        point("images.verify.replaced")

    def _exchange(self, directory: str, target: str) -> None:
        """Give a layer its name and keep what had it, for those who may have it mounted."""
        renameat2(AT_FDCWD, directory, AT_FDCWD, target, RENAME_EXCHANGE)
        if self._store.db.execute(ACTIVE).fetchone() is not None:
            os.rename(directory, f"{target}{REPLACED}{os.getpid()}-{time.time_ns()}")

    def record(self, db: sqlite3.Connection, staged: list[StagedLayer]) -> None:
        """Write the rows of published layers, inside the caller's transaction."""
        for layer in staged:
            if layer.directory is not None:
                db.execute(
                    "INSERT OR IGNORE INTO layers (diff_id, driver, size_bytes, tar_bytes)"
                    " VALUES (?, ?, ?, ?)",
                    (
                        layer.diff_id,
                        self._layers.driver_of(layer.diff_id),
                        layer.size_bytes,
                        layer.tar_bytes,
                    ),
                )
