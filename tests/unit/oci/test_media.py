from __future__ import annotations

import pytest

from jubako.oci import media


@pytest.mark.parametrize(
    ("media_type", "compression", "foreign"),
    [
        ("application/vnd.oci.image.layer.v1.tar", "plain", False),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip", False),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd", False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "plain", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "zstd", True),
        ("application/vnd.docker.image.rootfs.diff.tar", "plain", False),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip", False),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "zstd", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar", "plain", True),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip", True),
    ],
)
def test_layers(media_type: str, compression: str, foreign: bool) -> None:
    assert media.is_layer(media_type)
    assert media.compression_of(media_type) == compression
    assert media.is_foreign(media_type) is foreign


@pytest.mark.parametrize(
    "media_type",
    ["", media.OCI_CONFIG, media.OCI_EMPTY, media.OCI_MANIFEST, "application/vnd.cncf.helm.chart"],
)
def test_what_is_no_layer(media_type: str) -> None:
    assert not media.is_layer(media_type)
    assert not media.is_foreign(media_type)
    assert media.compression_of(media_type) == ""
