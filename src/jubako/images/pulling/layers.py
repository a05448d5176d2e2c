"""All layers of an image that are missing, at once, shared with other processes that fetch them.

The caller's thread alone looks at the database and takes locks; the threads of the layers only move
bytes.  A layer is published when its last byte was unpacked, with its rows, and not only with its
image: so another pull of it can go on, and a later one after this one was killed finds it.
"""

from __future__ import annotations

import queue

from jubako.errors import JubakoError
from jubako.images.blobs import Blob
from jubako.images.partial import Partial
from jubako.images.pulling import reporting
from jubako.images.pulling.layer import QUEUES, LayerFetch
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.images import ImageService
    from jubako.images.layers.session import Session
    from jubako.images.pulling.layer import OpenBlob, Wanted
    from jubako.images.pulling.reporting import Reporter

# What waits in all queues together: with the interpreter, TLS and the pieces that the threads work
# on a pull stays below 150 MB.
_QUEUES_BYTES = 40 << 20
_MAX_QUEUE_BYTES = 4 << 20
_POLL_S = 0.05  # flock has no time-out


class _Stopped(JubakoError):
    """Another layer failed, or the user does not want to wait."""


class LayerFetcher:
    """Fetches layers into one root.

    limit: how many at a time.  open_blob: of the repository that has them.
    """

    def __init__(
        self,
        images: ImageService,
        session: Session,
        open_blob: OpenBlob,
        reporter: Reporter,
        limit: int,
    ):
        self._images = images
        self._session = session
        self._open_blob = open_blob
        self._reporter = reporter
        self._limit = limit
        self._queue_bytes = 0
        self._waiting: list[Wanted] = []
        self._running: list[LayerFetch] = []
        self._ended: queue.SimpleQueue[LayerFetch] = queue.SimpleQueue()

    def fetch(self, wanted: Sequence[Wanted]) -> None:
        """Return when all layers are there, each with its rows; those that are, are not fetched.

        After an error the layers that were ready are there all the same, and of the others what had
        come is kept.  Raises IntegrityError, InvalidArgument, Unavailable, KernelError, and what
        the registry says.
        """
        self._waiting = self._missing(wanted)
        together = max(1, min(self._limit, len(self._waiting)))
        self._queue_bytes = min(_MAX_QUEUE_BYTES, _QUEUES_BYTES // (together * QUEUES))
        for layer in self._waiting[together:]:
            self._reporter.say(reporting.WAITING, layer.name)
        try:
            while self._waiting or self._running:
                self._start()
                self._publish(self._next())
        finally:
            self._stop()

    def _missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those to fetch, once each: an image may have a layer twice."""
        missing: dict[str, Wanted] = {}
        for layer in wanted:
            if self._images.layers.exists(layer.diff_id):
                self._reporter.say(reporting.EXISTS, layer.name)
            elif layer.diff_id not in missing:
                missing[layer.diff_id] = layer
                self._reporter.say(reporting.PULLING, layer.name, size=layer.descriptor.size)
        return list(missing.values())

    def _start(self) -> None:
        """Begin with what may begin: what another process fetches has to wait."""
        still: list[Wanted] = []
        for layer in self._waiting:
            if len(self._running) >= self._limit:
                still.append(layer)
                continue
            partial = Partial(self._images.store, layer.descriptor.digest)
            if not partial.try_lock():
                still.append(layer)
            elif self._images.layers.exists(layer.diff_id):
                partial.unlock()
                self._reporter.say(reporting.EXISTS, layer.name)
            else:
                self._run(layer, partial)
        self._waiting = still

    def _run(self, layer: Wanted, partial: Partial) -> None:
        fetch = LayerFetch(
            layer,
            partial,
            session=self._session,
            open_blob=self._open_blob,
            reporter=self._reporter,
            queue_bytes=self._queue_bytes,
            finished=self._ended.put,
        )
        self._running.append(fetch)
        fetch.start()

    def _next(self) -> list[LayerFetch]:
        """The layers that have ended since; waits for one, if there is one to wait for."""
        if not (self._running or self._waiting):
            return []
        blocked = bool(self._waiting) and len(self._running) < self._limit
        try:
            found = [self._ended.get(timeout=_POLL_S if blocked else None)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            found.append(self._ended.get())
        return found

    def _publish(self, ended: Sequence[LayerFetch]) -> None:
        """Make the layers part of the root; raises the error of the first that has one."""
        good = [fetch for fetch in ended if fetch.error is None]
        for fetch in ended:
            self._running.remove(fetch)  # whatever happens now, it is not done twice
        try:
            self._write_down(good)
        finally:
            for fetch in ended:
                fetch.partial.unlock()
        for fetch in good:
            self._reporter.say(reporting.COMPLETE, fetch.wanted.name)
        point("images.pull.layer")
        for fetch in ended:
            if fetch.error is not None:
                raise fetch.error

    def _write_down(self, good: Sequence[LayerFetch]) -> None:
        staged = [fetch.staged for fetch in good if fetch.staged is not None]
        if not staged:
            return
        self._session.publish(staged)
        point("images.pull.published")
        with self._images.store.transaction() as db:
            self._session.record(db, staged)
            for fetch in good:
                self._images.blobs.record(db, _blob(fetch.wanted))

    def _stop(self) -> None:
        """Let what still runs after an error end; what is ready by then is not lost."""
        if not self._running:
            return
        for fetch in self._running:
            fetch.abort(_Stopped("another layer failed"))
        for fetch in self._running:
            fetch.join()
        ready = [fetch for fetch in self._running if fetch.error is None]
        for fetch in self._running:
            if fetch.error is not None:
                fetch.partial.unlock()
        self._running = list(ready)
        self._publish(ready)


def _blob(layer: Wanted) -> Blob:
    blob = layer.descriptor
    return Blob(blob.digest, layer.diff_id, blob.media_type, blob.size)
