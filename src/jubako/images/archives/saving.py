"""`save`: the archive that Docker 25 and later write, an OCI layout with a docker manifest.

    blobs/sha256/<hex>   configs, manifests, layers as plain tars
    index.json           one descriptor for each name           (OCI layout)
    manifest.json        the images, as `docker load` reads them (docker-archive)
    oci-layout
    repositories         names and top layers, for very old readers

Members are sorted and have no times, so equal images give equal bytes.

Layers may be left out (`since`): the image layout allows for blobs that are elsewhere, and Docker
and `load` look for the file of a layer only if they do not have the layer.
"""

from __future__ import annotations

import json
from contextlib import closing

from jubako.errors import InvalidArgument, NotFound
from jubako.images import events, records
from jubako.images.lazy.places import refuse_arriving
from jubako.images.platform_check import require_image_platform
from jubako.images.stream import Prefetch
from jubako.images.tar import Entry, TarWriter
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.oci.manifest import Descriptor, Index, Manifest
from jubako.oci.reference import DEFAULT_TAG, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    Buffer = bytes | memoryview

    from jubako.images import ImageService
    from jubako.images.archives.reading import Watch
    from jubako.images.stream import Writable
    from jubako.oci.reference import Reference

FORMATS = ("docker", "oci")


class SavedImage:
    """One image and the names under which it is saved.

    layers: diff IDs, the lowest first.  sizes: bytes of each layer's tar, by its diff ID.
    """

    def __init__(self, images: ImageService, image_id: str):
        row = records.row(images.store, image_id)
        self.id = Digest(image_id)
        self.config: bytes = row["config"].encode()
        self.parent: str | None = row["parent"]
        self.layers = records.diff_ids(images.store, image_id)
        refuse_arriving(images.store, self.layers, f"save {image_id}")
        self.names: list[Reference] = []
        marks = ", ".join("?" * len(self.layers))
        query = f"SELECT diff_id, tar_bytes FROM layers WHERE diff_id IN ({marks})"
        self.sizes: dict[str, int] = dict(images.store.db.execute(query, self.layers).fetchall())
        for layer in self.layers:
            if layer not in self.sizes:
                raise NotFound(f"image {image_id}: no such layer: {layer}", subject=layer)
        config = Descriptor(media.OCI_CONFIG, self.id, len(self.config))
        layers = tuple(self.layer_descriptor(layer) for layer in self.layers)
        self.manifest = _json(Manifest(media.OCI_MANIFEST, config, layers).to_json())

    def layer_descriptor(self, layer: str) -> Descriptor:
        return Descriptor(media.OCI_LAYER, Digest(layer), self.sizes[layer])

    def index_entries(self) -> list[Descriptor]:
        digest, size = Digest.of(self.manifest), len(self.manifest)
        names = [
            {
                "io.containerd.image.name": str(name),
                "org.opencontainers.image.ref.name": name.tag or DEFAULT_TAG,
            }
            for name in self.names
        ]
        return [
            Descriptor(media.OCI_MANIFEST, digest, size, annotations=one) for one in names or [{}]
        ]

    def docker_entry(self) -> dict[str, Any]:
        return {
            "Config": _blob(self.id),
            "RepoTags": [name.familiar() for name in self.names] or None,
            "Layers": [_blob(layer) for layer in self.layers],
            "LayerSources": {
                layer: self.layer_descriptor(layer).to_json() for layer in self.layers
            },
        }


def save(
    images: ImageService,
    references: list[str],
    out: Writable,
    *,
    format: str,
    since: Sequence[str] = (),
    platform: str | None = None,
) -> None:
    """See `ImageService.save`."""
    if format not in FORMATS:
        raise InvalidArgument(f"unknown archive format {format[:40]!r}: one of docker, oci")
    if not references:
        raise InvalidArgument("save: no image was named")
    there = layers_of(images, since)
    # The shared lock keeps the layers from being deleted while they are read.
    with images.store.lock("layers", shared=True):
        saved = choose(images, references, platform)
        # Layers are read while what was read before is written.
        with closing(Prefetch(archive(images, saved, format, there), patient=True)) as pieces:
            for piece in pieces:
                out.write(piece)
        for image in saved:
            events.emit_saved(images.store, image.id)


