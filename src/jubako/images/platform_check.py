"""Whether an image is for the platform that somebody asks for."""

from __future__ import annotations

from jubako.errors import NotFound
from jubako.images.content.manifests import find_kept
from jubako.oci import media
from jubako.oci import platform as platforms
from jubako.oci.digest import Digest
from jubako.oci.manifest import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jubako.images import ImageService
    from jubako.oci.manifest import Descriptor


def require_platform(config: Mapping[str, Any], wanted: str, name: str) -> None:
    """Check what `--platform` says against the configuration of an image that is not here yet.

    wanted: `os/arch[/variant]`.  name: the image's, for the error.
    Raises InvalidArgument (no platform), NotFound with Docker's words.
    """
    platform = platforms.parse(wanted)
    actual = platforms.of_config(config)
    if not platforms.matches(platform, actual):
        raise NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {platforms.text(platform)}, actual: {platforms.text(actual)}",
            subject=name,
        )


def require_image_platform(images: ImageService, image_id: str, wanted: str, name: str) -> None:
    """The same for an image that is here, which an index may have named for the platform, too.

    Some builders write their own platform into every configuration: the index is right then.
    Raises as `require_platform`; NotFound also if there is no such image.
    """
    try:
        require_platform(images.config(image_id), wanted, name)
    except NotFound:
        platform = platforms.parse(wanted)
        offers = (entry.platform for entry in _entries(images, image_id))
        if not any(offer and platforms.rank(platform, offer) is not None for offer in offers):
            raise


def _entries(images: ImageService, image_id: str) -> Iterator[Descriptor]:
    """What the indexes that were pulled say of an image's manifests."""
    db = images.store.db
    query = "SELECT digest FROM manifests WHERE image_id = ?"
    manifests = {row["digest"] for row in db.execute(query, (image_id,))}
    # An index has the row of one image only, the one pulled last by it: all are looked at.
    query = "SELECT digest, media_type FROM manifests WHERE media_type IN (?, ?)"
    for row in db.execute(query, (media.OCI_INDEX, media.DOCKER_INDEX)).fetchall():
        match find_kept(images.content, Digest(row["digest"]), row["media_type"]):
            case _, Index(_, entries):
                yield from (entry for entry in entries if entry.digest in manifests)
