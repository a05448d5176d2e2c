"""Media types of manifests, configs and layers: OCI's, and Docker's which came before them."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
# Layers that the licence forbids to hand on; the specification advises against new ones.
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP = OCI_FOREIGN + "+gzip"
OCI_FOREIGN_ZSTD = OCI_FOREIGN + "+zstd"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = DOCKER_FOREIGN + ".gzip"
# Before 2016: layers in the wrong order, no config, signed by nobody that anyone checked.
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
SCHEMA1 = frozenset((DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))
_COMPRESSIONS = {
    OCI_LAYER: "plain",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    OCI_FOREIGN: "plain",
    OCI_FOREIGN_GZIP: "gzip",
    OCI_FOREIGN_ZSTD: "zstd",
    DOCKER_LAYER: "plain",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN: "plain",
    DOCKER_FOREIGN_GZIP: "gzip",
}
_FOREIGN = frozenset(
    (OCI_FOREIGN, OCI_FOREIGN_GZIP, OCI_FOREIGN_ZSTD, DOCKER_FOREIGN, DOCKER_FOREIGN_GZIP)
)

# What a registry may answer with when it is asked for a manifest, in the order that we like.
ACCEPTED = (OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST)


def is_layer(media_type: str) -> bool:
    """Whether it names a layer: a tar, compressed or not, to be handed on or not."""
    return media_type in _COMPRESSIONS


def is_foreign(media_type: str) -> bool:
    """Whether it names a layer that its maker alone hands out (`urls` of its descriptor)."""
    return media_type in _FOREIGN


def compression_of(media_type: str) -> str:
    """`plain`, `gzip` or `zstd`: what a layer's media type promises; "" if it is no layer's.

    A promise only: some registries hold gzip under the name of a plain tar, so readers look at the
    first bytes.
    """
    return _COMPRESSIONS.get(media_type, "")
