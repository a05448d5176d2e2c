"""`import`, `commit`, names and removal on a real store."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from jubako.errors import Conflict, InvalidArgument, InvalidReference, JubakoError, NotFound
from jubako.images import ImageService
from jubako.oci.digest import Digest
from jubako.store import Store


def tar_of(**files: str) -> bytes:
    """A tar of files; `__` in a name stands for a slash, `wh_` for a whiteout."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("wh_", ".wh."))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content.encode()))
    return out.getvalue()


@pytest.fixture
def images(root_dir: Path, storage_driver: str) -> Iterator[ImageService]:
    store = Store(str(root_dir))
    yield ImageService(store)
    store.db.execute("DELETE FROM containers")  # those that `container` made up
    store.close()


def make(images: ImageService, reference: str | None, content: str = "x", **options: Any) -> str:
    return images.import_tar(io.BytesIO(tar_of(file=content)), reference, **options)


def derive(images: ImageService, parent: str, reference: str | None, content: str) -> str:
    layer = io.BytesIO(tar_of(other=content))
    return images.commit(parent, layer, {"Cmd": ["sh"]}, reference=reference)


def stored(images: ImageService) -> tuple[list[str], list[str]]:
    """Names of layer directories and of blobs that are on disk, temporary ones included."""
    root = Path(images.store.path)
    layers = [name for name in os.listdir(root / "layers") if name != ".ingest"]
    layers += os.listdir(root / "layers" / ".ingest")
    blobs = [path.name for path in (root / "content").rglob("*") if path.is_file()]
    return sorted(layers), sorted(blobs)


def container(images: ImageService, image_id: str, name: str, status: str = "exited") -> str:
    """A row of a container that uses an image."""
    container_id = name.ljust(64, "0")
    with images.store.transaction() as db:
        db.execute(
            "INSERT INTO containers (id, name, image_id, created_ns, record, status)"
            " VALUES (?, ?, ?, 0, '{}', ?)",
            (container_id, name, image_id, status),
        )
    return container_id


# --- import --------------------------------------------------------------------------------------


def test_import_makes_an_image(images: ImageService) -> None:
    image_id = make(
        images,
        "me/app:1",
        changes=['CMD ["sh"]', "ENV A=b", "LABEL x=y"],
        message="a message",
        platform="linux/arm64",
    )
    config = images.config(image_id)
    assert Digest.of(Path(images.content.path(Digest(image_id))).read_bytes()) == image_id
    assert config["config"] == {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"x": "y"}}
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    found = images.inspect("me/app:1")
    assert found["Id"] == image_id and found["RepoTags"] == ["me/app:1"]
    assert (found["Comment"], found["Size"], found["Parent"]) == ("a message", 1, "")
    assert found["RootFS"] == {"Type": "layers", "Layers": [Digest.of(tar_of(file="x"))]}
    (summary,) = images.list()
    assert summary["Id"] == image_id and summary["Labels"] == {"x": "y"}
    (step,) = images.history("me/app:1")
    assert (step["Id"], step["Size"], step["Comment"]) == (image_id, 1, "a message")
    assert step["Tags"] == ["me/app:1"]


@pytest.mark.parametrize(
    "compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]
)
def test_any_compression_from_a_pipe(images: ImageService, compress: Any) -> None:
    data = tar_of(file="x" * 300_000)
    read_end, write_end = os.pipe()

    def feed() -> None:
        with open(write_end, "wb") as out:
            out.write(compress(data))

    thread = threading.Thread(target=feed)
    thread.start()
    with open(read_end, "rb") as pipe:
        image_id = images.import_tar(pipe)
    thread.join()
    assert images.diff_ids(image_id) == [Digest.of(data)]
    assert images.inspect(image_id)["RepoTags"] == []


