"""All layers of an image that are missing, at once, shared with other processes that fetch them.

The caller's thread alone looks at the database and takes locks; the threads of the layers only move
bytes.  A layer is published when its last byte was unpacked, with its rows, and not only with its
image: so another pull of it can go on, and a later one after this one was killed finds it.
"""

from __future__ import annotations

import queue
import time

from jubako.errors import JubakoError
from jubako.images import reporting
from jubako.images.content.blobs import Blob
from jubako.images.content.partial import Partial
from jubako.images.pulling.layer import QUEUES, LayerFetch
from jubako.images.pulling.memory import Memory
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.images import ImageService
    from jubako.images.layers.session import Session
    from jubako.images.pulling.layer import OpenBlob, Wanted
    from jubako.images.reporting import Reporter

# What waits in all queues together: with the interpreter, TLS and the pieces that the threads work
# on a pull stays below 150 MB.
_QUEUES_BYTES = 40 << 20
_MAX_QUEUE_BYTES = 4 << 20
_WINDOWS_BYTES = 48 << 20  # of zstd: 6 layers as the best usual compression makes them
_POLL_S = 0.05  # flock has no time-out
_TOGETHER_S = 0.2  # layers are published together: each time waits for the disk


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
        self._memory = Memory(_WINDOWS_BYTES)
        self._waiting: list[Wanted] = []
        self._running: list[LayerFetch] = []
        self._ended: queue.SimpleQueue[LayerFetch] = queue.SimpleQueue()
        self._ready: list[LayerFetch] = []
        self._published_at = 0.0

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
            while self._waiting or self._running or self._ready:
                self._start()
                error = self._take(self._next())
                if error is not None:
                    raise error
                if self._publish_in() <= 0:
                    self._publish()
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
            keeps=self._images.blobs.policy == "keep",
            queue_bytes=self._queue_bytes,
            memory=self._memory,
            finished=self._ended.put,
        )
        self._running.append(fetch)
        fetch.start()

    def _next(self) -> list[LayerFetch]:
        """The layers that have ended since; waits a moment for one if there is nothing to do.

        A signal that arrives just before a wait does not end it: nothing waits for long.
        """
        timeout_s = self._publish_in()
        if self._waiting and len(self._running) < self._limit:
            timeout_s = _POLL_S  # another process fetches it
        found = []
        try:
            if self._running:
                found.append(self._ended.get(timeout=timeout_s))
            elif timeout_s:
                time.sleep(timeout_s)
            while True:
                found.append(self._ended.get_nowait())
        except queue.Empty:
            return found

    def _take(self, ended: Sequence[LayerFetch]) -> BaseException | None:
        """Sort out what has ended; the error of the first that has one."""
        error = None
        for fetch in ended:
            self._running.remove(fetch)
            if fetch.error is None:
                self._ready.append(fetch)
            else:
                fetch.partial.unlock()
                error = error or fetch.error
        return error

    def _publish_in(self) -> float:
        """Seconds until the layers that are ready are to be published."""
        if not self._ready:
            return _TOGETHER_S
        if not (self._running or self._waiting):
            return 0.0
        return max(0.0, self._published_at + _TOGETHER_S - time.monotonic())

    def _publish(self) -> None:
        """Make the layers that are ready part of the root."""
        ready, self._ready = self._ready, []  # whatever happens now, it is not done twice
        try:
            self._write_down(ready)
        finally:
            for fetch in ready:
                fetch.partial.unlock()
        self._published_at = time.monotonic()
        for fetch in ready:
            self._reporter.say(reporting.COMPLETE, fetch.wanted.name)
        point("images.pull.layer")

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
        for fetch in self._running:
            fetch.abort(_Stopped("another layer failed"))
        for fetch in self._running:
            fetch.join()
        self._take(list(self._running))
        if self._ready:
            self._publish()


def _blob(layer: Wanted) -> Blob:
    blob = layer.descriptor
    return Blob(blob.digest, layer.diff_id, blob.media_type, blob.size)
