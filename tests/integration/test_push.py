"""`push`: what arrives is what was here, for other programs too; what is there is not sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, InvalidReference, NotFound, Unauthorized
from jubako.images import ImageService
from jubako.images.registries.remote import Login
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.store import Store
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise
from tests.integration.push_tools import (
    Events,
    make_image,
    raw_manifest,
    requests,
    skopeo,
    three_layers,
)

pytestmark = pytest.mark.root


@pytest.fixture
def open_images(root_dir: Path) -> Iterator[Callable[[], ImageService]]:
    """Opens image services, the first on the test's root, others on roots below it."""
    stores: list[Store] = []

    def open_one() -> ImageService:
        path = root_dir / f"other{len(stores)}" if stores else root_dir
        stores.append(Store(str(path)))
        return ImageService(stores[-1])

    yield open_one
    for store in stores:
        store.close()
    for store in stores[1:]:
        shutil.rmtree(store.run_dir, ignore_errors=True)


@pytest.fixture
def images(open_images: Callable[[], ImageService]) -> ImageService:
    return open_images()


# --- what arrives --------------------------------------------------------------------------------


def test_other_programs_read_what_was_pushed(
    images: ImageService, registry: Registry, tmp_path: Path
) -> None:
    layers = three_layers(1)
    image_id = make_image(images, f"{registry.host}/read:1", *layers)
    [pushed] = images.push(f"{registry.host}/read:1")

    raw = raw_manifest(registry, "read:1")
    assert pushed.digest == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert pushed.size == len(raw)
    manifest = json.loads(raw)
    assert manifest["mediaType"] == media.DOCKER_MANIFEST
    assert manifest["config"]["digest"] == image_id
    assert {layer["mediaType"] for layer in manifest["layers"]} == {media.DOCKER_LAYER_GZIP}
    skopeo(
        "copy", "--src-tls-verify=false", f"docker://{registry.host}/read:1", f"dir:{tmp_path}/dir"
    )
    for layer, descriptor in zip(layers, manifest["layers"], strict=True):
        blob = (tmp_path / "dir" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert len(blob) == descriptor["size"]
        assert gzip.decompress(blob) == layer  # Python's own reader of gzip


def test_umoci_unpacks_what_was_pushed(
    images: ImageService, registry: Registry, tmp_path: Path, busybox_tar: Path
) -> None:
    with busybox_tar.open("rb") as stream:
        images.import_tar(stream, f"{registry.host}/umoci:1")
    images.push(f"{registry.host}/umoci:1")
    layout = f"oci:{tmp_path}/layout:1"
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry.host}/umoci:1", layout)
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/layout:1", str(tmp_path / "bundle")],
        check=True,
        capture_output=True,
    )
    rootfs = tmp_path / "bundle" / "rootfs"
    with tarfile.open(busybox_tar) as tar:
        for entry in tar:
            there = rootfs / entry.name
            status = there.lstat()
            assert (status.st_uid, status.st_gid) == (entry.uid, entry.gid), entry.name
            if entry.isfile():
                content = tar.extractfile(entry)
                assert content is not None and content.read() == there.read_bytes()
            elif entry.issym():
                assert os.readlink(there) == entry.linkname


def test_a_pull_elsewhere_gets_the_same_image(
    images: ImageService, open_images: Callable[[], ImageService], registry: Registry
) -> None:
    name = f"{registry.host}/elsewhere:1"
    image_id = make_image(images, name, *three_layers(2))
    [pushed] = images.push(name)
    other = open_images()
    [pulled] = other.pull(name)
    assert (pulled.image_id, pulled.digest) == (image_id, pushed.digest)
    digest = f"{registry.host}/elsewhere@{pushed.digest}"
    for service in (images, other):
        assert service.inspect(name)["RepoDigests"] == [digest]
        assert service.resolve(digest) == image_id


def test_equal_layers_and_layers_that_hold_nothing(
    images: ImageService, registry: Registry
) -> None:
    name = f"{registry.host}/equal:1"
    layer, empty = layer_of({"a": b"1"}), layer_of({})
    make_image(images, name, layer, empty, layer, empty)
    seen = Events()
    images.push(name, progress=seen)
    manifest = json.loads(raw_manifest(registry, "equal:1"))
    digests = [item["digest"] for item in manifest["layers"]]
    assert digests[0] == digests[2] != digests[1] == digests[3]
    assert len(seen.last()) == 2


def test_an_image_without_layers(images: ImageService, registry: Registry) -> None:
    name = f"{registry.host}/bare:1"
    make_image(images, name)
    images.push(name)
    assert json.loads(raw_manifest(registry, "bare:1"))["layers"] == []


