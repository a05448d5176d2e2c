"""What `manifest inspect` shows: a manifest or an index, of a registry or of a local list."""

from __future__ import annotations

from jubako.errors import IntegrityError, InvalidArgument, NotFound
from jubako.images.config_check import MAX_CONFIG_BYTES
from jubako.images.registries.manifest_lists import Entry, index_bytes, index_json
from jubako.images.registries.remote import read_blob
from jubako.oci import platform as platforms
from jubako.oci.digest import Digest
from jubako.oci.documents import parse_json
from jubako.oci.manifest import Descriptor, Index, Manifest, parse
from jubako.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.oci.image import Platform
    from jubako.registry.repository import Repository

_MAX_SHOWN = 200  # manifests of an index that are fetched to show them all


def plain(raw: bytes) -> Any:
    """The JSON of a manifest that was checked before."""
    return parse_json(raw, "manifest")


def of_list(entries: Sequence[Entry], *, verbose: bool) -> Any:
    """A local list: the index that a push would make of it, or all its entries."""
    if verbose:
        return [entry.to_json() for entry in entries]
    return plain(index_bytes(entries)[0])


def of_registry(repository: Repository, reference: Reference, *, verbose: bool) -> Any:
    """What a registry has under a reference."""
    raw, document = _fetch(repository, reference)
    if isinstance(document, Manifest):
        if not verbose:
            return plain(raw)
        return _entry(repository, reference, raw, document, None).to_json()
    if not verbose:
        return index_json(document.manifests, document.media_type)
    if len(document.manifests) > _MAX_SHOWN:
        raise InvalidArgument(
            f"{reference}: an index of {len(document.manifests)} manifests; "
            f"up to {_MAX_SHOWN} can be shown with all that they say"
        )
    return [_member(repository, reference, entry).to_json() for entry in document.manifests]


def fetch_entry(repository: Repository, reference: Reference) -> Entry:
    """A manifest of a registry, to become part of a list.

    Raises NotFound (`no such manifest: x`), InvalidArgument for an index.
    """
    raw, document = _fetch(repository, reference)
    if isinstance(document, Index):
        raise InvalidArgument(f"{reference} is a manifest list", subject=str(reference))
    return _entry(repository, reference, raw, document, None)


def _fetch(repository: Repository, reference: Reference) -> tuple[bytes, Manifest | Index]:
    try:
        found = repository.get_manifest(reference.digest or reference.tag or "")
    except NotFound as exc:
        text = f"no such manifest: {reference}"
        raise NotFound(text, hint=exc.hint, subject=str(reference)) from exc
    return found.data, parse(found.data, found.media_type, str(reference))


def _member(repository: Repository, index: Reference, descriptor: Descriptor) -> Entry:
    """A manifest that an index names."""
    reference = Reference(index.domain, index.path, index.tag, descriptor.digest)
    found = repository.get_manifest(descriptor.digest)
    if len(found.data) != descriptor.size:
        raise IntegrityError(
            f"{reference}: expected {descriptor.size} bytes, found {len(found.data)}"
        )
    document = parse(found.data, descriptor.media_type, str(reference))
    if not isinstance(document, Manifest):
        raise InvalidArgument(f"{reference}: an index within an index", subject=str(reference))
    return _entry(repository, reference, found.data, document, descriptor)


def _entry(
    repository: Repository,
    reference: Reference,
    raw: bytes,
    manifest: Manifest,
    listed: Descriptor | None,
) -> Entry:
    """listed: as an index has it; None: the platform is read off the image's configuration."""
    if listed is None:
        platform = _platform(repository, manifest) if manifest.is_image else None
        listed = Descriptor(manifest.media_type, Digest.of(raw), len(raw), platform=platform)
    return Entry(reference, listed, raw, manifest)


def _platform(repository: Repository, manifest: Manifest) -> Platform:
    what = f"config {manifest.config.digest}"
    config = parse_json(read_blob(repository, manifest.config, MAX_CONFIG_BYTES, what), what)
    if not isinstance(config, dict):
        raise InvalidArgument(f"{what}: not an object")
    found: dict[str, Any] = dict(platforms.of_config(config))
    for name in ("os.version", "os.features"):
        if config.get(name):
            found[name] = config[name]
    return found  # type: ignore[return-value]  # what else it holds is checked where it is read
