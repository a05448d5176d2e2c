"""Where the bytes of a blob come from.

A source may be opened again, when a connection broke.  Nothing here touches the database, whose
connection belongs to another thread.
"""

from __future__ import annotations

import hashlib

from jubako.images.content import recipes
from jubako.images.content.blobs import Blob
from jubako.oci import media
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from jubako.images.content.store import ContentStore

    Buffer = bytes | memoryview

    class Source(Protocol):
        """One blob.

        total_bytes: what `counted` of `open` adds up to.  digest: None as long as nobody knows.
        """

        total_bytes: int

        @property
        def digest(self) -> Digest | None: ...

        @property
        def size_bytes(self) -> int | None: ...

        def open(self, counted: Callable[[int], None]) -> Iterator[bytes]:
            """The bytes, in pieces.  Raises IntegrityError if they are not what they should be."""
            ...

        def blob(self) -> Blob:
            """What was sent, once an iteration has come to its end."""
            ...


LEVEL = 2  # of isal: as fast as level 1 here, 1 % smaller; level 3 takes 2.6 times as long


class Kept:
    """A blob of the content store."""

    def __init__(self, content: ContentStore, blob: Blob):
        self._content = content
        self._blob = blob
        self.digest: Digest | None = blob.digest
        self.size_bytes: int | None = blob.size_bytes
        self.total_bytes = blob.size_bytes

    def open(self, counted: Callable[[int], None]) -> Iterator[bytes]:
        for piece in self._content.stream(self._blob.digest):
            yield piece
            counted(len(piece))

    def blob(self) -> Blob:
        return self._blob


class Known:
    """Bytes in memory: an image's configuration."""

    def __init__(self, data: bytes, digest: Digest, media_type: str):
        self._data = data
        self._blob = Blob(digest, digest, media_type, len(data))
        self.digest: Digest | None = digest
        self.size_bytes: int | None = len(data)
        self.total_bytes = len(data)

    def open(self, counted: Callable[[int], None]) -> Iterator[bytes]:
        yield self._data
        counted(len(self._data))

    def blob(self) -> Blob:
        return self._blob


class Made:
    """A blob made of a layer's tar, on all processors, while it is sent.

    tar: opens the exact tar, which checks itself.  again: the blob that it has to be; None makes
    one by this engine's recipe.  It is not kept: what a recipe makes can be made again.
    """

    def __init__(
        self,
        diff_id: Digest,
        tar: Callable[[], Iterator[Buffer]],
        tar_bytes: int,
        again: Blob | None = None,
    ):
        self._diff_id = diff_id
        self._tar = tar
        self._again = again
        self._recipe = recipes.segmented_gzip(LEVEL) if again is None else again.recipe
        self._hasher = hashlib.sha256()
        self._size_bytes = 0
        self.total_bytes = tar_bytes
        self.size_bytes: int | None = None if again is None else again.size_bytes

    @property
    def digest(self) -> Digest | None:
        return None if self._again is None else self._again.digest

    def open(self, counted: Callable[[int], None]) -> Iterator[bytes]:
        hasher = self._hasher = hashlib.sha256()
        size_bytes = 0

        def tar() -> Iterator[Buffer]:
            for chunk in self._tar():
                yield chunk
                counted(len(chunk))

        for piece in recipes.compress(self._recipe, tar(), tar_bytes=self.total_bytes):
            hasher.update(piece)
            size_bytes += len(piece)
            yield piece
        self._size_bytes = size_bytes
        if self._again is not None:
            self._again.digest.check_hasher(hasher, f"layer {self._diff_id} made again")

    def blob(self) -> Blob:
        if self._again is not None:
            return self._again
        digest = Digest.from_hasher(self._hasher)
        kind = media.DOCKER_LAYER_GZIP
        return Blob(digest, self._diff_id, kind, self._size_bytes, self._recipe)
