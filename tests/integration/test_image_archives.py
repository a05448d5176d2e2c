"""`save` and `load`: what comes out goes in again, here and elsewhere; what is wrong is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from jubako.errors import (
    IntegrityError,
    InvalidArgument,
    InvalidDigest,
    JubakoError,
    NotFound,
    Unsupported,
)
from jubako.images import ImageService
from jubako.oci.digest import Digest
from jubako.store import Store


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = [entry for entry in tar if entry.isfile()]
        return {entry.name: tar.extractfile(entry).read() for entry in files}  # type: ignore[union-attr]


class Pipe(io.RawIOBase):
    """A stream that can only be read, in small pieces."""

    def __init__(self, data: bytes):
        self._source = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._source.read(min(size, 3000) if size > 0 else 3000)


@pytest.fixture
def open_images(root_dir: Path, storage_driver: str) -> Iterator[Callable[[], ImageService]]:
    """Opens image services, each on a new root."""
    stores: list[Store] = []

    def open_one() -> ImageService:
        path = root_dir / f"root{len(stores)}"
        path.mkdir(mode=0o700)
        shutil.copy(root_dir / "config.json", path)
        stores.append(Store(str(path)))
        return ImageService(stores[-1])

    yield open_one
    for store in stores:
        store.close()
        shutil.rmtree(store.run_dir, ignore_errors=True)


@pytest.fixture
def images(open_images: Callable[[], ImageService]) -> ImageService:
    return open_images()


def save(images: ImageService, *references: str, format: str = "docker") -> bytes:
    out = io.BytesIO()
    images.save(references, out, format=format)
    return out.getvalue()


def load(images: ImageService, data: bytes) -> list[str]:
    return images.load(io.BytesIO(data))


@pytest.fixture
def filled(images: ImageService) -> ImageService:
    """base:1 (one layer), child:1 and child:2 (two layers)."""
    base = images.import_tar(
        io.BytesIO(tar_of({"a": b"1" * 5000}, {"l": "a"})), "base:1", changes=['CMD ["sh"]']
    )
    images.commit(base, io.BytesIO(tar_of({".wh.a": b"", "b": b"2"})), {}, reference="me/child:1")
    images.tag("me/child:1", "me/child:2")
    return images


def empty(images: ImageService) -> bool:
    root = Path(images.store.path)
    layers = [*root.glob("layers/[!.]*"), *root.glob("layers/.ingest/*")]
    blobs = [path for path in root.glob("content/**/*") if path.is_file()]
    return not (layers or blobs or images.list(all=True))


# --- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["docker", "oci"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_round_trip(
    filled: ImageService, open_images: Callable[[], ImageService], format: str, compress: Any
) -> None:
    data = save(filled, "base:1", "me/child", format=format)
    other = open_images()
    assert sorted(other.load(Pipe(compress(data)))) == [
        "Loaded image: base:1",
        "Loaded image: me/child:1",
        "Loaded image: me/child:2",
    ]
    for name in ("base:1", "me/child:2"):
        assert other.resolve(name) == filled.resolve(name)
        assert other.config(other.resolve(name)) == filled.config(filled.resolve(name))
    for layer in filled.diff_ids(filled.resolve("me/child:1")):
        one, two = (b"".join(map(bytes, i.layers.archive(layer))) for i in (filled, other))
        assert one == two and Digest.of(one) == layer
    assert save(other, "base:1", "me/child", format=format) == data


def test_parents_are_kept_when_both_are_saved(
    filled: ImageService, open_images: Callable[[], ImageService]
) -> None:
    other = open_images()
    load(other, save(filled, "base:1", "me/child"))
    assert other.inspect("me/child:1")["Parent"] == filled.resolve("base:1")
    alone = open_images()
    load(alone, save(filled, "me/child:1"))
    assert alone.inspect("me/child:1")["Parent"] == ""


def test_the_archive_is_dockers(filled: ImageService) -> None:
    found = members(save(filled, "base:1"))
    image_id = filled.resolve("base:1")
    (layer,) = (name[7:] for name in filled.diff_ids(image_id))
    (item,) = json.loads(found["manifest.json"])
    assert item["Config"] == f"blobs/sha256/{image_id[7:]}"
    assert (item["RepoTags"], item["Layers"]) == (["base:1"], [f"blobs/sha256/{layer}"])
    assert item["LayerSources"][f"sha256:{layer}"]["size"] == len(found[f"blobs/sha256/{layer}"])
    assert json.loads(found["repositories"]) == {"base": {"1": layer}}
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/library/base:1"
    for name, content in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_dangling_images(filled: ImageService, open_images: Callable[[], ImageService]) -> None:
    image_id = filled.resolve("base:1")
    other = open_images()
    assert load(other, save(filled, image_id)) == [f"Loaded image ID: {image_id}"]
    assert other.inspect(image_id)["RepoTags"] == []


def test_loading_twice_changes_nothing(filled: ImageService) -> None:
    data = save(filled, "base:1")
    before = filled.list()
    assert load(filled, data) == ["Loaded image: base:1"]
    assert filled.list() == before


def test_a_name_that_moves_is_announced(
    filled: ImageService, open_images: Callable[[], ImageService]
) -> None:
    other = open_images()
    old = other.import_tar(io.BytesIO(tar_of({"z": b"z"})), "base:1")
    assert load(other, save(filled, "base:1")) == [
        f"The image base:1 already exists, renaming the old one with ID {old} to empty string",
        "Loaded image: base:1",
    ]


def test_saving_what_does_not_exist(filled: ImageService) -> None:
    with pytest.raises(NotFound, match="No such image: nothing$"):
        save(filled, "base:1", "nothing")
    with pytest.raises(InvalidArgument, match="unknown archive format"):
        save(filled, "base:1", format="zip")


def test_a_damaged_layer_is_not_saved(filled: ImageService) -> None:
    layer = filled.diff_ids(filled.resolve("base:1"))[0]
    if filled.layers.driver_of(layer) == "erofs":
        path, content = Path(filled.layers.path(layer), "tar"), b"1" * 5000
        path.write_bytes(path.read_bytes().replace(content, b"2" * 5000))
    else:
        Path(filled.layers.path(layer), "diff", "a").write_bytes(b"2" * 5000)
    with pytest.raises(IntegrityError, match=f"expected {layer}, found sha256:"):
        save(filled, "base:1")


# --- other people's archives ---------------------------------------------------------------------


def old_docker(layers: list[bytes], config: dict[str, Any] | None = None) -> dict[str, bytes]:
    """What Docker before 25 wrote: a directory for each layer."""
    made = config or {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(layer) for layer in layers]},
    }
    data = json.dumps(made).encode()
    names = [f"{number:064}/layer.tar" for number in range(len(layers))]
    name = f"{Digest.of(data)[7:]}.json"
    item = {"Config": name, "RepoTags": ["old:1"], "Layers": names}
    files = {name: data, "manifest.json": json.dumps([item]).encode()}
    for name, layer in zip(names, layers, strict=True):
        files[name] = layer
        files[name.replace("layer.tar", "VERSION")] = b"1.0"
        files[name.replace("layer.tar", "json")] = b'{"id": "x"}'
    return files


def test_docker_before_25(images: ImageService) -> None:
    layers = [tar_of({"a": b"1"}), tar_of({"b": b"2"})]
    assert load(images, tar_of(old_docker(layers))) == ["Loaded image: old:1"]
    assert images.diff_ids(images.resolve("old:1")) == [Digest.of(layer) for layer in layers]


def test_layers_that_are_links_to_others(images: ImageService) -> None:
    layer = tar_of({"a": b"1"})
    files = old_docker([layer, layer])
    first, second = (f"{number:064}/layer.tar" for number in range(2))
    del files[second]
    assert load(images, tar_of(files, {second: f"../{first}"})) == ["Loaded image: old:1"]
    assert images.diff_ids(images.resolve("old:1")) == [Digest.of(layer)] * 2


def test_a_layer_whose_first_name_is_a_brace(images: ImageService) -> None:
    layer = tar_of({"{": b"1"})
    assert load(images, tar_of(old_docker([layer]))) == ["Loaded image: old:1"]


def oci(
    layers: list[bytes],
    /,
    *,
    annotations: dict[str, str] | None = None,
    platforms: list[dict[str, str]] | None = None,
    **manifest: Any,
) -> dict[str, bytes]:
    """An OCI layout of one image, or of an index with one image for each platform."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **more}

    prefix = "application/vnd.oci.image"
    entries = []
    for platform in platforms or [{"architecture": "amd64", "os": "linux"}]:
        plain = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
        config = {
            **platform,
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(layer) for layer in plain]},
        }
        kinds = ["+gzip" if layer[:2] == b"\x1f\x8b" else "" for layer in layers]
        made = {
            "schemaVersion": 2,
            "config": blob(json.dumps(config).encode(), f"{prefix}.config.v1+json"),
            "layers": [
                blob(layer, f"{prefix}.layer.v1.tar{kind}")
                for layer, kind in zip(layers, kinds, strict=True)
            ],
            **manifest,
        }
        more = {"platform": platform} if platforms else {}
        entries.append(blob(json.dumps(made).encode(), f"{prefix}.manifest.v1+json", **more))
    if platforms:
        index = {"schemaVersion": 2, "manifests": entries}
        entries = [blob(json.dumps(index).encode(), f"{prefix}.index.v1+json")]
    for entry in entries:
        entry["annotations"] = annotations or {}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return files


