"""An image archive read once from front to end, seekable or not.

What a member is shows only in documents that may come last.  So small JSON is kept in memory, and
everything else is taken for a layer and unpacked as it passes; what no document names is dropped at
the end.  Links between members stay inside this table: nothing is looked up on disk.
"""

from __future__ import annotations

import posixpath

from jubako.errors import IntegrityError, InvalidArgument, JubakoError, KernelError
from jubako.images.layers.session import StagedLayer
from jubako.images.stream import LayerStream, Prefetch, peek, plain_chunks
from jubako.images.tar import HARDLINK, REGULAR, SYMLINK, Entry, Limits, TarReader
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jubako.images.layers.session import Session
    from jubako.images.stream import Readable

    Buffer = bytes | memoryview
    Watch = Callable[[str, Iterator[Buffer]], Iterator[Buffer]]

_MAX_DOCUMENT_BYTES = 8 << 20
_MAX_DOCUMENTS_BYTES = 128 << 20  # of all that are kept in memory
_MIN_TAR_BYTES = 512  # what is smaller is no layer (the file VERSION of old archives)
_MAX_MEMBERS = 100_000
_MAX_LINKS = 8  # from link to link
_BLOBS = "blobs/"


class Archive:
    """The members of an archive, once `read` is done."""

    def __init__(
        self,
        session: Session,
        progress: Callable[[str], None] | None = None,
        watch: Watch | None = None,
    ):
        """progress: gets the names of members that may be layers.  watch: their digests and pieces,
        and hands the pieces on."""
        self._session = session
        self._progress = progress
        self._watch = watch
        self._documents: dict[str, bytes] = {}
        self._document_bytes = 0
        self._layers: dict[str, StagedLayer] = {}
        self._failed: dict[str, JubakoError] = {}
        self._links: dict[str, str] = {}

    def read(self, stream: Readable) -> None:
        """Read the whole stream.  Raises InvalidArgument (not an archive), KernelError."""
        prefetch = Prefetch(plain_chunks(stream, "image archive"))
        try:
            reader = TarReader(iter(prefetch), limits=Limits(max_entries=_MAX_MEMBERS))
            for entry in reader:
                self._member(entry, reader)
            reader.drain()
        finally:
            prefetch.close()

    def _member(self, entry: Entry, reader: TarReader) -> None:
        name = _path(entry.name, "")
        if entry.kind == REGULAR:
            # A second member of a name replaces the first, as with tar.
            for table in (self._documents, self._layers, self._failed, self._links):
                table.pop(name, None)
            start, content = peek(reader.payload(), 1)
            if entry.size < _MIN_TAR_BYTES or (
                start in (b"{", b"[") and entry.size <= _MAX_DOCUMENT_BYTES
            ):
                self._document(name, b"".join(content))
            else:
                self._layer(name, content)
        elif entry.kind == HARDLINK:
            self._links[name] = _path(entry.link, "")
        elif entry.kind == SYMLINK:
            self._links[name] = _path(entry.link, posixpath.dirname(name))

    def _document(self, name: str, data: bytes) -> None:
        self._document_bytes += len(data)
        if self._document_bytes > _MAX_DOCUMENTS_BYTES:
            raise InvalidArgument(
                f"image archive: documents of more than {_MAX_DOCUMENTS_BYTES} bytes"
            )
        self._documents[name] = data

    def _layer(self, name: str, content: Iterator[Buffer]) -> None:
        if self._progress is not None:
            self._progress(name)
        try:
            self._layers[name] = self._unpack(name, content)
        except KernelError:
            raise
        except (InvalidArgument, IntegrityError) as exc:
            self._failed[name] = exc  # of interest only if an image names it

    def _unpack(self, name: str, content: Iterator[Buffer]) -> StagedLayer:
        digest = blob_digest(name)
        if self._watch is not None and digest is not None:
            content = self._watch(digest, content)
        with LayerStream(content, nested=True, want_blob_digest=digest is not None) as stream:
            plain = digest if stream.compression == "plain" else None
            staged = self._session.unpack(stream, expected=plain)
            if digest is not None:
                staged.blob = stream.blob_digest()
                if staged.blob != digest:
                    self._session.discard(staged)
                    raise IntegrityError(
                        f"blob: expected {digest}, found {staged.blob}", subject=digest
                    )
            return staged

    # --- afterwards ------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether there is a document of this name."""
        return self._resolve(name) in self._documents

    def document(self, name: str) -> bytes:
        """A member kept in memory, checked against the digest in its name if it has one.

        Raises InvalidArgument, IntegrityError.
        """
        data = self._documents.get(self._resolve(name))
        if data is None:
            raise InvalidArgument(f"image archive: {name} is missing or no document")
        digest = blob_digest(name)
        if digest is not None:
            digest.check(data, f"image archive: {name}")
        return data

    def layer(self, name: str) -> StagedLayer | None:
        """The layer of this name; None if the archive has no such member.

        Raises what was wrong with it.
        """
        path = self._resolve(name)
        if path in self._failed:
            raise self._failed[path]
        if path in self._documents:
            # Its first file's name begins with a brace.
            data = self._documents.pop(path)
            self._layers[path] = self._unpack(path, iter((data,)))
        return self._layers.get(path)

    def layers(self) -> list[StagedLayer]:
        """All layers that were unpacked."""
        return list(self._layers.values())

    def _resolve(self, name: str) -> str:
        path = _path(name.encode("utf-8", "surrogateescape"), "")
        for _ in range(_MAX_LINKS):
            if path not in self._links:
                return path
            path = self._links[path]
        raise InvalidArgument(f"image archive: too many links at {name[:200]!r}")


def blob_digest(name: str) -> Digest | None:
    """The digest that a member's name promises: `blobs/sha256/<hex>`."""
    if not name.startswith(_BLOBS):
        return None
    algorithm, _, encoded = name[len(_BLOBS) :].partition("/")
    return Digest.parse(f"{algorithm}:{encoded}")


def _path(name: bytes, directory: str) -> str:
    text = name.decode("utf-8", "surrogateescape")
    path = posixpath.normpath(posixpath.join(directory, text.lstrip("/") or "."))
    if path.startswith("../") or path == "..":
        raise InvalidArgument(f"image archive: {text[:200]!r} leads out of the archive")
    return path
