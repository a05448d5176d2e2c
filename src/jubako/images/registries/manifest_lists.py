"""Manifest lists that are being put together, kept where and as Docker's client keeps them.

    ~/.docker/manifests/
        registry.example_team_app-1.0/                 a list, by its reference
            registry.example_team_app-1.0-amd64        an entry, by the reference of its manifest
                {"Ref": ..., "Descriptor": {...}, "Raw": "<base64>", "OCIManifest": {...}}

In the names `/` is `_` and `:` is `-`.  A list becomes an index only when it is shown or pushed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil

from jubako.errors import IntegrityError, InvalidArgument, KernelError
from jubako.linux import atomic
from jubako.oci import media
from jubako.oci.digest import canonical_json
from jubako.oci.documents import parse_json
from jubako.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest, parse
from jubako.oci.reference import Reference
from jubako.oci.reference import parse as parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_MAX_FILE = 3 * MAX_MANIFEST_BYTES  # the manifest, once as base64
_PLATFORM_ORDER = ("architecture", "os", "os.version", "os.features", "variant")


class Entry:
    """A manifest of one platform, as part of a list.

    reference: where it is.  descriptor: as the index will have it, with its platform.  raw: its
    exact bytes.  manifest: what they say.
    """

    __slots__ = ("descriptor", "manifest", "raw", "reference")

    def __init__(
        self, reference: Reference, descriptor: Descriptor, raw: bytes, manifest: Manifest
    ):
        self.reference = reference
        self.descriptor = descriptor
        self.raw = raw
        self.manifest = manifest

    def to_json(self) -> dict[str, Any]:
        """The object that Docker's client keeps, and that `manifest inspect -v` shows."""
        kind = self.descriptor.media_type
        return {
            "Ref": str(self.reference),
            "Descriptor": ordered(self.descriptor, ("mediaType", "digest", "size")),
            "Raw": base64.b64encode(self.raw).decode(),
            "OCIManifest" if kind == media.OCI_MANIFEST else "SchemaV2Manifest": parse_json(
                self.raw, str(self.reference)
            ),
        }


class ManifestLists:
    """The lists in a directory.  Safe beside other processes: files are replaced whole."""

    def __init__(self, directory: str):
        self._directory = directory

    def entries(self, name: Reference) -> list[Entry]:
        """The entries of a list in the order that its index has; empty if there is no such list.

        Raises InvalidArgument, IntegrityError (a damaged file), KernelError.
        """
        directory = self._path(name)
        try:
            files = sorted(os.listdir(directory), key=os.fsencode)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise KernelError.from_oserror("list", exc) from exc
        return [_read(f"{directory}/{file}") for file in files if not file.startswith(".")]

    def find(self, name: Reference, manifest: Reference) -> Entry | None:
        """The entry of a list for a manifest, if it is there."""
        path = f"{self._path(name)}/{_file_name(manifest)}"
        return _read(path) if os.path.exists(path) else None

    def exists(self, name: Reference) -> bool:
        return os.path.isdir(self._path(name))

    def save(self, name: Reference, entry: Entry) -> None:
        """Add an entry to a list, which is made if need be, or replace it."""
        directory = self._path(name)
        try:
            os.makedirs(directory, 0o755, exist_ok=True)
        except OSError as exc:
            raise KernelError.from_oserror("mkdir", exc) from exc
        data = json.dumps(entry.to_json(), separators=(",", ":")).encode()
        atomic.write_file(f"{directory}/{_file_name(entry.reference)}", data, 0o644)

    def remove(self, name: Reference) -> bool:
        """Remove a list; whether there was one."""
        try:
            shutil.rmtree(self._path(name))
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise KernelError.from_oserror("remove", exc) from exc
        return True

    def _path(self, name: Reference) -> str:
        return f"{self._directory}/{_file_name(name)}"


def _file_name(reference: Reference) -> str:
    return str(reference).replace(":", "-").replace("/", "_")


def _read(path: str) -> Entry:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as exc:
        raise KernelError.from_oserror("read", exc, path=path) from exc
    what = f"manifest list entry {path}"
    if len(data) > _MAX_FILE:
        raise InvalidArgument(f"{what}: larger than {_MAX_FILE} bytes", subject=path)
    value = parse_json(data, what)
    try:
        reference = parse_reference(value["Ref"])
        raw = base64.b64decode(value["Raw"], validate=True)
        entry = value["Descriptor"]
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidArgument(f"{what}: it lacks Ref, Descriptor or Raw", subject=path) from exc
    descriptor = _descriptor(entry, what)
    manifest = parse(raw, descriptor.media_type, what)
    if not isinstance(manifest, Manifest):
        raise InvalidArgument(f"{what}: it is a list itself", subject=path)
    if len(raw) != descriptor.size:
        raise IntegrityError(f"{what}: expected {descriptor.size} bytes, found {len(raw)}")
    descriptor.digest.check(raw, what)
    return Entry(reference, descriptor, raw, manifest)


def _descriptor(value: Any, what: str) -> Descriptor:
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [value]}
    parsed = parse(canonical_json(index), media.OCI_INDEX, what)
    assert isinstance(parsed, Index)
    return parsed.manifests[0]


# --- the index -----------------------------------------------------------------------------------


def index_json(entries: Sequence[Descriptor], media_type: str) -> dict[str, Any]:
    """An index of `entries`, its members in the order in which Docker writes them."""
    listed = [ordered(entry, ("mediaType", "size", "digest")) for entry in entries]
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": listed}


def index_bytes(entries: Sequence[Entry]) -> tuple[bytes, str]:
    """The index to be pushed, to the byte what Docker's client makes of it, and its media type.

    OCI's as soon as one of the manifests is OCI's.
    """
    oci = any(entry.descriptor.media_type == media.OCI_MANIFEST for entry in entries)
    kind = media.OCI_INDEX if oci else media.DOCKER_INDEX
    content = index_json([entry.descriptor for entry in entries], kind)
    return json.dumps(content, indent=3, ensure_ascii=False).encode(), kind


def ordered(descriptor: Descriptor, first: tuple[str, ...]) -> dict[str, Any]:
    """A descriptor's object with `first` first, and the rest in Docker's order."""
    found = descriptor.to_json()
    if descriptor.platform is not None:
        found["platform"] = _sorted(found["platform"], _PLATFORM_ORDER)
    return _sorted(found, (*first, "urls", "annotations", "platform"))


def _sorted(members: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    first = {name: members[name] for name in order if name in members}
    return first | members
