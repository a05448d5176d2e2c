"""What a reference stands for: its manifest and config, fetched and checked.

A HEAD asks what a tag points at, which does not count against the limits of Docker Hub; a document
is fetched only if its digest is new.
"""

from __future__ import annotations

from jubako.errors import (
    IntegrityError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthorized,
    Unsupported,
)
from jubako.images.config_check import MAX_CONFIG_BYTES, parse_config
from jubako.images.pulling.layer import Wanted
from jubako.images.registries.remote import read_blob
from jubako.oci import platform as platforms
from jubako.oci.digest import Digest
from jubako.oci.manifest import MAX_MANIFEST_BYTES, Index, Manifest, choose, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images import ImageService
    from jubako.oci.image import ImageConfig
    from jubako.oci.manifest import Descriptor
    from jubako.oci.reference import Reference
    from jubako.registry.headers import Quota
    from jubako.registry.repository import Repository

_MAX_INDEX_DEPTH = 4  # an index may name an index


class Document:
    """A manifest or index as it came; media_type may be a server's guess until it was parsed."""

    __slots__ = __match_args__ = ("digest", "media_type", "data")

    def __init__(self, digest: Digest, media_type: str, data: bytes):
        self.digest = digest
        self.media_type = media_type
        self.data = data


class Target:
    """An image in a registry.

    documents: the one that the reference names first, the image's manifest last.  quota: what the
    registry told about its limits.
    """

    def __init__(
        self,
        reference: Reference,
        documents: list[Document],
        manifest: Manifest,
        config_data: bytes,
        config: ImageConfig,
        quota: Quota | None,
    ):
        self.reference = reference
        self.documents = documents
        self.manifest = manifest
        self.config_data = config_data
        self.config = config
        self.quota = quota

    @property
    def digest(self) -> Digest:
        """What the registry knows the reference as."""
        return self.documents[0].digest

    @property
    def image_id(self) -> Digest:
        return self.manifest.config.digest

    def layers(self) -> list[Wanted]:
        """The lowest first."""
        diff_ids = self.config["rootfs"]["diff_ids"]
        return [
            Wanted(layer, Digest(diff_id))
            for layer, diff_id in zip(self.manifest.layers, diff_ids, strict=True)
        ]


class Resolver:
    """Looks references of one repository up."""

    def __init__(self, images: ImageService, repository: Repository, platform: str | None):
        self._images = images
        self._repository = repository
        # None: whatever the processor runs best
        self._platform = None if platform is None else platforms.parse(platform)

    def resolve(self, reference: Reference) -> Target:
        """The image of a tag or digest; of an index, the one for the platform.

        An image that is in no index may be for another one: see `platform_check`.
        Raises NotFound, Unsupported (schema 1, an artifact), InvalidArgument, IntegrityError, and
        what the registry says.
        """
        what = reference.familiar()
        found, quota = self._first(reference)
        documents = [found]
        parsed = parse(found.data, found.media_type, what)
        found.media_type = parsed.media_type
        while isinstance(parsed, Index):
            if len(documents) > _MAX_INDEX_DEPTH:
                raise InvalidArgument(f"{what}: indexes are nested too deeply")
            chosen = choose(parsed, self._platform, what)
            found = self._document(chosen.digest, chosen.media_type)
            _check_size(found, chosen)
            documents.append(found)
            parsed = parse(found.data, found.media_type, f"{what}: manifest {found.digest}")
            found.media_type = parsed.media_type
        parsed.require_image(what)
        if parsed.config.digest.algorithm != "sha256":  # the image ID; Docker takes no other either
            raise Unsupported(f"{what}: its config has the digest {parsed.config.digest}")
        data = self._config(parsed.config)
        config = parse_config(data, f"config {parsed.config.digest}")
        _check_layers(parsed, config)
        return Target(reference, documents, parsed, data, config, quota)

    def _first(self, reference: Reference) -> tuple[Document, Quota | None]:
        """The document that a tag or digest names, and the registry's quota."""
        name = reference.digest or reference.tag or ""
        try:
            head = self._repository.head_manifest(name)
        except (PermissionDenied, Unauthorized):
            head = None
        if head is not None and head.digest is not None:
            known = self._known(head.digest, head.media_type)
            if known is not None:
                return known, head.quota
        # Also after a refusal: a HEAD's answer has no body to say what is wrong.
        got = self._repository.get_manifest(name)
        return Document(got.digest, got.media_type, got.data), got.quota or (head and head.quota)

    def _document(self, digest: Digest, media_type: str) -> Document:
        known = self._known(digest, media_type)
        if known is not None:
            return known
        got = self._repository.get_manifest(digest)
        return Document(got.digest, got.media_type or media_type, got.data)

    def _known(self, digest: Digest, media_type: str) -> Document | None:
        """A document that is here already."""
        query = "SELECT media_type FROM manifests WHERE digest = ?"
        row = self._images.store.db.execute(query, (digest,)).fetchone()
        try:
            data = self._images.content.read(digest, MAX_MANIFEST_BYTES)
        except (NotFound, IntegrityError):
            return None
        return Document(digest, row["media_type"] if row else media_type, data)

    def _config(self, descriptor: Descriptor) -> bytes:
        what = f"config {descriptor.digest}"
        query = "SELECT config FROM images WHERE id = ?"
        row = self._images.store.db.execute(query, (descriptor.digest,)).fetchone()
        if row is not None:
            return str(row["config"]).encode()
        return read_blob(self._repository, descriptor, MAX_CONFIG_BYTES, what)


def _check_size(found: Document, descriptor: Descriptor) -> None:
    if len(found.data) != descriptor.size:
        raise IntegrityError(
            f"manifest {found.digest}: expected {descriptor.size} bytes, found {len(found.data)}",
            subject=found.digest,
        )


def _check_layers(manifest: Manifest, config: ImageConfig) -> None:
    diff_ids = config["rootfs"]["diff_ids"]
    if len(manifest.layers) != len(diff_ids):
        raise InvalidArgument(
            "invalid manifest, layers length mismatch: "
            f"expected {len(diff_ids)}, got {len(manifest.layers)}"
        )
