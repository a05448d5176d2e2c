"""Which manifest an image is pushed with."""

from __future__ import annotations

from jubako.images import records
from jubako.images.content.manifests import find_kept
from jubako.oci import media
from jubako.oci.digest import Digest, canonical_json
from jubako.oci.manifest import Descriptor, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jubako.images import ImageService
    from jubako.images.content.blobs import Blob

_DOCKER_TYPES = {"gzip": media.DOCKER_LAYER_GZIP}
_OCI_TYPES = {
    "plain": media.OCI_LAYER,
    "gzip": media.OCI_LAYER_GZIP,
    "zstd": media.OCI_LAYER_ZSTD,
}


class Prepared:
    """A manifest with its exact bytes, and the image that it is of.

    diff_ids: of `manifest.layers`, one for one.  config: the exact bytes.
    """

    __slots__ = ("config", "data", "diff_ids", "digest", "manifest")

    def __init__(
        self, data: bytes, manifest: Manifest, config: bytes, diff_ids: Sequence[str]
    ) -> None:
        self.data = data
        self.digest = Digest.of(data)
        self.manifest = manifest
        self.config = config
        self.diff_ids = [Digest(diff_id) for diff_id in diff_ids]


def came_with(images: ImageService, image_id: str) -> list[Prepared]:
    """The manifests that the image was pulled or pushed with, the latest first.

    An index is not among them: the manifests for other platforms are not here.
    """
    query = "SELECT digest, media_type FROM manifests WHERE image_id = ? ORDER BY seen_ns DESC"
    rows = images.store.db.execute(query, (image_id,)).fetchall()
    found = (_kept(images, image_id, Digest(row["digest"]), row["media_type"]) for row in rows)
    return [prepared for prepared in found if prepared is not None]


def _kept(images: ImageService, image_id: str, digest: Digest, media_type: str) -> Prepared | None:
    """None: it is not kept, damaged, or not the manifest of this image alone."""
    kept = find_kept(images.content, digest, media_type)
    if kept is None:
        return None
    data, manifest = kept
    diff_ids = records.diff_ids(images.store, image_id)
    if not isinstance(manifest, Manifest) or manifest.config.digest != image_id:
        return None
    if len(diff_ids) != len(manifest.layers):
        return None
    config = records.row(images.store, image_id)["config"].encode()
    prepared = Prepared(data, manifest, config, diff_ids)
    return prepared if prepared.digest == digest else None


def new_manifest(images: ImageService, image_id: str, layers: Sequence[Blob]) -> Prepared:
    """A manifest of the image's exact config and of blobs of its layers, the lowest first.

    Docker's schema 2 knows gzip only; with layers that were pulled in another form it is OCI's.
    """
    config = records.row(images.store, image_id)["config"].encode()
    forms = [media.compression_of(blob.media_type) for blob in layers]
    docker = all(form in _DOCKER_TYPES for form in forms)
    types = _DOCKER_TYPES if docker else _OCI_TYPES
    manifest = Manifest(
        media.DOCKER_MANIFEST if docker else media.OCI_MANIFEST,
        Descriptor(
            media.DOCKER_CONFIG if docker else media.OCI_CONFIG, Digest(image_id), len(config)
        ),
        tuple(
            Descriptor(types[form], blob.digest, blob.size_bytes)
            for form, blob in zip(forms, layers, strict=True)
        ),
    )
    data = canonical_json(manifest.to_json())
    return Prepared(data, manifest, config, [blob.diff_id for blob in layers])