def test_equal_input_and_date_make_the_same_image(
    images: ImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = make(images, "a"), make(images, "b")
    assert first == second
    assert images.inspect("a")["RepoTags"] == ["a:latest", "b:latest"]
    assert images.inspect("a")["Created"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reference": "UPPER"}, InvalidReference, "must be lowercase"),
        ({"reference": f"x@{Digest.of(b'')}"}, InvalidReference, "digest reference"),
        ({"changes": ["RUN x"]}, InvalidArgument, "not a valid change command"),
        ({"platform": "a b"}, InvalidArgument, "cannot parse platform specifier"),
    ],
)
def test_bad_requests_change_nothing(
    images: ImageService, options: dict[str, Any], error: type[JubakoError], message: str
) -> None:
    with pytest.raises(error, match=message):
        images.import_tar(io.BytesIO(tar_of(a="x")), **options)
    assert images.list() == [] and not os.path.exists(f"{images.store.path}/layers")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"this is no tar archive" * 100, "invalid tar header at byte 0"),
        (tar_of(a="x" * 5000)[:3000], "truncated"),
        (gzip.compress(tar_of(a="x" * 5000), mtime=0)[:-20], "truncated"),
        (tar_of(a="x", **{".__..__..__evil": "x"}), "leads out of the archive"),
    ],
)
def test_bad_archives_leave_nothing(images: ImageService, data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        images.import_tar(io.BytesIO(data), "bad")
    assert images.list() == []
    assert stored(images) == ([], [])


def test_two_imports_of_the_same_layer_at_once(images: ImageService) -> None:
    """Each in a process of its own, as two commands would."""
    images.list()
    images.store.close()
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                make(ImageService(Store(images.store.path)), f"x{number}", "the same")
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(images.list()) == 4
    assert len(stored(images)[0]) == 1


# --- commit --------------------------------------------------------------------------------------


def test_commit_adds_a_layer(images: ImageService) -> None:
    parent = make(images, "base", changes=["ENV A=1"])
    config = {"Cmd": ["sh", "-c", "x"], "Env": ["A=1"], "Hostname": "box", "Tty": True}
    image_id = images.commit(
        parent,
        io.BytesIO(tar_of(wh_file="")),
        config,
        author="me",
        message="why",
        changes=["ENV B=2"],
        reference="child",
    )
    assert images.diff_ids(image_id) == [*images.diff_ids(parent), Digest.of(tar_of(wh_file=""))]
    found = images.inspect("child")
    assert (found["Parent"], found["Author"], found["Comment"]) == (parent, "me", "why")
    assert found["Config"]["Env"] == ["A=1", "B=2"] and found["Config"]["Hostname"] == ""
    top, bottom = images.history("child")
    assert (top["CreatedBy"], top["Id"], bottom["Id"]) == ("sh -c x", image_id, parent)


def test_a_commit_without_changes_adds_no_layer(images: ImageService) -> None:
    parent = make(images, "base")
    image_id = images.commit(parent, io.BytesIO(bytes(1024)), {"Cmd": ["sh"]}, reference="same")
    assert images.diff_ids(image_id) == images.diff_ids(parent)
    assert images.config(image_id)["history"][-1]["empty_layer"] is True
    assert [step["Size"] for step in images.history("same")] == [0, 1]
    assert len(stored(images)[0]) == 1


# --- finding -------------------------------------------------------------------------------------


def test_references(images: ImageService) -> None:
    image_id = make(images, "me/app:1")
    hexadecimal = image_id[7:]
    for reference in (
        "me/app:1",
        "docker.io/me/app:1",
        image_id,
        hexadecimal,
        hexadecimal[:12],
        f"sha256:{hexadecimal[:12]}",
    ):
        assert images.resolve(reference) == image_id
    for reference, shown in (
        ("nothing", "nothing:latest"),
        ("me/app", "me/app:latest"),
        ("me/app:2", "me/app:2"),
        ("0" * 64, "sha256:" + "0" * 64),
        (f"x@sha256:{'1' * 64}", f"x@sha256:{'1' * 64}"),
    ):
        with pytest.raises(NotFound) as info:
            images.resolve(reference)
        assert str(info.value) == f"No such image: {shown}"
    with pytest.raises(InvalidReference):
        images.resolve("A:b:c")


def test_a_name_wins_over_a_short_id(images: ImageService) -> None:
    first = make(images, "one", "1")
    second = make(images, first[7:19], "2")
    assert images.resolve(first[7:19]) == second
    assert images.resolve(first[7:20]) == first


def test_an_ambiguous_short_id(images: ImageService) -> None:
    ids = [make(images, None, str(number)) for number in range(17)]
    prefix = next(a for a in "0123456789abcdef" if sum(i[7] == a for i in ids) > 1)
    with pytest.raises(Conflict, match=f"multiple IDs found with provided prefix: {prefix}"):
        images.resolve(f"sha256:{prefix}")


def test_filters(images: ImageService, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("a:1", "b:1", "lib/c:2")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1_700_000_000 + number))
        make(images, name, name, changes=[f"LABEL n={number}"])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000005")
    make(images, None, "dangling")

    def names(**filters: list[str]) -> list[str]:
        return [(summary["RepoTags"] or ["-"])[0] for summary in images.list(filters)]

    assert names() == ["-", "lib/c:2", "b:1", "a:1"]
    assert names(dangling=["true"]) == ["-"]
    assert names(dangling=["false"]) == ["lib/c:2", "b:1", "a:1"]
    assert names(label=["n"]) == ["lib/c:2", "b:1", "a:1"]
    assert names(label=["n=1"]) == ["b:1"]
    assert names(reference=["?"]) == ["b:1", "a:1"]
    assert names(reference=["*/c", "a:1"]) == ["lib/c:2", "a:1"]
    assert names(before=["b:1"]) == ["a:1"]
    assert names(since=["b:1"]) == ["-", "lib/c:2"]
    assert names(until=["1700000001"]) == ["b:1", "a:1"]
    with pytest.raises(InvalidArgument, match="invalid filter 'color'"):
        images.list({"color": ["red"]})
    with pytest.raises(NotFound, match="No such image"):
        images.list({"before": ["nothing"]})


