from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument, InvalidDigest, NotFound, Unsupported
from jubako.oci import media, platform
from jubako.oci.digest import Digest
from jubako.oci.manifest import (
    MAX_LAYERS,
    MAX_MANIFEST_BYTES,
    MAX_MANIFESTS,
    Index,
    Manifest,
    choose,
    parse,
)

WHAT = "docker.io/library/x:1"
DIGEST = "sha256:" + "0" * 64


def descriptor(kind: str = media.OCI_LAYER_GZIP, **more: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": DIGEST, "size": 7, **more}


def manifest(**more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": descriptor(media.OCI_CONFIG),
        "layers": [descriptor()],
        **more,
    }


def index(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": list(entries),
        **more,
    }


def entry(name: str | None, **more: Any) -> dict[str, Any]:
    """An entry of an index for a platform, with a digest of its own."""
    found = descriptor(media.OCI_MANIFEST, **more)
    found["digest"] = str(Digest.of(f"{name}{sorted(more)}".encode()))
    if name is not None:
        parts = name.split("/")
        found["platform"] = dict(zip(("os", "architecture", "variant"), parts, strict=False))
    return found


def read(document: Any, media_type: str | None = None) -> Manifest | Index:
    return parse(json.dumps(document).encode(), media_type, WHAT)


def read_index(document: Any) -> Index:
    found = read(document)
    assert isinstance(found, Index)
    return found


def read_manifest(document: Any) -> Manifest:
    found = read(document)
    assert isinstance(found, Manifest)
    return found


# --- what is right -------------------------------------------------------------------------------


def test_a_docker_manifest() -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": descriptor(media.DOCKER_CONFIG),
        "layers": [
            descriptor(media.DOCKER_LAYER_GZIP),
            descriptor(media.DOCKER_FOREIGN_GZIP, urls=["https://example.com/layer"]),
        ],
    }
    found = read(document, media.DOCKER_MANIFEST)
    assert isinstance(found, Manifest)
    assert found.is_image
    found.require_image(WHAT)
    assert found.media_type == media.DOCKER_MANIFEST
    assert (found.config.digest, found.config.size) == (DIGEST, 7)
    assert found.layers[1].urls == ("https://example.com/layer",)
    assert found.to_json() == document


def test_an_oci_manifest_with_everything() -> None:
    document = manifest(
        annotations={"a": "b"},
        artifactType="application/x.y",
        subject=descriptor(media.OCI_MANIFEST),
    )
    found = read_manifest(document)
    assert found.annotations == {"a": "b"}
    assert found.artifact_type == "application/x.y"
    assert found.subject is not None and found.subject.digest == DIGEST
    assert found.to_json() == document


def test_an_index_with_everything() -> None:
    document = index(
        descriptor(
            media.OCI_MANIFEST,
            platform={
                "os": "windows",
                "architecture": "amd64",
                "os.version": "10.0.17763.1039",
                "os.features": ["win32k"],
            },
            annotations={"x": "y"},
            artifactType="application/x",
        ),
        subject=descriptor(media.OCI_INDEX),
        artifactType="application/z",
        annotations={"c": "d"},
    )
    assert read_index(document).to_json() == document


def test_unknown_and_empty_members_are_left_alone() -> None:
    found = read(manifest(annotations=None, future={"layers": 5}, subject=None, artifactType=""))
    assert found.annotations == {} and found.subject is None and found.artifact_type == ""


@pytest.mark.parametrize(
    ("document", "header", "expected"),
    [
        (manifest(mediaType=None), None, media.OCI_MANIFEST),
        (index(mediaType=None), None, media.OCI_INDEX),
        (manifest(mediaType=None), media.DOCKER_MANIFEST, media.DOCKER_MANIFEST),
        (manifest(), f"{media.OCI_MANIFEST}; charset=utf-8", media.OCI_MANIFEST),
        (manifest(), "application/json", media.OCI_MANIFEST),
        (manifest(), "text/plain", media.OCI_MANIFEST),
        (index(), "", media.OCI_INDEX),
    ],
)
def test_the_media_type_is_found(document: Any, header: str | None, expected: str) -> None:
    assert read(document, header).media_type == expected


def test_an_artifact_is_no_image_and_says_what_it_is() -> None:
    chart = "application/vnd.cncf.helm.config.v1+json"
    found = read_manifest(manifest(config=descriptor(chart)))
    assert not found.is_image
    with pytest.raises(Unsupported, match="x:1: unsupported media type .*helm.* an artifact, not"):
        found.require_image(WHAT)
    found = read_manifest(
        manifest(config=descriptor(media.OCI_EMPTY), artifactType="application/vnd.sbom")
    )
    with pytest.raises(Unsupported, match="unsupported media type application/vnd.sbom"):
        found.require_image(WHAT)


