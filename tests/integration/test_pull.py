"""Pulling what registries have: each format, each kind of name, and what is here already."""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import partial
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument, NotFound, Unsupported
from jubako.images.progress import Event
from jubako.oci import media
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import Repository, digest_of, requests_in

AMD64 = {"architecture": "amd64", "os": "linux"}
ARM64 = {"architecture": "arm64", "os": "linux", "variant": "v8"}


@pytest.fixture
def repository(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    """One of the test's own."""
    name = request.node.name.lower()
    return Repository(
        registry, "pull/" + "".join(c if c.isalnum() else "-" for c in name).strip("-")
    )


def files_of(engine: Engine, reference: str) -> dict[str, bytes]:
    """The regular files of an image, as a container sees them."""
    view = engine.images.layers.open_view(diff_ids_of(engine, reference), why="look at the files")
    found: dict[str, bytes] = {}
    try:
        root = Path(f"/proc/self/fd/{view}")
        for directory, _, names in os.walk(root):
            for name in names:
                file = Path(directory) / name
                found[str(file.relative_to(root))] = file.read_bytes()
    finally:
        os.close(view)
    return found


def diff_ids_of(engine: Engine, reference: str) -> list[str]:
    return engine.images.diff_ids(engine.images.resolve(reference))


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("how", ["gzip", "zstd", "plain"])
def test_formats(
    engine: Engine, repository: Repository, how: str, docker: bool, storage_driver: str
) -> None:
    if docker and how == "zstd":
        pytest.skip("Docker's schema 2 has no zstd")
    tars = [layer_of({"one": b"1" * 100_000}), layer_of({"two": noise(200_000), "one": b"new"})]
    put = repository.put_image(tars, "latest", how=how, docker=docker)
    [pulled] = engine.images.pull(repository.name)
    assert (pulled.digest, pulled.status) == (put["digest"], "Downloaded newer image")
    assert diff_ids_of(engine, repository.name) == [digest_of(tar) for tar in tars]
    for tar in tars:
        assert b"".join(map(bytes, engine.images.layers.archive(digest_of(tar)))) == tar
    inspected = engine.images.inspect(repository.name)
    assert inspected["RepoTags"] == [f"{repository.name}:latest"]
    assert inspected["RepoDigests"] == [f"{repository.name}@{put['digest']}"]
    manifest = engine.images.content.read(pulled.digest, 1 << 20)
    assert json.loads(manifest)["layers"]  # byte for byte what came: `read` checks the digest


@pytest.mark.parametrize("format", ["docker", "oci", "zstd"])
def test_what_skopeo_pushes(
    engine: Engine,
    jubako: Jubako,
    repository: Repository,
    busybox: str,
    tmp_path: Path,
    format: str,
) -> None:
    archive = tmp_path / "busybox.tar"
    with archive.open("wb") as out:
        engine.images.save([busybox], out)
    options = {
        "docker": ["--format", "v2s2"],
        "oci": ["--format", "oci"],
        "zstd": ["--format", "oci", "--dest-compress-format", "zstd"],
    }
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options[format]]
        + [f"docker-archive:{archive}", f"docker://{repository.name}:1"],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    engine.images.remove(busybox)
    engine.images.pull(f"{repository.name}:1")
    printed = jubako.ok(
        "run", "--rm", "--network", "none", f"{repository.name}:1", "echo", "it", "runs"
    )
    assert printed == "it runs"


def test_an_index(engine: Engine, repository: Repository) -> None:
    amd64 = repository.put_image([layer_of({"which": b"amd64"})])
    config = {"architecture": "arm64", "variant": "v8"}
    arm64 = repository.put_image([layer_of({"which": b"arm64"})], config=config)
    attestation = repository.put_image([layer_of({"which": b"unknown"})])
    unknown = {"architecture": "unknown", "os": "unknown"}
    index = repository.put_index([(attestation, unknown), (arm64, ARM64), (amd64, AMD64)], "multi")
    name = f"{repository.name}:multi"
    [pulled] = engine.images.pull(name, platform="linux/amd64")
    assert pulled.digest == index["digest"]
    assert files_of(engine, name) == {"which": b"amd64"}
    [other] = engine.images.pull(name, platform="linux/arm64")
    assert other.status == "Downloaded newer image"
    assert other.digest == index["digest"]
    assert files_of(engine, name) == {"which": b"arm64"}
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list"):
        engine.images.pull(name, platform="linux/s390x")
    assert files_of(engine, name) == {"which": b"arm64"}