def test_images_that_others_were_made_from_are_intermediate(images: ImageService) -> None:
    parent = make(images, "base")
    child = derive(images, parent, "child", "c")
    make(images, "base", "new")
    assert parent not in [summary["Id"] for summary in images.list()]
    assert parent in [summary["Id"] for summary in images.list(all=True)]
    assert images.list({"dangling": ["true"]}) == []
    assert next(i for i in images.list() if i["Id"] == child)["ParentId"] == parent


# --- names and removal ---------------------------------------------------------------------------


def test_tag_moves_a_name(images: ImageService) -> None:
    first, second = make(images, "a", "1"), make(images, "b", "2")
    images.tag("b", "a")
    assert images.resolve("a") == second and images.inspect(first)["RepoTags"] == []
    with pytest.raises(NotFound):
        images.tag("nothing", "x")
    with pytest.raises(InvalidReference):
        images.tag("a", "UPPER")


def test_removing_a_name_and_the_last_name(images: ImageService) -> None:
    image_id = make(images, "a")
    images.tag("a", "b:2")
    assert images.remove("a") == [{"Untagged": "a:latest"}]
    layer = images.diff_ids(image_id)[0]
    assert images.remove("b:2") == [
        {"Untagged": "b:2"},
        {"Deleted": image_id},
        {"Deleted": layer},
    ]
    assert stored(images) == ([], [])
    with pytest.raises(NotFound, match="No such image: b:2"):
        images.remove("b:2")


def test_a_name_that_is_also_the_start_of_an_id(images: ImageService) -> None:
    """Docker takes it for the ID and removes all names."""
    image_id = make(images, "a")
    name = image_id[7:10]
    images.tag("a", name)
    assert images.remove(name) == [{"Untagged": f"{name}:latest"}]
    assert images.inspect("a")["RepoTags"] == ["a:latest"]


