"""The side of a copy that gets the images."""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError
from jubako.images.archives.loading import load
from jubako.images.copying.watching import Watch
from jubako.images.layers.temporary import LOCK
from jubako.images.reporting import RECEIVED, RECEIVING
from jubako.oci.digest import Digest
from jubako.oci.manifest import MAX_SIZE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.copying.protocol import Peer
    from jubako.images.progress import Progress

_MAX_LAYERS = 100_000


def receive(images: ImageService, peer: Peer, progress: Progress | None = None) -> list[str]:
    """Get images; what was loaded, as `load` tells it.

    Raises what `load` raises and what the other side says; the other side is told, too.
    """
    # What is there now must still be there when the archive without it has come.
    with images.store.lock(LOCK, shared=True):
        try:
            offered = _layers(peer.hear_greeting(), peer.name)
            watch = Watch(progress, offered, RECEIVING, RECEIVED)
            missing = [diff_id for diff_id in offered if not images.layers.exists(diff_id)]
        except JubakoError as exc:
            peer.fail(exc, greeting=True)
            raise
        peer.greet({"missing": missing})
        watch.announce(frozenset(missing))
        try:
            loaded = load(images, peer, watch=watch)
        except JubakoError as exc:
            peer.fail(exc, greeting=False)
            raise
        peer.say({"loaded": loaded})
    return loaded


def _layers(message: dict[str, Any], name: str) -> dict[str, int]:
    """The sizes of the layers that are offered, in bytes, by their diff IDs."""
    found = message.get("layers")
    if not isinstance(found, dict) or len(found) > _MAX_LAYERS:
        raise InvalidArgument(f"{name}: its offer has no list of at most {_MAX_LAYERS} layers")
    for size in found.values():
        if type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:  # a bool is an int, too
            raise InvalidArgument(f"{name}: it offers a layer of {str(size)[:40]} bytes")
    return {Digest.parse(diff_id): size for diff_id, size in found.items()}