def test_an_image_for_another_platform_than_asked_for(
    engine: Engine, repository: Repository
) -> None:
    repository.put_image([layer_of({"a": b"1"})], "latest")
    events: list[Event] = []
    with pytest.raises(NotFound) as caught:
        engine.images.pull(repository.name, platform="linux/arm64", progress=events.append)
    assert str(caught.value) == (
        f"image with reference {repository.name}:latest was found but does not match the specified "
        "platform: wanted linux/arm64, actual: linux/amd64"
    )
    assert events[-1].status == f"Status: Downloaded newer image for {repository.name}:latest"
    assert files_of(engine, repository.name) == {"a": b"1"}
    # the refusal is no matter of what is new
    with pytest.raises(NotFound, match="wanted linux/arm64, actual: linux/amd64"):
        engine.images.pull(repository.name, platform="linux/arm64")
    engine.images.pull(repository.name, platform="linux/amd64")


def test_all_tags_for_another_platform(engine: Engine, repository: Repository) -> None:
    for tag, architecture in (("a", "arm64"), ("b", "amd64"), ("c", "arm64")):
        config = {"architecture": architecture}
        repository.put_image([layer_of({tag: b""})], tag, config=config)
    with pytest.raises(NotFound, match=f"reference {repository.name}:b was found but"):
        engine.images.pull(repository.name, platform="linux/arm64", all_tags=True)
    assert files_of(engine, f"{repository.name}:c") == {"c": b""}


def test_the_index_is_right_where_the_config_is_not(engine: Engine, repository: Repository) -> None:
    arm64 = repository.put_image([layer_of({"which": b"arm64"})])  # its config says amd64
    amd64 = repository.put_image([layer_of({"which": b"amd64"})])
    repository.put_index([(arm64, ARM64), (amd64, AMD64)], "multi")
    name = f"{repository.name}:multi"
    [pulled] = engine.images.pull(name, platform="linux/arm64")
    engine.images.tag(name, "arm:1")
    engine.images.pull(name, platform="linux/amd64")
    # the index that both came by speaks for both
    create = partial(engine.containers.create, {"Image": "arm:1"}, {})
    made = create(platform="linux/arm64")["Id"]
    assert engine.containers.inspect(made)["Image"] == pulled.image_id
    with pytest.raises(NotFound, match="wanted linux/s390x, actual: linux/amd64"):
        create(platform="linux/s390x")


def test_by_digest(engine: Engine, repository: Repository, registry: Registry) -> None:
    put = repository.put_image([layer_of({"a": b"1"})], "v1")
    name = f"{repository.name}@{put['digest']}"
    [pulled] = engine.images.pull(name)
    assert pulled.status == "Downloaded newer image"
    inspected = engine.images.inspect(name)
    assert (inspected["RepoTags"], inspected["RepoDigests"]) == ([], [name])
    [again] = engine.images.pull(name)
    assert again.status == "Image is up to date"
    # A digest makes the tag irrelevant.
    engine.images.pull(f"{repository.name}:whatever@{put['digest']}")
    assert engine.images.inspect(name)["RepoTags"] == []
    with pytest.raises(NotFound, match="not found"):
        engine.images.pull(f"{repository.name}@{digest_of(b'nothing')}")


def test_all_tags_share_their_layers(
    engine: Engine, repository: Repository, registry: Registry
) -> None:
    base = layer_of({"base": noise(100_000)})
    for tag in ("a", "b", "c"):
        repository.put_image([base, layer_of({"tag": tag.encode()})], tag)
    pulled = engine.images.pull(repository.name, all_tags=True)
    assert sorted(str(one.reference.tag) for one in pulled) == ["a", "b", "c"]
    for tag in ("a", "b", "c"):
        assert files_of(engine, f"{repository.name}:{tag}")["tag"] == tag.encode()
    blobs = requests_in(registry.log, f"GET /v2/{repository.path}/blobs/")
    assert len(blobs) == len(set(blobs)) == 3 + 3 + 1  # configs, layers of their own, the base
    with pytest.raises(InvalidArgument, match="tag can't be used with --all-tags/-a"):
        engine.images.pull(f"{repository.name}:a", all_tags=True)


def test_what_is_here_is_not_fetched(
    engine: Engine, repository: Repository, registry: Registry
) -> None:
    shared, other = layer_of({"shared": noise(50_000)}), layer_of({"other": b"x"})
    repository.put_image([shared], "first", how="gzip")
    repository.put_image([shared, other], "second", how="zstd")  # the same layer as another blob
    engine.images.pull(f"{repository.name}:first")
    events: list[Event] = []
    engine.images.pull(f"{repository.name}:second", progress=events.append)
    layers = [event.status for event in events if len(event.id) == 12 and event.current is None]
    assert layers[:2] == ["Already exists", "Pulling fs layer"]
    manifests = f"(GET|HEAD) /v2/{repository.path}/(manifests|blobs)/"
    before = requests_in(registry.log, manifests)
    [again] = engine.images.pull(f"{repository.name}:second")
    assert again.status == "Image is up to date"
    new = requests_in(registry.log, manifests)[len(before) :]
    assert new == [f"HEAD /v2/{repository.path}/manifests/second"]


