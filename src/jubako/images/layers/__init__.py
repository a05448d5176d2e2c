"""Layers: unpacked once, immutable, shared by all images that name their diff ID.

    layers/<hex of the diff ID>/     final name: complete, checked, on disk
      diff/                          driver `overlay`: the tree in overlayfs's form (see whiteout)
      split                          recipe of the exact tar (see split)
      shadowed/                      files that the tar replaced by later entries, rarely there
      root, opaque                   marks: the tar has an entry for `/`; hides all layers below
    layers/.ingest/<pid>-<n>/        being made, or being deleted; flocked by its process

A layer belongs to the root once it has a row in the table `layers`, written in the same transaction
as the image that needs it.  Whoever makes images holds the lock `layers` shared; who deletes layers
holds it alone, so that nothing vanishes between the look and the use.

Life cycle: `session()` ... `unpack` ... `publish` ... row; `mount` and `mount_view` for use;
`archive` for the exact tar; `recover` deletes what a killed process left.  What no image names any
more is deleted by `ImageService.collect`.
"""

from __future__ import annotations

import os
import stat

from jubako.errors import IntegrityError, KernelError, Unsupported
from jubako.linux import mountapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from jubako.images.layers.driver import LayerDriver
    from jubako.images.layers.session import Session
    from jubako.images.layers.tree import TarStream
    from jubako.store import Store

    Buffer = bytes | memoryview

INGEST = ".ingest"
MAX_LAYERS = 500  # of one overlay mount (OVL_MAX_STACK in the kernel)

# Nothing in a layer or an upper directory may redirect overlayfs, whatever the kernel's defaults.
# Without redirects a `rename` of a lower directory fails with EXDEV, and `mv` copies, as in Docker.
_OPTIONS = {"redirect_dir": "nofollow", "metacopy": "off", "index": "off"}


