"""`save --since`: an archive without the layers that others have; `--platform` of save and load."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, NotFound
from jubako.images import ImageService
from jubako.store import Store
from tests.fixtures.engine import Jubako
from tests.integration.pull_tools import layer_of, noise
from tests.integration.push_tools import make_image, three_layers

pytestmark = pytest.mark.root


@pytest.fixture
def images(root_dir: Path) -> Iterator[ImageService]:
    store = Store(str(root_dir))
    yield ImageService(store)
    store.close()


@pytest.fixture
def other(root_dir: Path) -> Iterator[ImageService]:
    store = Store(str(root_dir / "other"))
    yield ImageService(store)
    store.close()
    subprocess.run(["rm", "-rf", store.run_dir], check=True)


def save(images: ImageService, *names: str, since: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    images.save(names, out, since=since)
    return out.getvalue()


def blobs(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
    return {f"sha256:{name[13:]}" for name in names if name.startswith("blobs/sha256/")}


def test_the_layers_of_another_image_are_left_out(
    images: ImageService, other: ImageService
) -> None:
    layers = three_layers(1)
    make_image(images, "base:1", *layers)
    child = make_image(images, "child:1", *layers, layer_of({"new": noise(100_000)}))
    whole, rest = save(images, "child:1"), save(images, "child:1", since=("base:1",))
    assert len(rest) < 130_000 < len(whole)
    assert blobs(whole) - blobs(rest) == set(images.diff_ids(child)[:3])
    with pytest.raises(InvalidArgument, match="layer .* is missing"):
        other.load(io.BytesIO(rest))
    assert other.list() == []
    other.load(io.BytesIO(save(images, "base:1")))
    assert other.load(io.BytesIO(rest)) == ["Loaded image: child:1"]
    assert other.resolve("child:1") == child
    assert save(other, "child:1") == whole


def test_the_documents_are_those_of_the_whole_image(images: ImageService) -> None:
    """So every reader of an OCI layout finds out what it has to get elsewhere."""
    layers = three_layers(2)
    make_image(images, "base:1", *layers)
    make_image(images, "child:1", *layers, layer_of({"new": b"1"}))

    def documents(archive: bytes) -> dict[str, object]:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            found = {}
            for name in ("index.json", "manifest.json", "oci-layout"):
                content = tar.extractfile(name)
                assert content is not None
                found[name] = json.load(content)
            return found

    assert documents(save(images, "child:1")) == documents(
        save(images, "child:1", since=("base:1",))
    )


def test_several_images_since_which(images: ImageService) -> None:
    one, two = three_layers(3), three_layers(4)
    make_image(images, "one:1", *one)
    make_image(images, "two:1", *two)
    both = make_image(images, "both:1", *one, *two)
    rest = blobs(save(images, "both:1", since=("one:1", "two:1")))
    assert not rest & set(images.diff_ids(both))
    with pytest.raises(NotFound, match="No such image: nothing"):
        save(images, "both:1", since=("nothing",))


def test_the_command(jubako: Jubako, images: ImageService, tmp_path: Path) -> None:
    layers = three_layers(5)
    make_image(images, "base:1", *layers)
    make_image(images, "child:1", *layers, layer_of({"new": b"1"}))
    file = tmp_path / "child.tar"
    jubako.ok("save", "--since", "base:1", "-o", file, "child:1")
    assert file.stat().st_size < 30_000
    jubako.ok("rmi", "child:1")
    assert jubako.ok("load", "-i", file) == "Loaded image: child:1"
    jubako.ok("rmi", "child:1", "base:1")
    failed = jubako("load", "-i", file)
    assert failed.status == 1 and "is missing" in failed.stderr


def test_the_platform_of_save_and_load(
    jubako: Jubako, images: ImageService, tmp_path: Path
) -> None:
    make_image(images, "base:1", layer_of({}))
    file = tmp_path / "image.tar"
    jubako.ok("save", "--platform", "linux/amd64", "-o", file, "base:1")
    jubako.ok("load", "--platform", "linux/amd64", "-i", file)
    words = "does not match the specified platform: wanted linux/s390x, actual: linux/amd64"
    for command in (("save", "-o", tmp_path / "no.tar", "base:1"), ("load", "-i", file)):
        failed = jubako(command[0], "--platform", "linux/s390x", *command[1:])
        assert failed.status == 1 and words in failed.stderr
    assert not (tmp_path / "no.tar").exists()
    assert jubako("save", "--platform", "!", "base:1").status == 1
