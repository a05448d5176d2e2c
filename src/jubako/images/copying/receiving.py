"""The side of a copy that gets the images."""

from __future__ import annotations

from jubako.errors import InvalidArgument, JubakoError
from jubako.images.layers.temporary import LOCK
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.copying.protocol import Peer

_MAX_LAYERS = 100_000


def receive(images: ImageService, peer: Peer) -> list[str]:
    """Get images; what was loaded, as `load` tells it.

    Raises what `load` raises and what the other side says; the other side is told, too.
    """
    # What is there now must still be there when the archive without it has come.
    with images.store.lock(LOCK, shared=True):
        try:
            offered = _layers(peer.hear_greeting(), peer.name)
            missing = [diff_id for diff_id in offered if not images.layers.exists(diff_id)]
        except JubakoError as exc:
            peer.fail(exc, greeting=True)
            raise
        peer.greet({"missing": missing})
        try:
            loaded = images.load(peer)
        except JubakoError as exc:
            peer.fail(exc, greeting=False)
            raise
        peer.say({"loaded": loaded})
    return loaded


def _layers(message: dict[str, Any], name: str) -> list[Digest]:
    found = message.get("layers")
    if not isinstance(found, dict) or len(found) > _MAX_LAYERS:
        raise InvalidArgument(f"{name}: its offer has no list of at most {_MAX_LAYERS} layers")
    return [Digest.parse(diff_id) for diff_id in found]