def test_an_image_with_a_layer_that_nobody_knows() -> None:
    found = read_manifest(manifest(layers=[descriptor("application/vnd.future.layer")]))
    with pytest.raises(Unsupported, match="unknown media type application/vnd.future.layer"):
        found.require_image(WHAT)


# --- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "header"),
    [
        ({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []}, None),
        ({"schemaVersion": 1}, media.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1}, "application/json"),
        (manifest(mediaType=media.DOCKER_SCHEMA1), None),
        (manifest(mediaType=None), media.DOCKER_SCHEMA1),
    ],
)
def test_schema_1_is_refused_in_dockers_words(document: Any, header: str | None) -> None:
    with pytest.raises(Unsupported, match="x:1: .*schema 1 support has been removed") as info:
        read(document, header)
    assert "upgrade the image to the OCI Format" in (info.value.hint or "")


@pytest.mark.parametrize(
    ("document", "header", "reason"),
    [
        (manifest(manifests=[]), None, "both an index and a manifest"),
        (index(layers=[]), None, "both an index and a manifest"),
        (index(config=descriptor()), None, "both an index and a manifest"),
        (manifest(manifests=[], mediaType=None), None, "both an index and a manifest"),
        (manifest(manifests=[], mediaType=None), media.OCI_MANIFEST, "both an index"),
        (manifest(), media.OCI_INDEX, "it came as .*index.* but says that it is .*manifest"),
        (manifest(), media.DOCKER_MANIFEST, "it came as"),
        (index(fsLayers=[]), None, "both"),
    ],
)
def test_what_two_readers_could_take_for_two_things(
    document: Any, header: str | None, reason: str
) -> None:  # CVE-2021-41190
    with pytest.raises(InvalidArgument, match=reason):
        read(document, header)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "not an object"),
        ("x", "not an object"),
        (manifest(schemaVersion=3), "unknown schemaVersion 3"),
        (manifest(schemaVersion=2.0), "unknown schemaVersion 2.0"),
        (manifest(schemaVersion=False), "unknown schemaVersion False"),
        (manifest(schemaVersion="2"), "unknown schemaVersion"),
        (manifest(mediaType=5), "mediaType is not a media type: '5'"),
        (manifest(mediaType="x\r\nX: y"), "not a media type"),
        (manifest(config=None), "config: missing"),
        (manifest(config=[]), "config: missing or not a descriptor"),
        (manifest(layers=None), "layers is missing or not a list"),
        (manifest(layers={}), "layers is missing or not a list"),
        (manifest(layers=[5]), r"layers\[0\]: missing or not a descriptor"),
        (manifest(layers=[descriptor(), {}]), r"layers\[1\]: a descriptor without mediaType"),
        (manifest(layers=[descriptor("")]), "without mediaType"),
        (manifest(layers=[descriptor("tar")]), "not a media type"),
        (manifest(layers=[descriptor("a/" + "b" * 200)]), "not a media type"),
        (manifest(layers=[descriptor(size=-1)]), "size is not a number of bytes: -1"),
        (manifest(layers=[descriptor(size=1.5)]), "size is not a number of bytes: 1.5"),
        (manifest(layers=[descriptor(size=True)]), "size is not a number of bytes: True"),
        (manifest(layers=[descriptor(size="7")]), "size is not a number of bytes"),
        (manifest(layers=[descriptor(size=None)]), "size is not a number of bytes"),
        (manifest(layers=[descriptor(size=2**63)]), "size is not a number of bytes: 92233"),
        (manifest(layers=[descriptor(size=10**4000)]), "size is not a number of bytes: 1000"),
        (manifest(layers=[descriptor(digest=None)]), "digest is missing"),
        (manifest(layers=[descriptor(digest=5)]), "digest is missing"),
        (manifest(layers=[descriptor(annotations={"a": 1})]), "not an object of texts"),
        (manifest(layers=[descriptor(annotations=[])]), "not an object of texts"),
        (manifest(layers=[descriptor(urls="https://x")]), "urls: not a list of texts"),
        (manifest(layers=[descriptor(urls=[1])]), "urls: not a list of texts"),
        (manifest(annotations={"a": None}), "not an object of texts"),
        (manifest(subject=5), "subject: missing or not a descriptor"),
        (manifest(artifactType="x y"), "artifactType is not a media type"),
        (manifest(Layers=[]), "the member 'Layers' should be 'layers'"),
        (manifest() | {"layer\u017f": []}, "should be 'layers'"),
        (manifest(layers=[descriptor(Digest=DIGEST)]), "'Digest' should be 'digest'"),
        (index(descriptor(platform=[1])), "platform is not an object"),
        (index(descriptor(platform={"os": 5})), "platform: os is not a word"),
        (index(descriptor(platform={"os": "\x1b[2J"})), "platform: os is not a word"),
        (index(descriptor(platform={"os.features": [1]})), "os.features: not a list of texts"),
        (index(manifests=None), "manifests is missing"),
    ],
)
def test_wrong_types_are_named(document: Any, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason) as info:
        read(document)
    assert str(info.value).startswith(WHAT)
    assert len(str(info.value)) < 400


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:0", "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:../x", "\0"],
)
def test_bad_digests_are_named(digest: str) -> None:
    with pytest.raises(InvalidDigest, match=r"x:1: layers\[0\]: .*digest"):
        read(manifest(layers=[descriptor(digest=digest)]))