def test_removing_by_id(images: ImageService) -> None:
    image_id = make(images, "a")
    images.tag("a", "a:2")
    short = image_id[7:19]
    with pytest.raises(Conflict) as info:
        images.remove(short)
    assert str(info.value) == (
        f"conflict: unable to delete {short} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    actions = images.remove(short, force=True)
    assert actions[:3] == [{"Untagged": "a:2"}, {"Untagged": "a:latest"}, {"Deleted": image_id}]
    assert images.list() == []


def test_layers_that_others_use_stay(images: ImageService) -> None:
    parent = make(images, "base", "b")
    child = derive(images, parent, "child", "c")
    with pytest.raises(Conflict, match="cannot be forced.*dependent child images"):
        images.remove(parent, force=True)
    assert images.remove("base") == [{"Untagged": "base:latest"}]
    actions = images.remove("child")
    assert [next(iter(action)) for action in actions] == ["Untagged"] + ["Deleted"] * 4
    assert actions[1]["Deleted"] == child and actions[3]["Deleted"] == parent
    assert stored(images) == ([], [])


def test_parents_stay_without_prune(images: ImageService) -> None:
    parent = make(images, "base", "b")
    derive(images, parent, "child", "c")
    images.remove("base")
    images.remove("child", prune=False)
    assert [summary["Id"] for summary in images.list()] == [parent]


def test_an_image_in_use(images: ImageService) -> None:
    image_id = make(images, "a")
    short = image_id[7:19]
    box = container(images, image_id, "stopped")
    with pytest.raises(Conflict) as info:
        images.remove("a")
    assert str(info.value) == (
        'conflict: unable to remove repository reference "a" (must force) - '
        f"container {box[:12]} is using its referenced image {short}"
    )
    with pytest.raises(Conflict) as info:
        images.remove(short)
    assert str(info.value) == (
        f"conflict: unable to delete {short} (must be forced) - "
        f"image is being used by stopped container {box[:12]}"
    )
    container(images, image_id, "running", "running")
    with pytest.raises(Conflict, match="cannot be forced.*used by running container runn"):
        images.remove(short, force=True)
    assert images.remove("a", force=True) == [{"Untagged": "a:latest"}]
    assert images.resolve(image_id) == image_id


def test_a_forced_removal_leaves_the_container_its_files(images: ImageService) -> None:
    image_id = make(images, "a")
    container(images, image_id, "box")
    assert images.remove(image_id, force=True) == [{"Untagged": "a:latest"}, {"Deleted": image_id}]
    assert images.list(all=True) == []
    with pytest.raises(NotFound):
        images.resolve(image_id)
    with pytest.raises(NotFound):
        images.use(image_id)
    layer = images.diff_ids(image_id)[0]
    assert os.path.isdir(images.layers.path(layer))
    assert images.config(image_id)["rootfs"]["diff_ids"] == [layer]
    with images.store.transaction() as db:
        db.execute("DELETE FROM containers")
    images.collect()
    assert stored(images) == ([], [])
    with pytest.raises(NotFound):
        images.config(image_id)


def test_an_image_removed_by_force_can_come_back(
    images: ImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    image_id = make(images, "a")
    container(images, image_id, "box")
    images.remove(image_id, force=True)
    assert make(images, "a") == image_id == images.resolve("a")


def test_prune(images: ImageService) -> None:
    make(images, "tagged", "t", changes=["LABEL keep=1"])
    make(images, "used", "u")
    container(images, images.resolve("used"), "box")
    dangling = make(images, None, "dangling")
    actions, freed = images.prune()
    assert actions[0] == {"Deleted": dangling} and freed >= len("dangling")
    assert images.prune() == ([], 0)
    assert images.prune({"label!": ["keep"]}, all_unused=True) == ([], 0)
    actions, freed = images.prune(all_unused=True)
    assert actions[0] == {"Untagged": "tagged:latest"} and freed >= 1
    assert [summary["RepoTags"] for summary in images.list()] == [["used:latest"]]
    with pytest.raises(InvalidArgument, match="invalid filter"):
        images.prune({"before": ["x"]})


def test_the_last_use_is_recorded(images: ImageService) -> None:
    image_id = make(images, "a")
    before = images.inspect("a")["Metadata"]["LastUsedTime"]
    images.use(image_id)
    assert images.inspect("a")["Metadata"]["LastUsedTime"] > before


def test_inspect_has_dockers_members(images: ImageService) -> None:
    """In the order in which a real Docker 26.1 prints them."""
    make(images, "a", changes=["EXPOSE 80", "VOLUME /v", 'ENTRYPOINT ["e"]'])
    found = images.inspect("a")
    assert list(found) == [
        *("Id", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "DockerVersion"),
        *("Author", "Config", "Architecture", "Os", "Size", "GraphDriver", "RootFS", "Metadata"),
    ]
    assert list(found["Config"]) == [
        *("Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr"),
        *("ExposedPorts", "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Image", "Volumes"),
        *("WorkingDir", "Entrypoint", "OnBuild", "Labels"),
    ]
    json.dumps(found)
