"""`manifest`: lists as Docker's client makes them, pushed to a real registry and read back."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import Conflict, IntegrityError, InvalidArgument, InvalidReference, NotFound
from jubako.oci import media
from tests.fixtures import registry_faults as faults
from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's `~/.docker`, where lists wait."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker"


@pytest.fixture
def pushed(engine: Engine, registry: Registry, busybox_tar: Path, tmp_path: Path) -> str:
    """A repository of the registry, with an image `amd64` and an image `arm`."""
    name = f"{registry.host}/{tmp_path.name.lower().strip('_')}/app"
    for tag, platform in (("amd64", "linux/amd64"), ("arm", "linux/arm/v6")):
        with busybox_tar.open("rb") as stream:
            engine.images.import_tar(stream, f"{name}:{tag}", platform=platform)
        engine.images.push(f"{name}:{tag}")
    return name


def file_names(docker_config: Path) -> dict[str, list[str]]:
    lists = docker_config / "manifests"
    return {one: sorted(os.listdir(lists / one)) for one in os.listdir(lists)}


def test_a_list_from_begin_to_end(
    jubako: Jubako, registry: Registry, pushed: str, docker_config: Path
) -> None:
    created = jubako("manifest", "create", f"{pushed}:1", f"{pushed}:amd64", f"{pushed}:arm")
    assert created == (0, f"Created manifest list {pushed}:1\n", "")
    safe = pushed.replace(":", "-").replace("/", "_")
    assert file_names(docker_config) == {f"{safe}-1": [f"{safe}-amd64", f"{safe}-arm"]}
    shown = json.loads(jubako.ok("manifest", "inspect", f"{pushed}:1"))
    assert shown["mediaType"] == media.DOCKER_INDEX
    assert [one["platform"] for one in shown["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v6"},
    ]
    annotate = ["--variant", "v7", "--os-version", "1.2", "--os-features", "a,b"]
    assert jubako("manifest", "annotate", *annotate, f"{pushed}:1", f"{pushed}:arm") == (0, "", "")
    text = jubako.ok("manifest", "inspect", f"{pushed}:1")
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert jubako("manifest", "push", f"{pushed}:1") == (0, f"{digest}\n", "")
    assert registry.blob_path(digest).read_text() == text, "what was shown is what is there"
    assert jubako("manifest", "push", "--purge", f"{pushed}:1").status == 0
    assert file_names(docker_config) == {}
    # now it comes from the registry
    assert jubako.ok("manifest", "inspect", f"{pushed}:1") == text
    verbose = json.loads(jubako.ok("manifest", "inspect", "-v", f"{pushed}:1"))
    assert [one["Ref"] for one in verbose] == [
        f"{pushed}:1@{one['digest']}" for one in json.loads(text)["manifests"]
    ]
    assert verbose[1]["Descriptor"]["platform"] == {
        "architecture": "arm",
        "os": "linux",
        "os.version": "1.2",
        "os.features": ["a", "b"],
        "variant": "v7",
    }
    assert jubako("manifest", "push", f"{pushed}:1") == (
        1, "", f"jubako: No such manifest: {pushed}:1\n",
    )  # fmt: skip


def test_manifests_of_other_repositories_come_along(
    engine: Engine, registry: Registry, pushed: str
) -> None:
    target = f"{registry.host}/{pushed.partition('/')[2]}-elsewhere"
    listed = [f"{pushed}:amd64", f"{pushed}:arm"]
    engine.registries.manifest_create(f"{target}:1", listed)
    done = engine.registries.manifest_push(f"{target}:1", purge=True)
    assert [reference for reference, _ in done.copied] == [
        f"{target}@{digest}" for _, digest in done.copied
    ]
    assert len(done.copied) == 2
    engine.images.pull(f"{target}:1", platform="linux/arm/v6")
    # once more: nothing is to be copied, and nothing changes
    engine.registries.manifest_create(f"{target}:1", listed)
    assert engine.registries.manifest_push(f"{target}:1").digest == done.digest


def test_what_a_registry_does_not_mount_is_sent(engine: Engine, bad_registry: BadRegistry) -> None:
    image = bad_registry.add_image("app", [bytes(5000)])
    bad_registry.on("HEAD .*/other/blobs/", faults.respond(404), times=2)
    bad_registry.on("POST .*/other/blobs/uploads/.*mount=", faults.respond(404))
    engine.registries.manifest_create(f"{bad_registry.host}/other", [f"{bad_registry.host}/app"])
    done = engine.registries.manifest_push(f"{bad_registry.host}/other")
    assert done.copied == [(f"{bad_registry.host}/other@{image.digest}", image.digest)]
    assert len(bad_registry.lines("(PUT|PATCH) /v2/other/blobs/")) >= 2
    assert ("other", "latest") in bad_registry.manifests


def test_only_amend_changes_a_list(engine: Engine, pushed: str, docker_config: Path) -> None:
    service = engine.registries
    service.manifest_create(f"{pushed}:1", [f"{pushed}:amd64"])
    with pytest.raises(Conflict, match="no --amend flag"):
        service.manifest_create(f"{pushed}:1", [f"{pushed}:arm"])
    service.manifest_create(f"{pushed}:1", [f"{pushed}:arm"], amend=True)
    assert len(service.manifest_inspect(f"{pushed}:1")["manifests"]) == 2
    # what was said of an entry stays, although it is named again
    service.manifest_annotate(f"{pushed}:1", f"{pushed}:arm", variant="v5")
    service.manifest_create(f"{pushed}:1", [f"{pushed}:arm"], amend=True)
    shown = service.manifest_inspect(f"{pushed}:arm", f"{pushed}:1", verbose=True)
    assert shown["Descriptor"]["platform"]["variant"] == "v5"


def test_a_list_that_fails_is_not_begun(engine: Engine, pushed: str, docker_config: Path) -> None:
    with pytest.raises(NotFound, match=f"no such manifest: {pushed}:nosuch"):
        engine.registries.manifest_create(f"{pushed}:1", [f"{pushed}:amd64", f"{pushed}:nosuch"])
    assert not (docker_config / "manifests").exists()


def test_what_is_refused(engine: Engine, pushed: str) -> None:
    service = engine.registries
    service.manifest_create(f"{pushed}:1", [f"{pushed}:arm"])
    service.manifest_push(f"{pushed}:1")
    with pytest.raises(InvalidArgument, match=f"^{pushed}:1 is a manifest list$"):
        service.manifest_create(f"{pushed}:2", [f"{pushed}:1"])
    with pytest.raises(InvalidReference, match="^error parsing name for manifest list UPPER"):
        service.manifest_create("UPPER", [f"{pushed}:1"])
    with pytest.raises(InvalidArgument, match="unsupported os/arch combination: linux/vax"):
        service.manifest_annotate(f"{pushed}:1", f"{pushed}:arm", architecture="vax")
    with pytest.raises(InvalidArgument, match="not a word of a platform"):
        service.manifest_annotate(f"{pushed}:1", f"{pushed}:arm", variant="v 7\n")
    with pytest.raises(NotFound, match=f"{pushed}:amd64 does not exist in {pushed}:1"):
        service.manifest_annotate(f"{pushed}:1", f"{pushed}:amd64", variant="v7")
    with pytest.raises(NotFound, match=f"^No such manifest: {pushed}:amd64"):
        service.manifest_inspect(f"{pushed}:amd64", f"{pushed}:1")
    service.manifest_create("docker-hub/app", [f"{pushed}:arm"])
    with pytest.raises(InvalidArgument, match="cannot use source images from a different registry"):
        service.manifest_push("docker-hub/app")
    service.manifest_remove("docker-hub/app")
    with pytest.raises(NotFound, match="^No such manifest: docker.io/docker-hub/app:latest"):
        service.manifest_remove("docker-hub/app")


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda entry: b"{", InvalidArgument, "not valid JSON"),
        (lambda entry: b"[]", InvalidArgument, "lacks Ref, Descriptor or Raw"),
        (lambda entry: {**entry, "Raw": "%"}, InvalidArgument, "lacks Ref, Descriptor or Raw"),
        (lambda entry: {**entry, "Raw": "e30="}, InvalidArgument, "config"),
        (lambda entry: {**entry, "Ref": "UPPER"}, InvalidArgument, "must be lowercase"),
        (lambda entry: {**entry, "Descriptor": 1}, InvalidArgument, "not a descriptor"),
        (
            lambda entry: {**entry, "Descriptor": entry["Descriptor"] | {"size": 1}},
            IntegrityError,
            "expected 1 bytes",
        ),
        (
            lambda entry: {
                **entry,
                "Descriptor": entry["Descriptor"] | {"digest": "sha256:" + "0" * 64},
            },
            IntegrityError,
            "expected sha256:0000",
        ),
    ],
)
def test_damaged_lists_are_named(
    engine: Engine,
    bad_registry: BadRegistry,
    docker_config: Path,
    change: Any,
    kind: type[Exception],
    words: str,
) -> None:
    bad_registry.add_image("app", [bytes(512)])
    name = f"{bad_registry.host}/app"
    engine.registries.manifest_create(f"{name}:1", [name])
    (path,) = (docker_config / "manifests").rglob("*-latest")
    changed = change(json.loads(path.read_text()))
    path.write_bytes(changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    for use in (engine.registries.manifest_inspect, engine.registries.manifest_push):
        with pytest.raises(kind, match=words):
            use(f"{name}:1")


def test_an_index_of_liars(engine: Engine, bad_registry: BadRegistry) -> None:
    """What an index promises is compared with what comes, before any of it is shown."""
    image = bad_registry.add_image("app", [bytes(512)])
    entry = {"mediaType": media.OCI_MANIFEST, "digest": image.digest, "size": 7}
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry]}
    bad_registry.add_manifest("app", index, "small")
    with pytest.raises(IntegrityError, match="expected 7 bytes"):
        engine.registries.manifest_inspect(f"{bad_registry.host}/app:small", verbose=True)
    bad_registry.add_manifest("app", {**index, "manifests": [entry] * 300}, "many")
    with pytest.raises(InvalidArgument, match="an index of 300 manifests"):
        engine.registries.manifest_inspect(f"{bad_registry.host}/app:many", verbose=True)
    assert (
        len(engine.registries.manifest_inspect(f"{bad_registry.host}/app:many")["manifests"]) == 300
    )


def test_an_artifact_has_no_platform(engine: Engine, bad_registry: BadRegistry) -> None:
    config = bad_registry.describe("application/vnd.oci.empty.v1+json", b"{}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "config": config,
        "layers": [config],
    }
    bad_registry.add_manifest("chart", manifest)
    shown = engine.registries.manifest_inspect(f"{bad_registry.host}/chart", verbose=True)
    assert "platform" not in shown["Descriptor"]
    assert shown["OCIManifest"]["artifactType"] == "application/vnd.example"
    engine.registries.manifest_create(f"{bad_registry.host}/list", [f"{bad_registry.host}/chart"])
    with pytest.raises(InvalidArgument, match="must have an OS and Architecture"):
        engine.registries.manifest_push(f"{bad_registry.host}/list")