def test_a_tag_that_moves(engine: Engine, repository: Repository) -> None:
    repository.put_image([layer_of({"version": b"1"})], "latest")
    [first] = engine.images.pull(repository.name)
    repository.put_image([layer_of({"version": b"2"})], "latest")
    [second] = engine.images.pull(repository.name)
    assert second.status == "Downloaded newer image"
    assert files_of(engine, repository.name) == {"version": b"2"}
    [old] = [one for one in engine.images.list() if one["Id"] == first.image_id]
    assert old["RepoTags"] in ([], None) or old["RepoTags"] == ["<none>:<none>"]
    engine.images.prune()
    assert [one["Id"] for one in engine.images.list()] == [second.image_id]


def test_an_image_with_the_same_layer_twice(engine: Engine, repository: Repository) -> None:
    tar = layer_of({"a": b"1"})
    repository.put_image([tar, layer_of({"b": b"2"}), tar], "latest")
    engine.images.pull(repository.name)
    assert files_of(engine, repository.name) == {"a": b"1", "b": b"2"}


def test_artifacts_are_refused_in_words(engine: Engine, repository: Repository) -> None:
    kind = "application/vnd.cncf.helm.config.v1+json"
    chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    repository.put_document(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": repository.put_blob(b"{}", kind),
            "layers": [repository.put_blob(b"chart", chart)],
        },
        "chart",
    )
    with pytest.raises(Unsupported, match=f"unsupported media type {re.escape(kind)}: an artifact"):
        engine.images.pull(f"{repository.name}:chart")
    assert engine.images.list(all=True) == []


def test_missing_and_malformed(engine: Engine, repository: Repository) -> None:
    with pytest.raises(NotFound, match=f"manifest for {repository.name}:no not found"):
        engine.images.pull(f"{repository.name}:no")
    repository.put_image(
        [layer_of({"a": b"1"})], "short", config={"rootfs": {"type": "layers", "diff_ids": []}}
    )
    with pytest.raises(InvalidArgument, match="layers length mismatch: expected 0, got 1"):
        engine.images.pull(f"{repository.name}:short")


def test_the_event(engine: Engine, repository: Repository) -> None:
    config = {"config": {"Labels": {"of": "mine"}}}
    repository.put_image([layer_of({"a": b"1"})], "1", config=config)
    engine.images.pull(f"{repository.name}:1")
    query = "SELECT action, actor, attributes FROM events WHERE action = 'pull'"
    [row] = engine.store.db.execute(query).fetchall()
    assert row["actor"] == f"{repository.name}:1"
    assert json.loads(row["attributes"]) == {"name": repository.name, "of": "mine"}


def test_the_words_of_the_progress(engine: Engine, repository: Repository) -> None:
    tar = layer_of({"a": noise(3 << 20)})
    put = repository.put_image([tar], "1")
    events: list[Event] = []
    engine.images.pull(f"{repository.name}:1", progress=events.append)
    [layer] = {event.id for event in events} - {"", "1"}
    assert (events[0].id, events[0].status) == ("1", f"Pulling from {repository.path}")
    steps = [event.status for event in events if event.id == layer and event.current is None]
    assert steps == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    counts = [event for event in events if event.status == "Downloading"]
    assert counts and all(0 <= (one.current or 0) <= (one.total or 0) for one in counts)
    assert [event.status for event in events[-2:]] == [
        f"Digest: {put['digest']}",
        f"Status: Downloaded newer image for {repository.name}:1",
    ]


def test_the_plan(engine: Engine, repository: Repository) -> None:
    here, missing = layer_of({"a": noise(10_000)}), layer_of({"b": noise(20_000, 1)})
    repository.put_image([here], "old")
    repository.put_image([here, missing, missing], "new")
    engine.images.pull(f"{repository.name}:old")
    plan = engine.images.plan_pull(f"{repository.name}:new")
    assert plan.is_new
    sizes = [layer.size_bytes for layer in plan.layers]
    assert [layer.fetch_bytes for layer in plan.layers] == [0, sizes[1], 0]
    assert plan.here_bytes == sizes[0] + sizes[2]
    engine.images.pull(f"{repository.name}:new")
    plan = engine.images.plan_pull(f"{repository.name}:new")
    assert (plan.fetch_bytes, plan.is_new) == (0, False)
