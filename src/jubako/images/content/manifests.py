"""Manifests and indexes that were kept, byte for byte, as they came or were sent."""

from __future__ import annotations

from jubako.errors import IntegrityError, InvalidArgument, NotFound, Unsupported
from jubako.oci.manifest import MAX_MANIFEST_BYTES, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images.content.store import ContentStore
    from jubako.oci.digest import Digest
    from jubako.oci.manifest import Index, Manifest


def find_kept(
    content: ContentStore, digest: Digest, media_type: str
) -> tuple[bytes, Manifest | Index] | None:
    """A document of the table `manifests`: its bytes and what they say.

    None: it is not kept, damaged, or not readable for this version.  Raises KernelError.
    """
    try:
        data = content.read(digest, MAX_MANIFEST_BYTES)
        return data, parse(data, media_type, f"manifest {digest}")
    except (NotFound, IntegrityError, InvalidArgument, Unsupported):
        return None
