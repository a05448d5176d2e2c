"""Manifests and indexes as registries and archives hold them: parsed, checked, never changed.

Everything that reads one goes through `parse`, so nothing else needs to distrust them.  Sources:
image-spec manifest.md, image-index.md, descriptor.md; Docker's image manifest V2, schema 2.  The
identity of a document is its bytes: keep those, `to_json` is for documents that we make.
"""

from __future__ import annotations

import re

from jubako.errors import InvalidArgument, InvalidDigest, NotFound, Unsupported
from jubako.oci import media
from jubako.oci import platform as platforms
from jubako.oci.digest import Digest
from jubako.oci.documents import parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.oci.image import Platform

MAX_MANIFEST_BYTES = 4 << 20  # distribution-spec: expect registries to take at least 4 megabytes
MAX_LAYERS = 500  # what overlayfs can mount (OVL_MAX_STACK in the kernel)
MAX_MANIFESTS = 5000  # of an index; those of real images have some thirty
MAX_SIZE_BYTES = (1 << 63) - 1  # an int64 in the specification and in the database

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9!#$&^_.+-]{1,127}\Z")
# What web servers call files that they do not know: such a header says nothing.
_ANY_TYPES = frozenset(("application/json", "application/octet-stream", "text/plain"))
_ATTESTATION = "vnd.docker.reference.type"  # BuildKit's annotation of provenance and SBOMs


class Descriptor:
    """Something elsewhere: its media type, digest and size in bytes.

    urls: where it may be found beside the registry.  platform: what a manifest in an index is for;
    None if the index does not say.
    """

    __slots__ = __match_args__ = (
        "media_type",
        "digest",
        "size",
        "platform",
        "annotations",
        "urls",
        "artifact_type",
    )

    def __init__(
        self,
        media_type: str,
        digest: Digest,
        size: int,
        *,
        platform: Platform | None = None,
        annotations: dict[str, str] | None = None,
        urls: tuple[str, ...] = (),
        artifact_type: str = "",
    ):
        self.media_type = media_type
        self.digest = digest
        self.size = size
        self.platform = platform
        self.annotations = annotations or {}
        self.urls = urls
        self.artifact_type = artifact_type

    def to_json(self) -> dict[str, Any]:
        """The object of descriptor.md; empty members are left out."""
        found: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform is not None:
            found["platform"] = dict(self.platform)
        return found | _extras(
            annotations=dict(self.annotations),
            urls=list(self.urls),
            artifactType=self.artifact_type,
        )


class _Document:
    """What manifests and indexes have in common.

    subject: what an artifact is about (a signature's image).
    """

    __slots__ = ("media_type", "annotations", "artifact_type", "subject")

    def __init__(
        self,
        media_type: str,
        annotations: dict[str, str] | None = None,
        artifact_type: str = "",
        subject: Descriptor | None = None,
    ):
        self.media_type = media_type
        self.annotations = annotations or {}
        self.artifact_type = artifact_type
        self.subject = subject

    def _to_json(self, **content: Any) -> dict[str, Any]:
        extras = _extras(
            annotations=dict(self.annotations),
            artifactType=self.artifact_type,
            subject=self.subject.to_json() if self.subject else None,
        )
        return {"schemaVersion": 2, "mediaType": self.media_type, **content, **extras}


class Manifest(_Document):
    """One config and its layers, the lowest first; or an artifact of the same form."""

    __slots__ = ("config", "layers")
    __match_args__ = ("media_type", "config", "layers")

    def __init__(
        self,
        media_type: str,
        config: Descriptor,
        layers: tuple[Descriptor, ...],
        *,
        annotations: dict[str, str] | None = None,
        artifact_type: str = "",
        subject: Descriptor | None = None,
    ):
        super().__init__(media_type, annotations, artifact_type, subject)
        self.config = config
        self.layers = layers

    @property
    def is_image(self) -> bool:
        """Whether it is a container image; else an artifact: a chart, a signature, anything."""
        return self.config.media_type in media.CONFIGS

    def require_image(self, what: str) -> None:
        """Raise Unsupported unless this is an image all of whose layers can be unpacked."""
        if not self.is_image:
            kind = self.artifact_type or self.config.media_type
            raise Unsupported(
                f"{what}: unsupported media type {kind}: an artifact, not a container image",
                hint="fetch it with the tool that made it",
            )
        for layer in self.layers:
            if not media.is_layer(layer.media_type):
                raise Unsupported(
                    f"{what}: layer {layer.digest} has the unknown media type {layer.media_type}"
                )

    def to_json(self) -> dict[str, Any]:
        """The object of manifest.md; empty members are left out."""
        layers = [layer.to_json() for layer in self.layers]
        return self._to_json(config=self.config.to_json(), layers=layers)


