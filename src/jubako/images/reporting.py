"""What a transfer tells about itself, in Docker's words, from all of its threads."""

from __future__ import annotations

import threading
import time

from jubako.images.progress import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.images.progress import Progress
    from jubako.oci.digest import Digest

_INTERVAL_S = 0.1  # between two counts of one layer
_SHORT = 12  # digits of a digest, as in all lists

PULLING = "Pulling fs layer"
WAITING = "Waiting"
DOWNLOADING = "Downloading"
VERIFYING = "Verifying Checksum"
DOWNLOADED = "Download complete"
EXTRACTING = "Extracting"
COMPLETE = "Pull complete"
EXISTS = "Already exists"
ARRIVING = "Arriving"
# of a copy from machine to machine, which Docker does not have
SENDING = "Sending"
SENT = "Sent"
RECEIVING = "Receiving"
RECEIVED = "Received"


def short(digest: Digest) -> str:
    """What a layer is called in messages."""
    return digest.encoded[:_SHORT]


class Reporter:
    """Hands events on, one at a time."""

    def __init__(self, progress: Progress | None):
        self._progress = progress
        self._lock = threading.Lock()
        self._counted: dict[str, float] = {}

    def say(self, status: str, id: str = "", *, size: int | None = None) -> None:
        """A step that nobody may miss.  size: bytes of the layer that begins."""
        if self._progress is not None:
            with self._lock:
                self._progress(Event(status, id, None, size))

    def count(self, status: str, id: str, current: int, total: int) -> None:
        """How far a layer has come, in bytes; dropped if the last count was a moment ago."""
        if self._progress is None:
            return
        with self._lock:
            now = time.monotonic()
            if now - self._counted.get(id, 0.0) >= _INTERVAL_S:
                self._counted[id] = now
                self._progress(Event(status, id, current, total))

    def counter(self, status: str, id: str, total: int) -> Callable[[int], None]:
        """`count` for who knows the bytes of each piece only: to be called with them."""
        done = 0

        def counted(size: int) -> None:
            nonlocal done
            done += size
            self.count(status, id, min(done, total), total)

        return counted

    def warn(self, text: str) -> None:
        """What the registry, or the image, wants its users to know."""
        self.say(f"WARNING: {text}")

    def retry(self, what: str, after_s: float) -> None:
        """Something failed that is tried again."""
        self.say(f"Retrying in {after_s:.0f} seconds: {what}")