# --- as it came ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "compression"),
    [
        ("oci", ["--dest-compress", "--dest-compress-format=gzip"]),
        ("oci", ["--dest-compress", "--dest-compress-format=zstd"]),
        ("oci", ["--dest-decompress"]),
        ("v2s2", ["--dest-compress", "--dest-compress-format=gzip"]),
    ],
)
def test_what_was_pulled_keeps_its_digest(
    images: ImageService,
    open_images: Callable[[], ImageService],
    registry: Registry,
    tmp_path: Path,
    form: str,
    compression: list[str],
) -> None:
    """skopeo makes the image; it goes on to a repository that has none of it."""
    kind = f"{form}-{compression[-1].rpartition('=')[2].strip('-')}"
    source, target = f"came-{kind}:1", f"went-{kind}:1"
    maker = open_images()
    make_image(maker, "made:1", *three_layers(len(source)))
    with open(tmp_path / "made.tar", "wb") as out:
        maker.save(["made:1"], out)
    archive, directory = f"docker-archive:{tmp_path}/made.tar", f"dir:{tmp_path}/blobs"
    skopeo("copy", *compression, "--format", form, archive, directory)
    there = f"docker://{registry.host}/{source}"
    skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", directory, there)
    [pulled] = images.pull(f"{registry.host}/{source}")
    images.tag(f"{registry.host}/{source}", f"{registry.host}/{target}")
    [pushed] = images.push(f"{registry.host}/{target}")
    assert pushed.digest == pulled.digest
    assert raw_manifest(registry, target) == raw_manifest(registry, source)


def test_a_kept_blob_that_is_damaged_is_not_sent(
    images: ImageService, open_images: Callable[[], ImageService], registry: Registry
) -> None:
    """The layer is compressed anew then, under a new manifest."""
    maker = open_images()
    make_image(maker, f"{registry.host}/damaged:1", *three_layers(20))
    maker.push(f"{registry.host}/damaged:1")
    [pulled] = images.pull(f"{registry.host}/damaged:1")
    manifest = json.loads(raw_manifest(registry, "damaged:1"))
    victim = Digest(manifest["layers"][0]["digest"])
    path = Path(images.content.path(victim))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    images.store.db.execute("DELETE FROM blob_sources")  # nothing to mount from
    images.tag(f"{registry.host}/damaged:1", f"{registry.host}/whole:1")
    seen = Events()
    [pushed] = images.push(f"{registry.host}/whole:1", progress=seen)
    assert seen.statuses() == {"Pushed", "Layer already exists"}
    [again] = open_images().pull(f"{registry.host}/whole:1")
    assert again.image_id == pulled.image_id


# --- what is there is not sent -------------------------------------------------------------------


def test_a_second_push_sends_nothing(images: ImageService, registry: Registry) -> None:
    name = f"{registry.host}/twice:1"
    make_image(images, name, *three_layers(3))
    first = Events()
    [one] = images.push(name, progress=first)
    assert first.statuses() == {"Pushed"}
    began = requests(registry, "POST"), requests(registry, "PATCH")
    second = Events()
    [two] = images.push(name, progress=second)
    assert second.statuses() == {"Layer already exists"}
    assert (requests(registry, "POST"), requests(registry, "PATCH")) == began
    assert one.digest == two.digest


def test_layers_of_another_repository_are_mounted(images: ImageService, registry: Registry) -> None:
    layers = three_layers(4)
    make_image(images, f"{registry.host}/team/base:1", *layers)
    images.push(f"{registry.host}/team/base:1")
    new = layer_of({"new": noise(100_000, 4)})
    make_image(images, f"{registry.host}/child:1", *layers, new)
    seen = Events()
    images.push(f"{registry.host}/child:1", progress=seen)
    statuses = [seen.last()[key] for key in seen.last()]
    assert sorted(statuses) == ["Mounted from team/base"] * 3 + ["Pushed"]


def test_a_layer_that_the_registry_has_lost_is_sent_again(
    images: ImageService, registry: Registry
) -> None:
    name = f"{registry.host}/lost:1"
    make_image(images, name, *three_layers(5))
    [first] = images.push(name)
    victim = json.loads(raw_manifest(registry, "lost:1"))["layers"][1]["digest"]
    links = registry.storage / "docker/registry/v2/repositories/lost/_layers/sha256"
    shutil.rmtree(links / victim.removeprefix("sha256:"))
    seen = Events()
    [second] = images.push(name, progress=seen)
    assert first.digest == second.digest  # made again by its recipe, bit for bit
    assert sorted(seen.last().values()) == ["Layer already exists"] * 2 + ["Pushed"]


