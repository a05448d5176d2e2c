"""Pushing a list of manifests: what it names is brought into its repository, then its index."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.images.registries.manifest_lists import Entry, index_bytes
from jubako.images.registries.service import PushedList
from jubako.oci import media
from jubako.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jubako.oci.manifest import Descriptor
    from jubako.registry.client import Client
    from jubako.registry.repository import Repository


def push_list(client: Client, name: Reference, entries: Sequence[Entry]) -> PushedList:
    """Push an index of `entries` as `name`; see `RegistryService.manifest_push`.

    The index comes last: when something fails before, its tag is what it was.
    """
    for entry in entries:
        _check(name, entry)
    target = client.repository(name)
    copied = []
    for entry in entries:
        if entry.reference.name != name.name:
            digest = _copy(client.repository(entry.reference), target, entry)
            copied.append((f"{name.name}@{digest}", digest))
    data, media_type = index_bytes(entries)
    digest = target.put_manifest(name.tag or name.digest or "", data, media_type)
    return PushedList(str(digest), copied)


def _check(name: Reference, entry: Entry) -> None:
    if entry.reference.domain != name.domain:
        raise InvalidArgument(
            "cannot use source images from a different registry than the target image: "
            f"{entry.reference.domain} != {name.domain}"
        )
    platform = entry.descriptor.platform
    if platform is None or not platform["architecture"] or not platform["os"]:
        raise InvalidArgument(
            f"manifest {entry.reference} must have an OS and Architecture "
            "to be pushed to a registry"
        )


def _copy(source: Repository, target: Repository, entry: Entry) -> str:
    path = entry.reference.path
    for blob in (entry.manifest.config, *entry.manifest.layers):
        if media.is_foreign(blob.media_type) or target.has_blob(blob.digest) is not None:
            continue
        if not target.mount_blob(blob.digest, path):
            _transfer(source, target, blob)
    kind = entry.descriptor.media_type
    return str(target.put_manifest(entry.descriptor.digest, entry.raw, kind))


def _transfer(source: Repository, target: Repository, blob: Descriptor) -> None:
    """What the registry does not mount goes through here, not kept; the registry checks it."""

    def chunks() -> Iterator[bytes]:
        with source.open_blob(blob) as stream:
            yield from stream

    target.upload(blob.digest, blob.size, chunks)
