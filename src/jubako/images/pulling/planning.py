"""What a pull would fetch, and what is here already."""

from __future__ import annotations

import os

from jubako.images.content.partial import Partial
from jubako.images.records import tag_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.pulling.layer import Wanted
    from jubako.images.pulling.resolving import Target
    from jubako.oci.digest import Digest
    from jubako.oci.reference import Reference
    from jubako.registry.headers import Quota


class PlannedLayer:
    """A layer of the image in the registry.

    size_bytes: of the blob as it is sent.  fetch_bytes: those that would be fetched: 0 if the layer
    is here, fewer than all if an earlier pull was interrupted, or if the layer is there twice.
    """

    __slots__ = __match_args__ = ("digest", "diff_id", "size_bytes", "fetch_bytes")

    def __init__(self, digest: Digest, diff_id: Digest, size_bytes: int, fetch_bytes: int):
        self.digest = digest
        self.diff_id = diff_id
        self.size_bytes = size_bytes
        self.fetch_bytes = fetch_bytes

    @property
    def here_bytes(self) -> int:
        """Those that would not be fetched."""
        return self.size_bytes - self.fetch_bytes


class Plan:
    """What `pull` would do.

    digest: what the registry has under the name.  is_new: whether that is another image than the
    one that has the name here.  layers: the lowest first.
    """

    def __init__(
        self,
        reference: Reference,
        digest: Digest,
        image_id: Digest,
        is_new: bool,
        layers: list[PlannedLayer],
        quota: Quota | None,
    ):
        self.reference = reference
        self.digest = digest
        self.image_id = image_id
        self.is_new = is_new
        self.layers = layers
        self.quota = quota

    @property
    def fetch_bytes(self) -> int:
        return sum(layer.fetch_bytes for layer in self.layers)

    @property
    def here_bytes(self) -> int:
        return sum(layer.here_bytes for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """The same for programs; sizes in bytes."""
        return {
            "Reference": self.reference.familiar(),
            "Digest": self.digest,
            "ID": self.image_id,
            "New": self.is_new,
            "FetchBytes": self.fetch_bytes,
            "HereBytes": self.here_bytes,
            "Layers": [
                {
                    "Digest": layer.digest,
                    "DiffID": layer.diff_id,
                    "Size": layer.size_bytes,
                    "FetchBytes": layer.fetch_bytes,
                }
                for layer in self.layers
            ],
        }


def make_plan(images: ImageService, target: Target) -> Plan:
    """What is missing of the image."""
    seen: set[str] = set()
    layers = []
    for layer in target.layers():
        missing = 0 if layer.diff_id in seen else _missing_bytes(images, layer)
        seen.add(layer.diff_id)
        blob = layer.descriptor
        layers.append(PlannedLayer(blob.digest, layer.diff_id, blob.size, missing))
    query = "SELECT 1 FROM tags WHERE name = ? AND image_id = ?"
    key = (tag_name(target.reference), target.image_id)
    is_new = images.store.db.execute(query, key).fetchone() is None
    return Plan(target.reference, target.digest, target.image_id, is_new, layers, target.quota)


def _missing_bytes(images: ImageService, layer: Wanted) -> int:
    if images.layers.exists(layer.diff_id):
        return 0
    try:
        kept = os.stat(Partial(images.store, layer.descriptor.digest).path).st_size
    except FileNotFoundError:
        kept = 0
    return max(0, layer.descriptor.size - kept)