def test_a_broken_upload_goes_on_with_the_next_push(
    images: ImageService, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers that arrived stay; nothing is named before all are there."""
    name = f"{registry.host}/broken:1"
    layers = [*three_layers(6), layer_of({"last": noise(8 << 20, 6)})]
    make_image(images, name, *layers)
    path = images.layers.path(f"sha256:{hashlib.sha256(layers[3]).hexdigest()}")
    archive = images.layers.archive

    def breaks(diff_id: str) -> Iterator[bytes | memoryview]:
        for at, piece in enumerate(archive(diff_id)):
            if images.layers.path(diff_id) == path and at:
                raise KeyboardInterrupt
            yield piece

    with monkeypatch.context() as patch:
        patch.setattr(images.layers, "archive", breaks)
        with pytest.raises(KeyboardInterrupt):
            images.push(name)
    with pytest.raises(AssertionError, match="manifest unknown"):
        raw_manifest(registry, "broken:1")
    assert images.inspect(name)["RepoDigests"] == []
    seen = Events()
    images.push(name, progress=seen)
    assert "Pushed" in seen.statuses()
    assert json.loads(raw_manifest(registry, "broken:1"))["layers"]


_MEASURED = """
import re, sys
from jubako import Engine
Engine(sys.argv[1]).images.push(sys.argv[2])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_memory(images: ImageService, root_dir: Path, registry: Registry) -> None:
    """Six layers of 40 MB, five at a time, each compressed by all processors: below 150 MB."""
    name = f"{registry.host}/large:1"
    make_image(images, name, *(layer_of({"noise": noise(40_000_000, at)}) for at in range(6)))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(root_dir), name],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert int(done.stdout) < 150_000  # kB


# --- names ---------------------------------------------------------------------------------------


def test_all_tags(images: ImageService, registry: Registry) -> None:
    repository = f"{registry.host}/many"
    make_image(images, f"{repository}:a", *three_layers(7))
    make_image(images, f"{repository}:b", *three_layers(8))
    images.tag(f"{repository}:a", f"{repository}:c")
    pushed = images.push(repository, all_tags=True)
    assert [item.reference.tag for item in pushed] == ["a", "b", "c"]
    assert pushed[0].digest == pushed[2].digest != pushed[1].digest
    with pytest.raises(InvalidArgument, match="tag can't be used with --all-tags/-a"):
        images.push(f"{repository}:a", all_tags=True)


def test_what_is_not_there(images: ImageService, registry: Registry) -> None:
    with pytest.raises(NotFound) as caught:
        images.push("nothing:1")
    assert str(caught.value) == "An image does not exist locally with the tag: nothing"
    make_image(images, f"{registry.host}/here:1", layer_of({"a": b""}))
    with pytest.raises(NotFound, match=f"tag does not exist: {registry.host}/here:2"):
        images.push(f"{registry.host}/here:2")
    with pytest.raises(InvalidReference, match="cannot push a digest reference"):
        images.push(f"{registry.host}/here@sha256:{'0' * 64}")


def test_another_platform_than_the_images(images: ImageService, registry: Registry) -> None:
    name = f"{registry.host}/platform:1"
    make_image(images, name, layer_of({"a": b""}))
    with pytest.raises(NotFound, match="wanted linux/s390x, actual: linux/amd64"):
        images.push(name, platform="linux/s390x")
    assert images.push(name, platform="linux/amd64")


# --- who may -------------------------------------------------------------------------------------


def test_a_registry_with_a_password(images: ImageService, registry_auth: Registry) -> None:
    name = f"{registry_auth.host}/guarded:1"
    make_image(images, name, *three_layers(9))
    with pytest.raises(Unauthorized):
        images.push(name)
    login = Login(registry_auth.username, registry_auth.password)
    seen = Events()
    [pushed] = images.push(name, login=login, progress=seen)
    assert seen.statuses() == {"Pushed"}
    assert images.push(name, login=login)[0].digest == pushed.digest


# --- the command ---------------------------------------------------------------------------------


def test_the_command(jubako: Jubako, busybox: str, registry: Registry) -> None:
    repository = f"{registry.host}/command"
    jubako.ok("tag", busybox, repository)
    lines = jubako.ok("push", repository).splitlines()
    layer = json.loads(jubako.ok("image", "inspect", busybox))[0]["RootFS"]["Layers"][0]
    short = layer.removeprefix("sha256:")[:12]
    raw = raw_manifest(registry, "command:latest")
    assert lines == [
        "Using default tag: latest",
        f"The push refers to repository [{repository}]",
        f"{short}: Preparing",
        f"{short}: Pushed",
        f"latest: digest: sha256:{hashlib.sha256(raw).hexdigest()} size: {len(raw)}",
    ]
    assert jubako.ok("push", "-q", repository) == f"{repository}:latest"
    assert "image push " in jubako.ok("events", "--since", "1h", "--until", "0s")
    failed = jubako("push", "nothing")
    assert failed.status == 1
    assert failed.stderr == "jubako: An image does not exist locally with the tag: nothing\n"