class Index(_Document):
    """Manifests for several platforms; an entry may be an index again."""

    __slots__ = ("manifests",)
    __match_args__ = ("media_type", "manifests")

    def __init__(
        self,
        media_type: str,
        manifests: tuple[Descriptor, ...],
        *,
        annotations: dict[str, str] | None = None,
        artifact_type: str = "",
        subject: Descriptor | None = None,
    ):
        super().__init__(media_type, annotations, artifact_type, subject)
        self.manifests = manifests

    def to_json(self) -> dict[str, Any]:
        """The object of image-index.md; empty members are left out."""
        return self._to_json(manifests=[entry.to_json() for entry in self.manifests])


def _extras(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


# --- reading ---------------------------------------------------------------------------------


def parse(data: bytes, media_type: str | None, what: str) -> Manifest | Index:
    """Read a manifest or index that came from outside.

    media_type: by which it came (Content-Type, its descriptor); None if nothing says.  what: names
    it in errors, `docker.io/library/x:1` or `manifest sha256:...`.  Unknown members are left alone.
    Raises InvalidArgument (not what the specification allows, or beyond the limits above),
    InvalidDigest, Unsupported (schema 1, unknown media types).
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidArgument(
            f"{what}: a manifest of {len(data)} bytes, more than {MAX_MANIFEST_BYTES}"
        )
    document = parse_json(data, what)
    if not isinstance(document, dict):
        raise InvalidArgument(f"{what}: the manifest is not an object")
    kind = _media_type(document, media_type, what)
    _check_form(document, kind, what)
    found: Manifest | Index
    if kind in media.INDEXES:
        found = Index(kind, _descriptors(document, "manifests", MAX_MANIFESTS, what))
    else:
        config = _descriptor(document.get("config"), f"{what}: config")
        found = Manifest(kind, config, _descriptors(document, "layers", MAX_LAYERS, what))
    found.annotations = _annotations(document, what)
    found.artifact_type = _type_member(document, "artifactType", what)
    if document.get("subject") is not None:
        found.subject = _descriptor(document["subject"], f"{what}: subject")
    return found


def _media_type(document: dict[str, Any], given: str | None, what: str) -> str:
    """The one media type on which header, body and form agree (CVE-2021-41190)."""
    outer = (given or "").partition(";")[0].strip().lower()
    inner = _type_member(document, "mediaType", what)
    if outer in media.SCHEMA1 or inner in media.SCHEMA1 or document.get("schemaVersion") == 1:
        raise Unsupported(
            f"{what}: Docker Image Format v1 and Docker Image manifest version 2, schema 1 "
            "support has been removed",
            hint="suggest its author to upgrade the image to the OCI Format or Docker Image "
            "manifest v2, schema 2: https://docs.docker.com/go/deprecated-image-specs/",
        )
    if outer in _ANY_TYPES:
        outer = ""
    if outer and inner and outer != inner:
        raise InvalidArgument(f"{what}: it came as {outer[:100]}, but says that it is {inner}")
    kind = outer or inner
    if not kind:  # OCI lets a manifest leave it out
        kind = media.OCI_INDEX if "manifests" in document else media.OCI_MANIFEST
    if kind not in media.INDEXES and kind not in media.MANIFESTS:
        raise Unsupported(f"{what}: neither an image nor an index, but {kind[:100]!r}")
    return kind


def _check_form(document: dict[str, Any], kind: str, what: str) -> None:
    version = document.get("schemaVersion", 2)
    if type(version) is not int or version != 2:
        raise InvalidArgument(f"{what}: unknown schemaVersion {str(version)[:40]}")
    _check_names(document, what)
    other = ("config", "layers", "fsLayers") if kind in media.INDEXES else ("manifests", "fsLayers")
    for name in other:
        if name in document:
            raise InvalidArgument(f"{what}: both an index and a manifest: {kind} with {name!r}")


def _check_names(document: dict[str, Any], what: str) -> None:
    """Go's readers find members whatever their case: what they see must be what we see."""
    for name in document:
        known = _MEMBERS.get(name.casefold(), name)
        if known != name:
            raise InvalidArgument(f"{what}: the member {name[:80]!r} should be {known!r}")


_MEMBERS = {
    name.casefold(): name
    for name in (
        *("schemaVersion", "mediaType", "artifactType", "config", "layers", "fsLayers"),
        *("manifests", "subject", "annotations", "digest", "size", "urls", "platform"),
    )
}


def _descriptors(
    document: dict[str, Any], name: str, limit: int, what: str
) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if not isinstance(values, list):
        raise InvalidArgument(f"{what}: {name} is missing or not a list")
    if len(values) > limit:
        raise InvalidArgument(f"{what}: {len(values)} {name}, more than the limit of {limit}")
    return tuple(_descriptor(item, f"{what}: {name}[{at}]") for at, item in enumerate(values))


def _descriptor(value: Any, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what}: missing or not a descriptor")
    _check_names(value, what)
    kind = _type_member(value, "mediaType", what)
    if not kind:
        raise InvalidArgument(f"{what}: a descriptor without mediaType")
    size = value.get("size")
    if type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:  # a bool is an int, too
        raise InvalidArgument(f"{what}: size is not a number of bytes: {str(size)[:40]}")
    return Descriptor(
        kind,
        _digest(value.get("digest"), what),
        size,
        platform=_platform(value.get("platform"), what),
        annotations=_annotations(value, what),
        urls=tuple(_texts(value.get("urls"), f"{what}: urls")),
        artifact_type=_type_member(value, "artifactType", what),
    )


def _digest(value: Any, what: str) -> Digest:
    if not isinstance(value, str):
        raise InvalidArgument(f"{what}: digest is missing or not a text")
    try:
        return Digest.parse(value)
    except InvalidDigest as exc:
        raise InvalidDigest(f"{what}: {exc}: {value[:140]!r}", subject=value[:140]) from exc


def _type_member(document: dict[str, Any], name: str, what: str) -> str:
    """A media type (RFC 6838); nothing else may come near a header or a terminal."""
    value = document.get(name)
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _MEDIA_TYPE.match(value):
        raise InvalidArgument(f"{what}: {name} is not a media type: {str(value)[:100]!r}")
    return value


def _annotations(document: dict[str, Any], what: str) -> dict[str, str]:
    value = document.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidArgument(f"{what}: annotations is not an object of texts")
    return value


def _texts(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{what}: not a list of texts")
    return value


_PLATFORM_TEXTS = ("architecture", "os", "variant", "os.version")
_PLATFORM_LISTS = ("os.features", "features")


def _platform(value: Any, what: str) -> Platform | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what}: platform is not an object")
    found: dict[str, Any] = {"architecture": "", "os": ""}
    for name in _PLATFORM_TEXTS:
        text = value.get(name)
        if text is None or text == "":
            continue
        if not isinstance(text, str) or not platforms.is_component(text):
            raise InvalidArgument(f"{what}: platform: {name} is not a word: {str(text)[:40]!r}")
        found[name] = text
    for name in _PLATFORM_LISTS:
        texts = _texts(value.get(name), f"{what}: platform: {name}")
        if texts:
            found[name] = texts
    return found  # type: ignore[return-value]  # this function is what makes it one


# --- choosing --------------------------------------------------------------------------------


def choose(index: Index, platform: Platform | None, what: str) -> Descriptor:
    """The entry of an index that runs best; the earlier one of two equals.

    platform: as which it shall run; None: what suits this machine's processor best.  Variants as
    containerd compares them: see `platforms.rank`.  Attestations and artifacts are no images.  What
    names no platform comes last: its config tells what it is for.
    Raises NotFound with Docker's words.
    """
    wanted = platforms.processor() if platform is None else platform
    entries = list(_images(index))
    best: tuple[int, Descriptor] | None = None
    for entry in entries:
        rank = _LAST if entry.platform is None else platforms.rank(wanted, entry.platform)
        if rank is not None and (best is None or rank < best[0]):
            best = rank, entry
    if best is not None:
        return best[1]
    offered = sorted({platforms.text(entry.platform) for entry in entries if entry.platform})
    asked = platforms.text(platforms.host() if platform is None else platform)
    raise NotFound(
        f"no matching manifest for {asked} in the manifest list entries",
        hint=f"{what} is there for {', '.join(offered[:20])}" if offered else None,
        subject=what,
    )


_LAST = 1000


def _images(index: Index) -> Iterator[Descriptor]:
    for entry in index.manifests:
        if entry.media_type not in media.MANIFESTS and entry.media_type not in media.INDEXES:
            continue
        if entry.artifact_type or _ATTESTATION in entry.annotations:
            continue
        if entry.platform is not None and entry.platform["os"] == "unknown":
            continue
        yield entry