def test_an_oci_layout_with_compressed_layers(images: ImageService) -> None:
    plain = tar_of({"a": b"1" * 9000})
    name = {"org.opencontainers.image.ref.name": "quay.io/x/y:3"}
    assert load(images, tar_of(oci([gzip.compress(plain)], annotations=name))) == [
        "Loaded image: quay.io/x/y:3"
    ]
    assert images.diff_ids(images.resolve("quay.io/x/y:3")) == [Digest.of(plain)]


def test_a_mere_tag_is_no_name(images: ImageService) -> None:
    name = {"org.opencontainers.image.ref.name": "latest"}
    (line,) = load(images, tar_of(oci([tar_of({"a": b"1"})], annotations=name)))
    assert line.startswith("Loaded image ID: sha256:")


def test_of_several_platforms_this_machines_is_taken(images: ImageService) -> None:
    from jubako.oci import platform

    host: Any = platform.host()
    files = oci(
        [tar_of({"a": b"1"})], platforms=[{"architecture": "mips", "os": "linux"}, {**host}]
    )
    load(images, tar_of(files))
    (summary,) = images.list()
    assert images.config(summary["Id"])["architecture"] == host["architecture"]
    other = oci([tar_of({"a": b"1"})], platforms=[{"architecture": "mips", "os": "linux"}])
    with pytest.raises(InvalidArgument, match="no image for this platform"):
        load(images, tar_of(other))


