"""Layers: made once, immutable, shared by all images that name their diff ID.

    layers/<hex of the diff ID>/     final name: complete, checked, on disk
      diff/                          driver `overlay`: the tree in overlayfs's form (see whiteout)
      split                          recipe of the exact tar (see split)
      shadowed/                      files that the tar replaced by later entries, rarely there
      tar, index                     driver `erofs`: the exact tar; the tree, whose files' content
                                     is in the tar (see erofs)
      tree/                          where that is mounted, seen by nobody else (see mounts)
      root, opaque                   marks: the tar has an entry for `/`; hides all layers below
    layers/.ingest/<pid>-<n>/        being made, or being deleted; flocked by its process

Which driver made a layer is told by its directory; the column `driver` says the same for queries.
Layers of both lie in one stack.

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
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from jubako.images.layers.choice import Choice
    from jubako.images.layers.driver import LayerDriver
    from jubako.images.layers.mounts import LayerMounts
    from jubako.images.layers.session import Session
    from jubako.images.layers.stacked import StackTar
    from jubako.images.layers.tree import TarStream
    from jubako.store import Store

    Buffer = bytes | memoryview
    OpenMounts = Callable[[], LayerMounts]
    T = TypeVar("T")

INGEST = ".ingest"
MAX_LAYERS = 500  # of one overlay mount (OVL_MAX_STACK in the kernel)

# What overlayfs takes as a lower directory, by the driver that made the layer.
_TREES = {"overlay": "diff", "erofs": "tree"}

# Nothing in a layer or an upper directory may redirect overlayfs, whatever the kernel's defaults.
# Without redirects a `rename` of a lower directory fails with EXDEV, and `mv` copies, as in Docker.
_OPTIONS = {"redirect_dir": "nofollow", "metacopy": "off", "index": "off"}
# Layers of several file systems would show, and `tar --one-file-system` would leave out files of
# the image: the kernel makes one of them, with the number of the layer in high bits of st_ino.
_OF_SEVERAL = {**_OPTIONS, "xino": "on"}


class Layer:
    """One layer of a stack, where it lies.  driver: who made it.

    Raises IntegrityError if it is not there.
    """

    __slots__ = ("directory", "driver")

    def __init__(self, directory: str):
        self.directory = directory
        for driver, tree in _TREES.items():
            if os.access(f"{directory}/{tree}", os.F_OK):
                self.driver = driver
                return
        raise IntegrityError(
            f"layer is missing: {directory}",
            hint="load, import or pull the image again",
            subject=directory,
        )

    @property
    def tree(self) -> str:
        """What overlayfs takes; of `erofs` it is empty but where the layers are mounted."""
        return f"{self.directory}/{_TREES[self.driver]}"

    def has(self, mark: str) -> bool:
        """Whether the layer has the mark `root` or `opaque`."""
        return os.access(f"{self.directory}/{mark}", os.F_OK)


class LayerStore:
    """The layers of one root.

    stacked_by: what shows a stack of them as one file system, whichever drivers have made them.
    """

    stacked_by = "overlay"

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

    def driver_of(self, diff_id: str) -> str:
        """The name of the driver that made a layer.  Raises IntegrityError (it is missing)."""
        return Layer(self.path(diff_id)).driver

    def shown_paths(self, diff_ids: Sequence[str]) -> list[str]:
        """For people: where each layer's files are, or else the layer; the topmost first."""
        paths = [self.path(diff_id) for diff_id in reversed(diff_ids)]
        return [f"{path}/diff" if os.path.isdir(f"{path}/diff") else path for path in paths]

    def mount(
        self,
        diff_ids: Sequence[str],
        upper: str,
        work: str,
        target: str,
        *,
        mounts: OpenMounts | None = None,
        why: str = "",
    ) -> None:
        """Mount a stack of layers at `target`, with `upper` above it taking all writes.

        diff_ids: the lowest first, as in an image's config.  upper, work: directories on one file
        system.  An empty `upper` first gets owner and mode of the image's root directory.
        mounts: gives what a process without threads has for EROFS layers, to share them.
        Raises KernelError, IntegrityError (a layer is missing).
        """
        stack = self._stack(diff_ids)
        model = None if _has_entries(upper) else self._root_layer(diff_ids)

        def make() -> int:
            if model is not None:
                _adopt(model, upper)
            lower = [layer.tree for layer in stack] or [self._empty(0)]
            return _overlay(lower, upper, work, target, _options(stack), why)

        needed = stack if model is None else [*stack, model]
        self._attach(self._where_mounted(needed, mounts, make), target, why)

    def mount_view(
        self,
        diff_ids: Sequence[str],
        target: str,
        *,
        top: str | None = None,
        mounts: OpenMounts | None = None,
        why: str = "",
    ) -> None:
        """Mount a stack of layers read-only; `top`, if given, is a directory shown above them."""
        self._attach(self.open_view(diff_ids, top=top, mounts=mounts, why=why), target, why)

    @staticmethod
    def _attach(fd: int, target: str, why: str) -> None:
        try:
            mountapi.attach(fd, target, why=why)
        finally:
            os.close(fd)

    def open_view(
        self,
        diff_ids: Sequence[str],
        *,
        top: str | None = None,
        mounts: OpenMounts | None = None,
        why: str = "",
    ) -> int:
        """The same without a place in any mount namespace: a descriptor of its root, the caller's.

        So it needs neither a process of its own nor a namespace, and is gone when it is closed.
        """
        return self._open(self._stack(diff_ids), top, mounts, why)

    def open_layer(self, directory: str, *, top: str | None = None, why: str = "") -> int:
        """The same for one layer that need not belong to the root yet, by its directory."""
        return self._open([Layer(directory)], top, None, why)

    def _open(
        self, stack: list[Layer], top: str | None, mounts: OpenMounts | None, why: str
    ) -> int:
        lower = [] if top is None else [top]
        lower += [layer.tree for layer in stack]
        while len(lower) < 2:
            lower.append(self._empty(len(lower)))  # without an upper directory it takes two
        options, what = _options(stack), "a view of the layers"
        return self._where_mounted(
            stack, mounts, lambda: _overlay(lower, None, None, what, options, why)
        )

    def _where_mounted(
        self, layers: list[Layer], mounts: OpenMounts | None, work: Callable[[], T]
    ) -> T:
        """Do `work` where the trees of the layers are mounted, if any need that."""
        to_mount = [layer.directory for layer in layers if layer.driver == "erofs"]
        if not to_mount:
            return work()
        if mounts is not None:
            return mounts().visit(to_mount, work)
        from jubako.images.layers.mounts import visit_once

        return visit_once(self._store, to_mount, work)

    def _empty(self, number: int) -> str:
        return self._store.directory("layers", INGEST, "empty", str(number))

    def _stack(self, diff_ids: Sequence[str]) -> list[Layer]:
        """The layers, the topmost first, without those that an opaque one hides.

        An image may have a layer twice, which overlayfs refuses (ELOOP): the lower one shows
        nothing that the upper one does not.
        """
        stack: list[Layer] = []
        for diff_id in dict.fromkeys(reversed(diff_ids)):
            stack.append(self._layer(diff_id))
            if stack[-1].has("opaque"):
                break
        return stack

    def _layer(self, diff_id: str) -> Layer:
        """A layer, also one that has not fully arrived.  Raises IntegrityError (it is missing)."""
        try:
            return Layer(self.path(diff_id))
        except IntegrityError:
            from jubako.images.lazy.places import find

            arriving = find(self._store, diff_id)
            return Layer(arriving or self.path(diff_id))  # it may be here by now

    def _root_layer(self, diff_ids: Sequence[str]) -> Layer | None:
        """The layer whose root directory is the image's."""
        for diff_id in reversed(diff_ids):
            layer = self._layer(diff_id)
            if layer.has("root"):
                return layer
        return None

    # --- tar -------------------------------------------------------------------------------------

    def archive(self, diff_id: str) -> Iterator[Buffer]:
        """The layer's exact tar, in pieces of a megabyte.

        It is hashed on a thread beside: iterate to the end, or close it.
        Raises IntegrityError if the layer is missing, or at the end if what came does not have the
        digest `diff_id`.
        """
        from jubako.images.stream import Hashing

        driver = self.layer_driver(self.driver_of(diff_id))
        hashing = Hashing()
        try:
            for piece in driver.archive(self.path(diff_id)):
                hashing.update(piece)
                yield piece
            found = hashing.digest()
        finally:
            hashing.close()
        if found != diff_id:
            raise IntegrityError(
                f"layer in {self.path(diff_id)}: expected {diff_id}, found {found}", subject=diff_id
            )

    def diff(
        self, upper: str, *, leave_out: frozenset[bytes] = frozenset()
    ) -> AbstractContextManager[TarStream]:
        """The changes in a container's writable directory as a layer tar, read as a stream.

        leave_out: paths that are no changes; what is in such a directory is one all the same.
        Whiteouts have the form of the image specification; equal trees give equal bytes.
        """
        from jubako.images.layers.tree import TreeTar

        return TreeTar(upper, overlay=True, leave_out=leave_out)

    def stack_tar(self, diff_ids: Sequence[str], upper: str | None = None) -> StackTar:
        """What a stack of layers shows, with the directory `upper` above it, as a tar in pieces.

        diff_ids: the lowest first.  A context manager.  Raises KernelError, IntegrityError.
        """
        from jubako.images.layers.stacked import StackTar

        return StackTar(self._stack(diff_ids), upper)

    # --- making and deleting ---------------------------------------------------------------------

    def choice(self) -> Choice:
        """The driver that new layers are made with, and why.  Cheap after the first call of a boot.

        Raises Unsupported (the settings ask for what is not possible here), InvalidArgument.
        """
        from jubako.images.layers.choice import choose

        return choose(self._store, self)

    def layer_driver(self, name: str | None = None) -> LayerDriver:
        """The driver that makes and reads layers, by its name; None: that for new layers.

        Mounting needs none.  Raises as `choice`.
        """
        if (name or self.choice().name) == "erofs":
            from jubako.images.layers.erofs import ErofsDriver

            return ErofsDriver()
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


def _options(stack: Sequence[Layer]) -> dict[str, str]:
    return _OF_SEVERAL if any(layer.driver == "erofs" for layer in stack) else _OPTIONS


def _overlay(
    lower: list[str],
    upper: str | None,
    work: str | None,
    target: str,
    options: Mapping[str, str],
    why: str,
) -> int:
    if len(lower) > MAX_LAYERS:
        raise Unsupported(
            f"mount {target}: overlayfs takes {MAX_LAYERS} layers, the image has {len(lower)}"
        )
    return mountapi.overlay(lower, upper, work, options=options, why=why)


def _has_entries(directory: str) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None


def _adopt(model: Layer, upper: str) -> None:
    """Give a new writable directory owner and mode of the image's root directory."""
    wanted, found = os.stat(model.tree), os.stat(upper)
    if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
        os.chown(upper, wanted.st_uid, wanted.st_gid)
    if found.st_mode != wanted.st_mode:
        os.chmod(upper, stat.S_IMODE(wanted.st_mode))
