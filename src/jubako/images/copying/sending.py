"""The side of a copy that has the images."""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError, Unavailable
from jubako.images import events
from jubako.images.archives import saving
from jubako.images.copying.adaptive import compress
from jubako.images.copying.watching import Watch
from jubako.images.layers.temporary import LOCK
from jubako.images.reporting import SENDING, SENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.copying.protocol import Peer
    from jubako.images.progress import Progress


class Copied:
    """What a copy did.

    loaded: lines as `load` prints them.  layers, missing: how many the images have, and how many
    of them were sent.  tar_bytes: of those.  sent_bytes: of the archive on its way.
    """

    __slots__ = __match_args__ = ("loaded", "layers", "missing", "tar_bytes", "sent_bytes")

    def __init__(
        self, loaded: list[str], layers: int, missing: int, tar_bytes: int, sent_bytes: int
    ):
        self.loaded = loaded
        self.layers = layers
        self.missing = missing
        self.tar_bytes = tar_bytes
        self.sent_bytes = sent_bytes


def send(
    images: ImageService,
    references: Sequence[str],
    peer: Peer,
    progress: Progress | None = None,
) -> Copied:
    """Send what the other side lacks.

    Raises NotFound, IntegrityError (a layer is damaged), Unavailable, and what the other side says.
    """
    # The shared lock keeps the layers from being deleted while they are read.
    with images.store.lock(LOCK, shared=True):
        try:
            saved = saving.choose(images, references)
        except JubakoError as exc:
            peer.fail(exc, greeting=True)
            raise
        sizes = {diff_id: image.sizes[diff_id] for image in saved for diff_id in image.layers}
        peer.greet({"images": [image.id for image in saved], "layers": sizes})
        wanted = _wish(peer.hear_greeting(), sizes)
        watch = Watch(progress, sizes, SENDING, SENT)
        watch.announce(wanted)
        try:
            here = frozenset(sizes) - wanted
            # A layer counts as sent when its last megabytes are still being compressed.
            archive = saving.archive(images, saved, leave_out=here, watch=watch)
            for piece in compress(archive):
                peer.write(piece)
            peer.end()
        except Unavailable:
            peer.hear()  # it has ended early, and may have said why
            raise
        loaded = _texts(peer.hear(), "loaded", peer.name)
    for image in saved:
        events.emit_saved(images.store, image.id)
    tar_bytes = sum(sizes[diff_id] for diff_id in wanted)
    return Copied(loaded, len(sizes), len(wanted), tar_bytes, peer.sent_bytes)


def _wish(message: dict[str, Any], sizes: dict[str, int]) -> frozenset[str]:
    """What the other side lacks, of what it was offered."""
    return frozenset(_texts(message, "missing", "the receiving side")) & frozenset(sizes)


def _texts(message: dict[str, Any], key: str, name: str) -> list[str]:
    found = message.get(key)
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InvalidArgument(f"{name}: {key} is not a list of texts")
    return found