@pytest.mark.parametrize(
    "kind", ["application/vnd.oci.artifact.manifest.v1+json", "application/x", media.OCI_LAYER]
)
def test_unknown_documents_are_named(kind: str) -> None:
    with pytest.raises(Unsupported, match="neither an image nor an index"):
        read(manifest(mediaType=kind))
    with pytest.raises(Unsupported, match="neither an image nor an index"):
        read(manifest(mediaType=None), kind)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"schemaVersion":2,"layers":[],"layers":[]}',
        json.dumps(manifest()).encode()[:-5],
    ],
)
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="x:1: not valid JSON"):
        parse(data, media.OCI_MANIFEST, WHAT)


def test_limits() -> None:
    assert len(read_manifest(manifest(layers=[descriptor()] * MAX_LAYERS)).layers) == MAX_LAYERS
    with pytest.raises(InvalidArgument, match="10000 layers, more than the limit of 500"):
        read(manifest(layers=[descriptor()] * 10_000))
    entries = [entry("linux/amd64")] * MAX_MANIFESTS
    assert len(read_index(index(*entries)).manifests) == MAX_MANIFESTS
    with pytest.raises(InvalidArgument, match="10000 manifests, more than the limit of 5000"):
        read(index(*entries, *entries))
    with pytest.raises(InvalidArgument, match="a manifest of .* bytes, more than 4194304"):
        parse(b" " * (MAX_MANIFEST_BYTES + 1), None, WHAT)


# --- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"], "linux/amd64"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/amd64/v3", ["linux/amd64/v1"], "linux/amd64/v1"),
        ("linux/amd64", ["linux/386", "linux/arm"], "linux/386"),
        ("linux/amd64", ["linux/386", "linux/amd64"], "linux/amd64"),
        ("linux/arm64", ["linux/arm64/v8", "linux/arm/v7"], "linux/arm64/v8"),
        ("linux/arm64/v8", ["linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/arm64/v9", ["linux/arm64"], "linux/arm64"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v7", ["linux/arm"], "linux/arm"),
        ("linux/arm", ["linux/arm/v7", "linux/arm/v6"], "linux/arm/v7"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("windows/amd64", ["linux/amd64", "windows/amd64"], "windows/amd64"),
        ("linux/riscv64", ["linux/riscv64"], "linux/riscv64"),
    ],
)
def test_the_best_platform_is_chosen(wanted: str, offered: list[str], chosen: str) -> None:
    found = choose(
        read_index(index(*(entry(name) for name in offered))), platform.parse(wanted), WHAT
    )
    assert found.digest == entry(chosen)["digest"]


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("linux/amd64", ["linux/arm64", "windows/amd64"]),
        ("linux/386", ["linux/amd64"]),
        ("linux/arm/v6", ["linux/arm/v7"]),
        ("linux/arm", ["linux/arm64"]),
        ("linux/amd64", ["linux/amd64/v2"]),
        ("linux/arm64", []),
    ],
)
def test_no_match_is_told_in_dockers_words(wanted: str, offered: list[str]) -> None:
    found = read_index(index(*(entry(name) for name in offered)))
    with pytest.raises(NotFound) as info:
        choose(found, platform.parse(wanted), WHAT)
    text = platform.text(platform.parse(wanted))
    assert str(info.value) == f"no matching manifest for {text} in the manifest list entries"
    there = ", ".join(sorted(offered))
    assert info.value.hint == (f"{WHAT} is there for {there}" if offered else None)


