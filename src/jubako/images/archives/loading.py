"""`load`: images from docker-archives and OCI layouts."""

from __future__ import annotations

from jubako.errors import IntegrityError, InvalidArgument, InvalidReference, NotFound
from jubako.images import events, records
from jubako.images.archives.reading import Archive
from jubako.images.config_check import parse_config
from jubako.images.platform_check import require_platform
from jubako.oci import manifest, media
from jubako.oci import platform as platforms
from jubako.oci.digest import Digest
from jubako.oci.documents import parse_json
from jubako.oci.reference import parse
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.archives.reading import Watch
    from jubako.images.layers.session import StagedLayer
    from jubako.images.stream import Readable
    from jubako.oci.image import Platform
    from jubako.oci.manifest import Descriptor, Index
    from jubako.oci.reference import Reference

_MAX_INDEX_DEPTH = 4  # an index may name an index
_CONTAINERD_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


class _Image:
    """An image found in an archive and checked."""

    def __init__(
        self, config: bytes, diff_ids: list[str], names: list[Reference], parent: str | None = None
    ):
        self.id = Digest.of(config)
        self.config = config
        self.diff_ids = diff_ids
        self.names = names
        self.parent = parent


def load(
    images: ImageService,
    stream: Readable,
    *,
    platform: str | None = None,
    progress: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> list[str]:
    """See `ImageService.load`.  watch: see `Archive`."""
    wanted_platform = None if platform is None else platforms.parse(platform)
    with images.session() as session:
        archive = Archive(session, progress, watch)
        archive.read(stream)
        point("images.load.read")
        found = _Loader(images, archive, wanted_platform).images()
        if platform is not None:
            for image in found:
                require_platform(parse_json(image.config, image.id), platform, image.id)
        wanted = {diff_id for image in found for diff_id in image.diff_ids}
        staged = [layer for layer in archive.layers() if layer.diff_id in wanted]
        session.publish(staged)
        for image in found:
            images.content.write(image.config)
        point("images.load.published")
        lines = []
        with images.store.transaction() as db:
            session.record(db, staged)
            for image in found:
                records.insert_image(
                    db, image.id, image.config, image.diff_ids, parent=image.parent
                )
            for image in found:
                for name in image.names:
                    before = records.set_tag(db, name, image.id)
                    if before is not None:
                        lines.append(
                            f"The image {name.familiar()} already exists, renaming the old one "
                            f"with ID {before} to empty string"
                        )
                    lines.append(f"Loaded image: {name.familiar()}")
                if not image.names:
                    lines.append(f"Loaded image ID: {image.id}")
                events.emit(images.store, "load", image.id)
            point("images.load.recorded")
        images.store.flush()
        point("images.load.done")
    return lines


class _Loader:
    def __init__(self, images: ImageService, archive: Archive, platform: Platform | None):
        self._images = images
        self._archive = archive
        self._platform = platform

    def images(self) -> list[_Image]:
        """All images of the archive, each checked.  Raises InvalidArgument, IntegrityError."""
        if self._archive.has("manifest.json"):
            found = list(self._docker())
        elif self._archive.has("index.json"):
            found = list(self._oci())
        elif self._archive.has("repositories"):
            raise InvalidArgument(
                "image archive: the format of Docker before 1.10 is not supported",
                hint="load it with an older Docker and save it again",
            )
        else:
            raise InvalidArgument(
                "image archive: neither manifest.json nor index.json was found",
                hint="a tar of a root file system is for `jubako import`",
            )
        if not found:
            raise InvalidArgument("image archive: it holds no image for this platform")
        return found

    # --- docker-archive --------------------------------------------------------------------------

    def _docker(self) -> Iterator[_Image]:
        items = parse_json(self._archive.document("manifest.json"), "manifest.json")
        if not isinstance(items, list):
            raise InvalidArgument("manifest.json: not a list")
        for item in items:
            if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
                raise InvalidArgument("manifest.json: an image without Config")
            layers = _strings(item.get("Layers"), "manifest.json: Layers")
            data = self._archive.document(item["Config"])
            names = [_tag(text) for text in _strings(item.get("RepoTags"), "RepoTags")]
            parent = item.get("Parent")
            if parent is not None:
                parent = Digest.parse(str(parent))
            yield self._image(data, item["Config"], layers, names, parent)

    def _image(
        self,
        data: bytes,
        what: str,
        layers: list[str],
        names: list[Reference],
        parent: str | None = None,
    ) -> _Image:
        config = parse_config(data, what)
        diff_ids = config["rootfs"]["diff_ids"]
        if len(layers) != len(diff_ids):
            raise InvalidArgument(
                "invalid manifest, layers length mismatch: "
                f"expected {len(diff_ids)}, got {len(layers)}"
            )
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            staged = self._archive.layer(layer)
            if staged is None:
                # An archive may leave out what it supposes to be there.
                if not self._images.layers.exists(diff_id):
                    raise InvalidArgument(f"image archive: layer {layer[:200]} is missing")
            elif staged.diff_id != diff_id:
                raise IntegrityError(
                    f"layers from manifest don't match image configuration: layer {layer}: "
                    f"expected {diff_id}, found {staged.diff_id}",
                    subject=diff_id,
                )
        return _Image(data, diff_ids, names, parent)

    # --- OCI layout ------------------------------------------------------------------------------

    def _oci(self) -> Iterator[_Image]:
        if self._archive.has("oci-layout"):
            layout = parse_json(self._archive.document("oci-layout"), "oci-layout")
            version = layout.get("imageLayoutVersion") if isinstance(layout, dict) else None
            if not isinstance(version, str) or not version.startswith("1."):
                raise InvalidArgument(f"oci-layout: unsupported version {version!r}")
        data = self._archive.document("index.json")
        index = manifest.parse(data, media.OCI_INDEX, "index.json")
        assert isinstance(index, manifest.Index)
        found: dict[Digest, _Image] = {}
        for entry in index.manifests:
            for image in self._entry(entry, _names(entry), 0):
                known = found.setdefault(image.id, image)
                if known is not image:
                    known.names += [name for name in image.names if name not in known.names]
        yield from found.values()

    def _entry(
        self, descriptor: Descriptor, names: list[Reference], depth: int
    ) -> Iterator[_Image]:
        """The image that an entry of an index leads to; none if it is an artifact's."""
        what = f"manifest {descriptor.digest}"
        found = manifest.parse(self._blob(descriptor), descriptor.media_type, what)
        if isinstance(found, manifest.Index):
            yield from self._index(found, what, names, depth + 1)
        elif found.is_image:
            found.require_image(what)
            for layer in found.layers:
                self._check_blob(layer)
            paths = [_blob_path(layer) for layer in found.layers]
            config = found.config
            yield self._image(self._blob(config), f"config {config.digest}", paths, names)

    def _index(
        self, index: Index, what: str, names: list[Reference], depth: int
    ) -> Iterator[_Image]:
        """The image for the platform that is wanted."""
        if depth > _MAX_INDEX_DEPTH:
            raise InvalidArgument(f"{what}: indexes are nested too deeply")
        try:
            entry = manifest.choose(index, self._platform, what)
        except NotFound:
            return  # the archive may have other images
        own = names + [name for name in _names(entry) if name not in names]
        yield from self._entry(entry, own, depth)

    def _blob(self, descriptor: Descriptor) -> bytes:
        data = self._archive.document(_blob_path(descriptor))
        if len(data) != descriptor.size:
            raise IntegrityError(
                f"blob {descriptor.digest}: expected {descriptor.size} bytes, found {len(data)}"
            )
        return data

    def _check_blob(self, descriptor: Descriptor) -> None:
        """The digest was checked when the blob passed; here its presence."""
        staged: StagedLayer | None = self._archive.layer(_blob_path(descriptor))
        if staged is not None and staged.blob is not None:
            if staged.blob != descriptor.digest:
                raise IntegrityError(
                    f"blob: expected {descriptor.digest}, found {staged.blob}",
                    subject=descriptor.digest,
                )


def _strings(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{what}: not a list of strings")
    return value


def _tag(text: str) -> Reference:
    try:
        reference = parse(text)
    except InvalidReference as exc:
        raise InvalidArgument(f"image archive: {exc}: {text[:200]!r}") from exc
    if reference.tag is None or reference.digest is not None:
        raise InvalidArgument(f"invalid tag {text[:200]!r}")
    return reference


def _blob_path(descriptor: Descriptor) -> str:
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.encoded}"


def _names(descriptor: Descriptor) -> list[Reference]:
    """The image's name by containerd's annotation, or by OCI's if it is more than a tag."""
    name = descriptor.annotations.get(_CONTAINERD_NAME)
    if name is None:
        name = descriptor.annotations.get(_REF_NAME)
        if name is None or not ("/" in name or ":" in name):
            return []
    try:
        reference = parse(name)
    except InvalidReference as exc:
        raise InvalidArgument(f"index.json: {exc}: {name[:200]!r}") from exc
    return [] if reference.digest is not None else [reference.tagged()]
