"""The rest of a layer: its blob from the first byte to the last, each part filled as it passes."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images import ImageService
    from jubako.images.lazy.filler import Filler

_POLL_S = 0.2  # flock has no time-out
_GIVE_WAY_S = 1.0  # at most: also under constant reading the rest comes


class Waiting:
    """How many readers wait: the rest gives way to them.  Used with `with`, by threads."""

    def __init__(self) -> None:
        self._number = 0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._number += 1

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._number -= 1
            self._changed.notify_all()

    def give_way(self) -> None:
        """Return when no reader waits, or soon."""
        with self._changed:
            self._changed.wait_for(lambda: not self._number, _GIVE_WAY_S)


class Rest:
    """Fetches what one layer still lacks."""

    def __init__(self, filler: Filler, images: ImageService, waiting: Waiting):
        self._filler = filler
        self._images = images
        self._waiting = waiting

    def fetch(self) -> None:
        """Return when the data of the layer is complete, and its blob, if nobody else fetches it.

        Raises IntegrityError, Unavailable, KernelError, and what else the registry says.
        """
        partial = self._filler.partial
        while not partial.try_lock():
            # Another pull does.  What it has unpacked, new containers use; the old ones need more.
            if self._images.blobs.find(self._filler.descriptor.digest) is not None:
                break
            time.sleep(_POLL_S)
        try:
            if partial.is_locked:
                self._blob()
            for number in range(len(self._filler.layer.parts)):
                self._filler.fill_part(number)
        finally:
            partial.unlock()

    def _blob(self) -> None:
        """The blob, which may have come in part, and the parts that are in what has come."""
        filler, partial, blob = self._filler, self._filler.partial, self._filler.descriptor
        if partial.size > blob.size:
            partial.clear()
        order = sorted(range(len(filler.layer.parts)), key=lambda i: filler.layer.blob_range(i)[1])
        done = self._fill(order, 0)
        if partial.size == blob.size:
            return
        with filler.repository.open_blob(blob, partial.size) as stream:
            known = partial.size - stream.offset  # a server may know nothing of ranges
            for piece in stream:
                if known >= len(piece):
                    known -= len(piece)
                    continue
                partial.append(piece[known:])
                known = 0
                done = self._fill(order, done)
                self._waiting.give_way()

    def _fill(self, order: list[int], done: int) -> int:
        """Fill the parts that have come since the first `done` of them; how many there are now."""
        layer = self._filler.layer
        while done < len(order) and layer.blob_range(order[done])[1] <= self._filler.partial.size:
            self._filler.fill_part(order[done])
            done += 1
        return done