def test_by_default_what_the_processor_runs_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker: the highest level that it has, and an error that names none."""
    names = ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"]
    document = read_index(index(*(entry(name) for name in names)))
    monkeypatch.setattr(platform, "processor", lambda: platform.parse("linux/amd64/v3"))
    monkeypatch.setattr(platform, "host", lambda: platform.parse("linux/amd64"))
    assert choose(document, None, WHAT).digest == entry("linux/amd64/v3")["digest"]
    assert choose(document, platform.host(), WHAT).digest == entry("linux/amd64")["digest"]
    with pytest.raises(NotFound, match="for linux/amd64 in the manifest list entries"):
        choose(read_index(index(entry("linux/amd64/v4"))), None, WHAT)


def test_attestations_and_artifacts_are_never_chosen() -> None:
    found = read_index(
        index(
            entry("unknown/unknown"),
            entry("linux/amd64", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
            entry("linux/amd64", artifactType="application/x"),
            descriptor(media.OCI_LAYER, platform={"os": "linux", "architecture": "amd64"}),
            entry("linux/amd64"),
        )
    )
    assert (
        choose(found, platform.parse("linux/amd64"), WHAT).digest == entry("linux/amd64")["digest"]
    )


def test_the_first_of_equals_is_chosen_and_what_names_no_platform_last() -> None:
    twins = index(entry("linux/amd64", size=1), entry("linux/amd64", size=2))
    assert choose(read_index(twins), platform.parse("linux/amd64"), WHAT).size == 1
    nameless = index(entry(None, size=1), entry(None, size=2))
    assert choose(read_index(nameless), platform.parse("linux/arm64"), WHAT).size == 1
    mixed = read_index(index(entry(None), entry("linux/amd64")))
    assert choose(mixed, platform.parse("linux/amd64"), WHAT).platform is not None
    assert choose(mixed, platform.parse("linux/arm64"), WHAT).platform is None


# --- whatever comes ------------------------------------------------------------------------------

NAMES = st.sampled_from(
    "schemaVersion mediaType config layers manifests annotations subject artifactType digest size "
    "urls platform os architecture variant os.version os.features Layers fsLayers".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2, 7, 2**63 - 1, 2**63, 1.5])
    | st.sampled_from(sorted(media.INDEXES | media.MANIFESTS | media.CONFIGS | media.SCHEMA1))
    | st.sampled_from([media.OCI_LAYER, media.DOCKER_LAYER_GZIP, DIGEST, "linux", "amd64", "v2"])
    | st.text(max_size=6)
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=15,
)
DESCRIPTORS = st.builds(
    lambda kind, more: descriptor(kind) | more,
    st.sampled_from([media.OCI_LAYER, media.OCI_CONFIG, media.OCI_MANIFEST, media.OCI_INDEX]),
    st.dictionaries(NAMES, ANYTHING, max_size=2),
)
MANIFESTS = st.builds(
    lambda config, layers, more: manifest(config=config, layers=layers) | more,
    DESCRIPTORS,
    st.lists(DESCRIPTORS, max_size=3),
    st.dictionaries(NAMES, ANYTHING, max_size=2),
)
INDEXES = st.builds(
    lambda entries, more: index(*entries) | more,
    st.lists(DESCRIPTORS, max_size=4),
    st.dictionaries(NAMES, ANYTHING, max_size=2),
)
HEADERS = (
    st.none() | st.text(max_size=20) | st.sampled_from(sorted(media.INDEXES | media.MANIFESTS))
)


def holds(data: bytes, header: str | None) -> bool:
    """Whether `data` is refused in words, or is read and written and read as the same."""
    try:
        found = parse(data, header, WHAT)
    except (InvalidArgument, Unsupported) as exc:
        str(exc).encode()
        assert len(str(exc)) < 500
        return False
    written = found.to_json()
    again = parse(json.dumps(written).encode(), found.media_type, WHAT)
    assert type(again) is type(found)
    assert again.to_json() == written
    if isinstance(found, Index):
        try:
            assert choose(found, platform.parse("linux/amd64"), WHAT) in found.manifests
        except NotFound as exc:
            str(exc).encode()
    return True


@given(st.binary(max_size=200), HEADERS)
def test_any_bytes(data: bytes, header: str | None) -> None:
    holds(data, header)


@given(ANYTHING, HEADERS)
def test_any_json(document: Any, header: str | None) -> None:
    holds(json.dumps(document).encode(), header)


@given(MANIFESTS | INDEXES, HEADERS)
def test_almost_manifests(document: Any, header: str | None) -> None:
    holds(json.dumps(document).encode(), header)


@given(st.data())
def test_a_good_manifest_with_some_bytes_changed(data: st.DataObject) -> None:
    whole = bytearray(
        json.dumps(data.draw(st.sampled_from([manifest(), index(entry("a/b"))]))).encode()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    holds(bytes(whole), None)


def test_the_good_ones_hold() -> None:
    assert holds(json.dumps(manifest()).encode(), media.OCI_MANIFEST)
    assert holds(json.dumps(index(entry("linux/amd64"), entry(None))).encode(), media.OCI_INDEX)