def layers_of(images: ImageService, references: Sequence[str]) -> frozenset[str]:
    """The diff IDs of all layers of some images.  Raises NotFound."""
    return frozenset(
        diff_id
        for reference in references
        for diff_id in records.diff_ids(images.store, images.resolve(reference))
    )


def choose(
    images: ImageService, references: Sequence[str], platform: str | None = None
) -> list[SavedImage]:
    """The images, with the names that were asked for; a bare repository means all its tags.

    Raises NotFound; also if an image is not for the `platform`.
    """
    saved: dict[str, SavedImage] = {}

    def add(image_id: str, name: Reference | None) -> None:
        if image_id not in saved:
            if platform is not None:
                require_image_platform(images, image_id, platform, text)
            saved[image_id] = SavedImage(images, image_id)
        names = saved[image_id].names
        if name is not None and name not in names:
            names.append(name)

    for text in references:
        try:
            reference = parse(text)
        except InvalidArgument:
            add(images.resolve(text), None)
            continue
        if reference.tag is None and reference.digest is None:
            rows = images.store.db.execute(
                "SELECT name, image_id FROM tags WHERE name >= ? AND name < ? ORDER BY name",
                (f"{reference.name}:", f"{reference.name};"),
            ).fetchall()
            for row in rows:
                add(row["image_id"], parse(row["name"]))
            if rows:
                continue
        try:
            image_id, by_name = records.find(images.store, text)
        except NotFound as exc:
            raise NotFound(f"No such image: {text}", subject=text) from exc
        add(image_id, reference.tagged() if by_name and reference.digest is None else None)
    return list(saved.values())


def archive(
    images: ImageService,
    saved: Sequence[SavedImage],
    format: str = "docker",
    leave_out: frozenset[str] = frozenset(),
    watch: Watch | None = None,
) -> Iterator[Buffer]:
    """The archive of images, in pieces that nobody changes any more.

    leave_out: diff IDs of layers that whoever reads it has.  The others may not go away meanwhile.
    watch: gets each layer's diff ID and pieces, and hands the pieces on.
    """
    waiting: list[Buffer] = []
    writer = TarWriter(waiting.append)

    def written() -> bytes:
        data = b"".join(waiting)
        waiting.clear()
        return data

    writer.add_directory(b"blobs/")
    writer.add_directory(b"blobs/sha256/")
    small: dict[str, bytes] = {}
    layers: dict[str, int] = {}
    for image in saved:
        small[image.id] = image.config
        small[Digest.of(image.manifest)] = image.manifest
        layers.update(image.sizes)
    for digest in sorted({*small, *layers} - leave_out):
        name = _blob(digest).encode()
        if digest in small:
            writer.add_file(name, small[digest])
        else:
            writer.add_header(Entry(name, size=layers[digest]))
            yield written()
            content = images.layers.archive(digest)
            yield from content if watch is None else watch(digest, content)
            writer.pad(layers[digest])
    for document, data in _documents(saved, format):
        writer.add_file(document, data)
    writer.close()
    yield written()


def _documents(saved: Sequence[SavedImage], format: str) -> Iterator[tuple[bytes, bytes]]:
    """What follows the blobs, in alphabetical order."""
    entries = tuple(entry for image in saved for entry in image.index_entries())
    yield b"index.json", _json(Index(media.OCI_INDEX, entries).to_json())
    if format == "docker":
        yield b"manifest.json", _json(_docker_manifest(saved))
    yield b"oci-layout", b'{"imageLayoutVersion": "1.0.0"}'
    if format == "docker":
        repositories = _repositories(saved)
        if repositories:
            yield b"repositories", _json(repositories)


def _docker_manifest(saved: Iterable[SavedImage]) -> list[dict[str, Any]]:
    ids = {image.id for image in saved}
    entries = []
    for image in saved:
        entry = image.docker_entry()
        if image.parent in ids:
            entry["Parent"] = image.parent
        entries.append(entry)
    return entries


def _repositories(saved: Iterable[SavedImage]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for image in saved:
        for name in image.names:
            if name.tag is not None and image.layers:
                top = image.layers[-1].partition(":")[2]
                found.setdefault(name.familiar_name(), {})[name.tag] = top
    return found


def _blob(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
