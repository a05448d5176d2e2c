"""One layer on its way in: each byte is handled once, by threads that overlap.

    kept bytes, registry -> [read, keep, hash] -> queue -> [inflate] -> queue -> [unpack]
                                                               \\-> queue -> [hash]

The first thread verifies the blob's digest and size, the caller of `unpack` the diff ID.  A small
layer has only the first of these threads, and the caller's.
"""

from __future__ import annotations

import threading

from jubako.errors import IntegrityError, InvalidArgument, KernelError
from jubako.images import reporting
from jubako.images.compression import HEADER_BYTES, window_bytes
from jubako.images.stream import LayerStream, Prefetch, peek
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jubako.images.content.partial import Partial
    from jubako.images.layers.session import Session, StagedLayer
    from jubako.images.pulling.memory import Memory
    from jubako.images.reporting import Reporter
    from jubako.images.stream import Buffer
    from jubako.oci.digest import Digest
    from jubako.oci.manifest import Descriptor
    from jubako.registry.downloads import BlobStream

    OpenBlob = Callable[[Descriptor, int], BlobStream]

QUEUES = 3  # for each layer: see the picture
_WRITE_BYTES = 8 << 20  # of which the disk is told at once, while more arrives
_DRAIN_BYTES = 64 << 20  # how much more is read to find out whether a damaged stream is the blob


class Wanted:
    """A layer of an image: the blob that it is fetched as and the diff ID that it must have."""

    __slots__ = __match_args__ = ("descriptor", "diff_id")

    def __init__(self, descriptor: Descriptor, diff_id: Digest):
        self.descriptor = descriptor
        self.diff_id = diff_id

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return reporting.short(self.descriptor.digest)


class LayerFetch:
    """A layer that is being fetched, on threads of its own, once it was started.

    partial: locked; stays so.  keeps: the root keeps blobs.  queue_bytes: for each of its queues.
    memory: for what inflating takes beside them.  finished: called with this object at the end, by
    one of the threads; then either `staged` or `error` is set.
    """

    def __init__(
        self,
        wanted: Wanted,
        partial: Partial,
        *,
        session: Session,
        open_blob: OpenBlob,
        reporter: Reporter,
        keeps: bool,
        queue_bytes: int,
        memory: Memory,
        finished: Callable[[LayerFetch], None],
    ):
        self.wanted = wanted
        self.partial = partial
        self.staged: StagedLayer | None = None
        self.error: BaseException | None = None
        self._session = session
        self._open_blob = open_blob
        self._reporter = reporter
        self._keeps = keeps
        self._queue_bytes = queue_bytes
        self._memory = memory
        self._finished = finished
        self._source: Prefetch | None = None
        self._aborted: BaseException | None = None
        self._downloaded = False
        self._thread = threading.Thread(target=self._run, name="layer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def abort(self, error: BaseException) -> None:
        """End soon, with `error`; what has come is kept.  From any thread."""
        self._aborted = error
        if self._source is not None:
            self._source.abort(error)

    def join(self) -> None:
        """Wait until nothing of it uses the session any more."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self.staged = self._fetch()
        except BaseException as exc:  # raised by whoever waits for this layer
            self.error = exc
        self._finished(self)

    def _fetch(self) -> StagedLayer:
        while True:
            kept = self.partial.size
            stopped = threading.Event()
            try:
                return self._pass(stopped)
            except (IntegrityError, InvalidArgument, KernelError) as exc:
                self.partial.clear()
                # What was kept may have been damaged, by a crash of the machine say: then try it
                # from the start.  An error of the kernel is most likely a full disk.
                if not kept or isinstance(exc, KernelError):
                    raise

    def _pass(self, stopped: threading.Event) -> StagedLayer:
        source = self._source = Prefetch(self._blob(stopped), queue_bytes=self._queue_bytes)
        try:
            if self._aborted is not None:
                raise self._aborted
            try:
                start, pieces = peek(self._taken(source), HEADER_BYTES)
                with (
                    self._memory.room(window_bytes(start)),
                    LayerStream(pieces, queue_bytes=self._queue_bytes) as stream,
                ):
                    staged = self._session.unpack(stream)
            except InvalidArgument:
                self._drain(source)
                raise
        finally:
            stopped.set()
            source.close()
        point("images.pull.unpacked")
        self._check(staged)
        return staged

    def _check(self, staged: StagedLayer) -> None:
        wanted = self.wanted
        if staged.diff_id != wanted.diff_id:
            self._session.discard(staged)
            raise IntegrityError(
                f"layer {wanted.descriptor.digest}: its content should have the digest "
                f"{wanted.diff_id}, it has {staged.diff_id}",
                subject=wanted.descriptor.digest,
            )

    def _taken(self, source: Prefetch) -> Iterator[Buffer]:
        """What the inflating thread takes; after the last byte has come, this is the progress."""
        taken = 0
        total = self.wanted.descriptor.size
        for piece in source:
            taken += len(piece)
            if self._downloaded:
                self._reporter.count(reporting.EXTRACTING, self.wanted.name, taken, total)
            yield piece

    def _drain(self, source: Prefetch) -> None:
        """A stream is damaged: raise IntegrityError if that is because it is not the blob."""
        left = _DRAIN_BYTES
        for piece in source:
            left -= len(piece)
            if left < 0:
                return

    # --- the first thread ------------------------------------------------------------------------

    def _blob(self, stopped: threading.Event) -> Iterator[bytes]:
        """The bytes of the blob, from disk as far as they are there; checked at the end."""
        blob = self.wanted.descriptor
        if self.partial.size > blob.size:
            self.partial.clear()
        hasher = blob.digest.new_hasher()
        for piece in self.partial.replay():
            hasher.update(piece)
            yield piece
        if self.partial.size < blob.size:
            for piece in self._missing(self.partial.size, stopped):
                hasher.update(piece)
                yield piece
        self._reporter.say(reporting.VERIFYING, self.wanted.name)
        if self.partial.size != blob.size:
            raise IntegrityError(
                f"layer {blob.digest}: expected {blob.size} bytes, found {self.partial.size}",
                subject=blob.digest,
            )
        blob.digest.check_hasher(hasher, "layer")
        if self._keeps:
            self.partial.start_writing()
        self._downloaded = True
        self._reporter.say(reporting.DOWNLOADED, self.wanted.name)
        point("images.pull.downloaded")

    def _missing(self, offset: int, stopped: threading.Event) -> Iterator[bytes]:
        """The bytes from `offset` on, which are kept before they are handed on."""
        blob, name = self.wanted.descriptor, self.wanted.name
        self._reporter.count(reporting.DOWNLOADING, name, offset, blob.size)
        with self._open_blob(blob, offset) as stream:
            known = offset - stream.offset  # a server may know nothing of ranges
            for piece in stream:
                if stopped.is_set():  # this thread was given up while it waited for the registry
                    return
                if known >= len(piece):
                    known -= len(piece)
                    continue
                piece, known = piece[known:], 0
                self.partial.append(piece)
                if self._keeps:
                    self.partial.start_writing(_WRITE_BYTES)
                point("images.pull.appended")
                self._reporter.count(reporting.DOWNLOADING, name, self.partial.size, blob.size)
                yield piece
