"""Whether what lies on disk is what its digest says.  Nothing here changes anything.

No check uses the database, so that threads may run them.
"""

from __future__ import annotations

import filecmp
import os

from jubako.errors import InvalidArgument, JubakoError, KernelError
from jubako.images.layers.comparison import differences
from jubako.images.layers.erofs.build import build
from jubako.images.layers.members import OPAQUE_MARK, ROOT_MARK
from jubako.images.layers.paths import DIRECTORY_FLAGS
from jubako.linux import erofs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.images.content.store import ContentStore
    from jubako.images.layers import LayerStore
    from jubako.images.layers.erofs.build import Layer
    from jubako.oci.digest import Digest


class Damage:
    """What is wrong.  whole_tar: of a layer, whose exact tar can be read all the same."""

    __slots__ = __match_args__ = ("text", "whole_tar")

    def __init__(self, text: str, whole_tar: bool = False):
        self.text = text
        self.whole_tar = whole_tar


class Checker:
    """Checks layers and blobs.  scratch: an empty directory, on the file system of the layers."""

    def __init__(self, content: ContentStore, layers: LayerStore, scratch: str):
        self._content = content
        self._layers = layers
        self._scratch = scratch

    def blob(self, digest: Digest) -> Damage | None:
        """A blob of the content store, by its digest."""
        try:
            for _ in self._content.stream(digest):
                pass
        except JubakoError as exc:
            return Damage(str(exc))
        return None

    def layer(self, diff_id: str) -> Damage | None:
        """A layer: its tar by its digest, and its tree by its tar.

        The tree of a layer of the driver `overlay` is compared where this kernel has EROFS, in
        which its tar shows what it should be; elsewhere only what is in the tar is checked.
        """
        index = f"{self._scratch}/{diff_id.partition(':')[2]}"
        described = None
        try:
            driver = self._layers.driver_of(diff_id)
            described = self._describe(diff_id, index)
            if described is None:
                return None
            layer, tar_bytes = described
            text = self._marks(diff_id, layer)
            if not text and driver == "erofs":
                text = self._index(diff_id, index)
            elif not text:
                text = self._tree(diff_id, index, tar_bytes)
            return Damage(text, whole_tar=True) if text else None
        except JubakoError as exc:
            return Damage(str(exc), whole_tar=described is not None)
        except OSError as exc:  # also what a damaged index makes of the tree that it shows
            error = KernelError.from_oserror("check layer", exc)
            return Damage(str(error), whole_tar=described is not None)
        finally:
            for path in (index, f"{index}.tar"):
                if os.path.exists(path):
                    os.unlink(path)

    def _describe(self, diff_id: str, index: str) -> tuple[Layer, int] | None:
        """Make an index of the layer's tar, and tell its length; None if EROFS cannot have it.

        Raises IntegrityError: the tar is not that of the diff ID.
        """
        size = 0

        def counted() -> Iterator[bytes | memoryview]:
            nonlocal size
            for piece in tar:
                size += len(piece)
                yield piece

        fd = os.open(index, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        tar = self._layers.archive(diff_id)
        try:
            return build(counted(), fd), size
        except InvalidArgument:
            for _ in tar:  # to its end, where the digest is checked
                pass
            return None
        finally:
            os.close(fd)

    def _marks(self, diff_id: str, layer: Layer) -> str:
        directory = self._layers.path(diff_id)
        for name, wanted in ((ROOT_MARK, layer.has_root), (OPAQUE_MARK, layer.is_opaque)):
            if os.path.exists(f"{directory}/{name}") != wanted:
                return f"layer in {directory}: the mark {name!r} is wrong"
        return ""

    def _index(self, diff_id: str, index: str) -> str:
        directory = self._layers.path(diff_id)
        if filecmp.cmp(index, f"{directory}/index", shallow=False):
            return ""
        # An index by another version of the engine may have other bytes and show the same.
        device = f"{directory}/tar"
        found = erofs.mount(f"{directory}/index", device, why="see what its index shows")
        try:
            return self._compare(index, device, found, directory, content=True)
        finally:
            os.close(found)

    def _tree(self, diff_id: str, index: str, tar_bytes: int) -> str:
        directory = self._layers.path(diff_id)
        device = f"{index}.tar"
        with open(device, "wb") as file:
            file.truncate(tar_bytes)  # nothing in it is read: what is compared is in the index
        found = os.open(f"{directory}/diff", DIRECTORY_FLAGS)
        try:
            return self._compare(index, device, found, directory, content=False)
        except KernelError as exc:
            if exc.errno in erofs.MEANINGS:
                return ""
            raise
        finally:
            os.close(found)

    @staticmethod
    def _compare(index: str, device: str, found: int, directory: str, *, content: bool) -> str:
        expected = erofs.mount(index, device, why="see what its archive describes")
        try:
            for text in differences(expected, found, content=content):
                return f"layer in {directory}: {text}"
        finally:
            os.close(expected)
        return ""