class LayerStore:
    """The layers of one root.  driver: the name of the one that new layers are made with."""

    driver = "overlay"

    def __init__(self, store: Store):
        self._store = store
        self._directory = f"{store.path}/layers"

    # --- use -------------------------------------------------------------------------------------

    def path(self, diff_id: str) -> str:
        """Where a layer is, or will be."""
        return f"{self._directory}/{diff_id.partition(':')[2]}"

    def exists(self, diff_id: str) -> bool:
        """Whether the layer belongs to this root."""
        query = "SELECT 1 FROM layers WHERE diff_id = ?"
        return self._store.db.execute(query, (diff_id,)).fetchone() is not None

    def size(self, diff_id: str) -> int:
        """Bytes of the layer's files; 0 if it does not exist."""
        query = "SELECT size_bytes FROM layers WHERE diff_id = ?"
        row = self._store.db.execute(query, (diff_id,)).fetchone()
        return int(row[0]) if row else 0

    def mount(
        self, diff_ids: Sequence[str], upper: str, work: str, target: str, *, why: str = ""
    ) -> None:
        """Mount a stack of layers at `target`, with `upper` above it taking all writes.

        diff_ids: the lowest first, as in an image's config.  upper, work: directories on one file
        system.  An empty `upper` first gets owner and mode of the image's root directory.
        Raises KernelError, IntegrityError (a layer is missing).
        """
        lower = self._lower(diff_ids)
        self._adopt_root(diff_ids, upper)
        if not lower:
            lower.append(self._empty(0))
        fd = self._overlay(lower, upper, work, target, why)
        try:
            mountapi.attach(fd, target, why=why)
        finally:
            os.close(fd)

    def mount_view(
        self, diff_ids: Sequence[str], target: str, *, top: str | None = None, why: str = ""
    ) -> None:
        """Mount a stack of layers read-only; `top`, if given, is a directory shown above them."""
        fd = self.open_view(diff_ids, top=top, why=why)
        try:
            mountapi.attach(fd, target, why=why)
        finally:
            os.close(fd)

    def open_view(self, diff_ids: Sequence[str], *, top: str | None = None, why: str = "") -> int:
        """The same without a place in any mount namespace: a descriptor of its root, the caller's.

        So it needs neither a process of its own nor a namespace, and is gone when it is closed.
        """
        lower = self._lower(diff_ids)
        if top is not None:
            lower.insert(0, top)
        while len(lower) < 2:
            lower.append(self._empty(len(lower)))  # without an upper directory it takes two
        return self._overlay(lower, None, None, "a view of the layers", why)

    def _empty(self, number: int) -> str:
        return self._store.directory("layers", INGEST, "empty", str(number))

    def _overlay(
        self, lower: list[str], upper: str | None, work: str | None, target: str, why: str
    ) -> int:
        if len(lower) > MAX_LAYERS:
            raise Unsupported(
                f"mount {target}: overlayfs takes {MAX_LAYERS} layers, the image has {len(lower)}"
            )
        return mountapi.overlay(lower, upper, work, options=_OPTIONS, why=why)

    def _lower(self, diff_ids: Sequence[str]) -> list[str]:
        """Directories for overlayfs, the topmost first, without those an opaque layer hides."""
        lower: list[str] = []
        for diff_id in reversed(diff_ids):
            directory = self.path(diff_id)
            lower.append(f"{directory}/diff")
            if os.access(f"{directory}/opaque", os.F_OK):
                break
        for path in lower:
            if not os.access(path, os.F_OK):
                raise IntegrityError(
                    f"layer is missing: {path}",
                    hint="load or import the image again",
                    subject=path,
                )
        return lower

    def _adopt_root(self, diff_ids: Sequence[str], upper: str) -> None:
        with os.scandir(upper) as entries:
            if next(entries, None) is not None:
                return
        for diff_id in reversed(diff_ids):
            directory = self.path(diff_id)
            if os.access(f"{directory}/root", os.F_OK):
                wanted = os.stat(f"{directory}/diff")
                break
        else:
            return
        found = os.stat(upper)
        if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
            os.chown(upper, wanted.st_uid, wanted.st_gid)
        if found.st_mode != wanted.st_mode:
            os.chmod(upper, stat.S_IMODE(wanted.st_mode))

    # --- tar -------------------------------------------------------------------------------------

    def archive(self, diff_id: str) -> Iterator[Buffer]:
        """The layer's exact tar, in pieces that are valid until the next step.

        Raises IntegrityError at its end if it does not have the digest `diff_id`.
        """
        import hashlib

        from jubako.oci.digest import Digest

        hasher = hashlib.sha256()
        for piece in self.layer_driver().archive(self.path(diff_id)):
            hasher.update(piece)
            yield piece
        Digest(diff_id).check_hasher(hasher, f"layer in {self.path(diff_id)}")

    def diff(
        self, upper: str, *, leave_out: frozenset[bytes] = frozenset()
    ) -> AbstractContextManager[TarStream]:
        """The changes in a container's writable directory as a layer tar, read as a stream.

        leave_out: paths that are no changes; what is in such a directory is one all the same.
        Whiteouts have the form of the image specification; equal trees give equal bytes.
        """
        from jubako.images.layers.tree import TreeTar

        return TreeTar(upper, overlay=True, leave_out=leave_out)

    def tar_tree(self, tree: str | int, out: BinaryIO) -> None:
        """Write a tree (a mounted root file system) to `out` as a tar, for `export`.

        tree: its path or an open directory.  Mounts below it are left out, but for their mount
        points.  Raises KernelError.
        """
        from jubako.images.layers.tree import TreeTar

        with TreeTar(tree) as tar:
            for piece in tar:
                out.write(piece)

    # --- making and deleting ---------------------------------------------------------------------

    def layer_driver(self) -> LayerDriver:
        """The driver that makes and reads layers; mounting needs none."""
        from jubako.images.layers.overlay import OverlayDriver

        return OverlayDriver()

    def session(self) -> Session:
        """A context in which layers are made; see `Session`."""
        from jubako.images.layers.session import Session

        return Session(self._store, self)

    def recover(self) -> bool:
        """Delete what killed processes left half-made; whether there was any.  Idempotent.

        Costs one look into a directory when there is nothing.
        """
        try:
            names = os.listdir(f"{self._directory}/{INGEST}")
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise KernelError.from_oserror("list", exc) from exc
        if all(name == "empty" for name in names):
            return False
        from jubako.images.layers.temporary import remove_abandoned

        return remove_abandoned(f"{self._directory}/{INGEST}")