# --- hostile and damaged archives ----------------------------------------------------------------

LAYER = tar_of({"a": b"1" * 600})


def replaced(files: dict[str, bytes], name: str, change: Callable[[Any], Any]) -> dict[str, bytes]:
    """The files with a JSON document changed."""
    return {**files, name: json.dumps(change(json.loads(files[name]))).encode()}


def docker_item(**changes: Any) -> dict[str, bytes]:
    return replaced(old_docker([LAYER]), "manifest.json", lambda items: [{**items[0], **changes}])


def blob_changed(files: dict[str, bytes], kind: str) -> dict[str, bytes]:
    """A layout in which the blob of a media type has other content of the same length."""
    name = next(
        name for name, data in files.items() if name.startswith("blobs/") and kind in str(data)
    )
    data = bytearray(files[name])
    data[-20 if kind == "rootfs" else 520] ^= 1
    return {**files, name: bytes(data)}


HOSTILE: list[tuple[str, dict[str, bytes], type[JubakoError], str]] = [
    ("nothing", {"x": b"y"}, InvalidArgument, "neither manifest.json nor index.json"),
    ("ancient", {"repositories": b"{}"}, InvalidArgument, "before 1.10"),
    ("no list", {"manifest.json": b"{}"}, InvalidArgument, "not a list"),
    ("no images", {"manifest.json": b"[]"}, InvalidArgument, "no image"),
    ("bad JSON", {"manifest.json": b"[{]"}, InvalidArgument, "not valid JSON"),
    ("no config", docker_item(Config=None), InvalidArgument, "without Config"),
    ("config missing", docker_item(Config="x.json"), InvalidArgument, "x.json is missing"),
    ("config outside", docker_item(Config="../x"), InvalidArgument, "leads out"),
    ("config absolute", docker_item(Config="/etc/passwd"), InvalidArgument, "is missing"),
    ("layers missing", docker_item(Layers=[]), InvalidArgument, "expected 1, got 0"),
    ("layer missing", docker_item(Layers=["y"]), InvalidArgument, "layer y is missing"),
    ("layer outside", docker_item(Layers=["../../y"]), InvalidArgument, "leads out"),
    ("layers no list", docker_item(Layers="abc"), InvalidArgument, "not a list of strings"),
    ("bad tag", docker_item(RepoTags=["UP:1"]), InvalidArgument, "must be lowercase"),
    ("no tag", docker_item(RepoTags=["x"]), InvalidArgument, "invalid tag 'x'"),
    ("digest", docker_item(RepoTags=[f"x@{Digest.of(b'')}"]), InvalidArgument, "invalid tag"),
    ("bad parent", docker_item(Parent="x"), InvalidDigest, "digest"),
    (
        "another layer",
        {**old_docker([LAYER]), f"{0:064}/layer.tar": tar_of({"a": b"2" * 600})},
        IntegrityError,
        "layers from manifest don't match image configuration",
    ),
    (
        "layer is no tar",
        {**old_docker([LAYER]), f"{0:064}/layer.tar": b"x" * 9000},
        InvalidArgument,
        "invalid tar header at byte 0",
    ),
    (
        "layer is hostile",
        old_docker([tar_of({"../../evil": b"x"})]),
        InvalidArgument,
        "leads out of the archive",
    ),
    (
        "layer is cut",
        old_docker([tar_of({"a": b"x" * 5000})[:2000]]),
        InvalidArgument,
        "truncated",
    ),
    ("blob of a layer", blob_changed(oci([LAYER]), "ustar"), IntegrityError, "layer: expected"),
    ("blob of a config", blob_changed(oci([LAYER]), "rootfs"), IntegrityError, "expected sha256"),
    (
        "both manifest and index",
        oci([LAYER], manifests=[]),
        InvalidArgument,
        "both an index and a manifest",
    ),
    (
        "two media types",
        oci([LAYER], mediaType="application/x"),
        InvalidArgument,
        "it came as .* but says that it is application/x",
    ),
    (
        "unknown layer type",
        oci([LAYER], layers=[{"mediaType": "x/y", "digest": Digest.of(b""), "size": 1}]),
        Unsupported,
        "unknown media type x/y",
    ),
    (
        "size of a manifest",
        replaced(
            oci([LAYER]),
            "index.json",
            lambda index: {"manifests": [{**index["manifests"][0], "size": 1}]},
        ),
        IntegrityError,
        "expected 1 bytes",
    ),
    (
        "malformed digest",
        replaced(
            oci([LAYER]),
            "index.json",
            lambda index: {"manifests": [{**index["manifests"][0], "digest": "sha256:../x"}]},
        ),
        InvalidDigest,
        "digest",
    ),
    ("layout version", {**oci([LAYER]), "oci-layout": b"{}"}, InvalidArgument, "version"),
]


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [case[1:] for case in HOSTILE],
    ids=[case[0] for case in HOSTILE],
)
def test_bad_archives_leave_nothing(
    images: ImageService, files: dict[str, bytes], error: type[JubakoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load(images, tar_of(files))
    assert empty(images)


def test_a_compressed_blob_that_is_not_what_its_name_says(images: ImageService) -> None:
    files = oci([gzip.compress(LAYER, mtime=1)])
    name = next(name for name, data in files.items() if data.startswith(b"\x1f\x8b"))
    with pytest.raises(IntegrityError, match="blob: expected sha256:.*, found sha256:"):
        load(images, tar_of({**files, name: gzip.compress(LAYER, mtime=2)}))
    assert empty(images)


def test_what_no_image_names_is_of_no_interest(images: ImageService) -> None:
    more = {"blobs/sha256/zz": LAYER, "garbage": b"x" * 9000, "odd.json": b"{"}
    assert load(images, tar_of({**more, **old_docker([LAYER])})) == ["Loaded image: old:1"]
    assert len(images.list(all=True)) == 1


def test_links_of_an_archive_never_reach_the_disk(images: ImageService, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"rootfs": {"type": "layers", "diff_ids": []}}')
    for target in (str(secret), f"../../..{secret}"):
        files = docker_item(Config="link.json")
        with pytest.raises(InvalidArgument, match="is missing|leads out"):
            load(images, tar_of(files, {"link.json": target}))
    with pytest.raises(InvalidArgument, match="too many links"):
        load(images, tar_of(docker_item(Config="a"), {"a": "b", "b": "a"}))
    assert empty(images)


def test_either_all_images_of_an_archive_or_none(images: ImageService) -> None:
    good, bad = old_docker([LAYER]), docker_item(Config="missing")
    items = [json.loads(good["manifest.json"])[0], json.loads(bad["manifest.json"])[0]]
    with pytest.raises(InvalidArgument):
        load(images, tar_of({**good, "manifest.json": json.dumps(items).encode()}))
    assert empty(images)


def test_a_cut_archive(images: ImageService) -> None:
    data = tar_of(old_docker([LAYER]))
    for cut in (100, 3000, len(data) // 2):
        with pytest.raises(InvalidArgument):
            load(images, data[:cut])
    with pytest.raises(InvalidArgument, match="is empty"):
        load(images, b"")
    assert empty(images)


def test_documents_in_memory_are_bounded(
    images: ImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jubako.images.archives.reading._MAX_DOCUMENTS_BYTES", 1000)
    with pytest.raises(InvalidArgument, match="documents of more than"):
        load(images, tar_of({"a.json": b"{" * 900, "b.json": b"{" * 900}))
