"""The client of registries against Debian's docker-registry, and skopeo beside it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jubako.errors import (
    InvalidArgument,
    NotFound,
    Unauthorized,
    Unavailable,
)
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.oci.manifest import Manifest, parse
from jubako.registry import Client, Hosts
from jubako.registry.credentials import Login
from tests.fixtures.registry import Registry, make_certificates, run_registry
from tests.integration.registry_tools import (
    describe,
    open_client,
    push_image,
    read,
    repository_of,
)


@pytest.fixture
def client(registry: Registry) -> Iterator[Client]:
    with open_client() as found:
        yield found


def tar(**files: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- both ways ---------------------------------------------------------------------------------


def test_skopeo_reads_what_we_push(registry: Registry, client: Client, tmp_path: Path) -> None:
    repository = repository_of(client, f"{registry.host}/wire/ours")
    digest, (config, layer) = push_image(repository, "1", tar(hello=b"world"))
    name = f"docker://{registry.host}/wire/ours:1"
    assert json.loads(skopeo("inspect", "--tls-verify=false", name))["Digest"] == digest
    skopeo("copy", "--src-tls-verify=false", "--preserve-digests", name, f"oci:{tmp_path}/image:1")
    for blob in (config, layer):
        copied = tmp_path / "image" / "blobs" / "sha256" / blob.digest.encoded
        assert Digest.of(copied.read_bytes()) == blob.digest


def test_we_read_what_skopeo_pushes(registry: Registry, client: Client, tmp_path: Path) -> None:
    repository = repository_of(client, f"{registry.host}/wire/source")
    digest, _ = push_image(repository, "1", tar(hello=os.urandom(100_000)))
    source = f"docker://{registry.host}/wire/source:1"
    target = f"docker://{registry.host}/wire/theirs:v2s2"
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    skopeo("copy", *plain, "--format", "v2s2", source, target)
    theirs = repository_of(client, f"{registry.host}/wire/theirs")
    head, got = theirs.head_manifest("v2s2"), theirs.get_manifest("v2s2")
    assert head is not None
    assert (head.digest, head.size, head.media_type) == (
        Digest.of(got.data),
        len(got.data),
        media.DOCKER_MANIFEST,
    )
    manifest = parse(got.data, got.media_type, "x")
    assert isinstance(manifest, Manifest)
    for blob in (manifest.config, *manifest.layers):
        assert Digest.of(read(theirs, blob)) == blob.digest
    assert theirs.get_manifest(got.digest).data == got.data
    assert got.digest != digest


# --- what is not there -------------------------------------------------------------------------


def test_a_missing_manifest_is_missed_in_dockers_words(registry: Registry, client: Client) -> None:
    repository = repository_of(client, f"{registry.host}/wire/nothing")
    assert repository.head_manifest("1") is None
    name = f"{registry.host}/wire/nothing"
    for ref, text in (("1", f"{name}:1"), ("sha256:" + "0" * 64, f"{name}@sha256:" + "0" * 64)):
        with pytest.raises(NotFound) as caught:
            repository.get_manifest(ref)
        message = f"manifest for {text} not found: manifest unknown: manifest unknown"
        assert str(caught.value) == message


def test_a_missing_blob_and_a_missing_repository(registry: Registry, client: Client) -> None:
    repository = repository_of(client, f"{registry.host}/wire/nothing")
    assert repository.has_blob(Digest.of(b"nothing")) is None
    with pytest.raises(NotFound, match="blob sha256:.* of .*/wire/nothing not found"):
        repository.open_blob(describe(b"nothing"))
    with pytest.raises(NotFound, match="repository .*/wire/nothing not found: name unknown"):
        list(repository.tags())


def test_nobody_listens(client: Client) -> None:
    with pytest.raises(Unavailable) as caught:
        repository_of(client, "127.0.0.1:1/x").get_manifest("1")
    assert str(caught.value) == (
        'Get "https://127.0.0.1:1/v2/": dial tcp: connect: connection refused'
    )


def test_a_name_that_does_not_exist(client: Client) -> None:
    with pytest.raises(Unavailable, match="lookup reg.invalid: no such host"):
        repository_of(client, "reg.invalid/x").get_manifest("1")


# --- blobs -------------------------------------------------------------------------------------


def test_a_blob_from_an_offset_on(registry: Registry, client: Client) -> None:
    repository = repository_of(client, f"{registry.host}/wire/blobs")
    data = os.urandom(3 << 20)
    blob = describe(data)
    repository.upload(blob.digest, blob.size, lambda: iter([data]))
    assert repository.has_blob(blob.digest) == len(data)
    for offset in (0, 1, 1 << 20, len(data) - 1, len(data)):
        with repository.open_blob(blob, offset) as stream:
            assert stream.offset == offset
            assert b"".join(stream) == data[offset:]


@pytest.mark.parametrize("known", ["digest", "function", "nothing"])
@pytest.mark.parametrize("sized", [True, False])
def test_uploads(registry: Registry, client: Client, known: str, sized: bool) -> None:
    repository = repository_of(client, f"{registry.host}/wire/uploads")
    data = os.urandom(1_000_000)
    digest = Digest.of(data)
    ended: list[bool] = []

    def chunks() -> Iterator[bytes]:
        yield data[:300_000]
        yield b""  # an empty chunk would end the body of HTTP
        yield data[300_000:]
        ended.append(True)

    def late() -> Digest:
        assert ended
        return digest

    given: Digest | Callable[[], Digest] | None = None
    if known != "nothing":
        given = digest if known == "digest" else late
    assert repository.upload(given, len(data) if sized else None, chunks) == digest
    assert registry.blob_path(digest).read_bytes() == data


def test_an_upload_of_other_bytes_is_refused(registry: Registry, client: Client) -> None:
    repository = repository_of(client, f"{registry.host}/wire/wrong")
    with pytest.raises(InvalidArgument, match="push .*/wire/wrong: digest invalid: "):
        repository.upload(Digest.of(b"one thing"), 7, lambda: iter([b"another"]))


def test_what_the_caller_raises_ends_the_upload(registry: Registry, client: Client) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begin"
        raise OSError(5, "the disk has gone")  # urllib3 takes it for a fault of the connection

    repository = repository_of(client, f"{registry.host}/wire/uploads")
    with pytest.raises(OSError, match="the disk has gone"):
        repository.upload(None, None, broken)


def test_a_blob_is_mounted_or_not(registry: Registry, client: Client) -> None:
    data = os.urandom(1000)
    digest = Digest.of(data)
    repository_of(client, f"{registry.host}/wire/one").upload(digest, 1000, lambda: iter([data]))
    other = repository_of(client, f"{registry.host}/wire/two")
    assert not other.mount_blob(digest, "wire/nothing")
    uploads = registry.storage / "docker/registry/v2/repositories/wire/two/_uploads"
    assert not list(uploads.glob("*/data"))  # what the registry began instead was cancelled
    assert other.has_blob(digest) is None
    assert other.mount_blob(digest, "wire/one")
    assert other.has_blob(digest) == 1000


# --- manifests ---------------------------------------------------------------------------------


def test_tags_deleting_and_what_cannot_be_deleted(registry: Registry, client: Client) -> None:
    repository = repository_of(client, f"{registry.host}/wire/tags")
    digest, _ = push_image(repository, "one", b"")
    push_image(repository, "two", b"")
    assert sorted(repository.tags()) == ["one", "two"]
    repository.delete_manifest(digest)
    assert repository.head_manifest("one") is None
    with pytest.raises(NotFound):
        repository.delete_manifest(digest)


def test_a_manifest_without_its_blobs_is_refused(registry: Registry, client: Client) -> None:
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": describe(b"absent", media.OCI_CONFIG).to_json(),
        "layers": [],
    }
    repository = repository_of(client, f"{registry.host}/wire/incomplete")
    message = "push .*/wire/incomplete: manifest blob unknown: blob unknown to registry"
    with pytest.raises(InvalidArgument, match=message):
        repository.put_manifest("1", json.dumps(document).encode(), media.OCI_MANIFEST)


def test_referrers_by_the_tag_that_stands_for_them(registry: Registry, client: Client) -> None:
    """This registry is older than the list of referrers."""
    repository = repository_of(client, f"{registry.host}/wire/referrers")
    digest, _ = push_image(repository, "1", b"")
    assert repository.referrers(digest).manifests == ()
    # The registry wants the manifests of an index to be there, so this one refers to the image.
    entry = {"mediaType": media.OCI_MANIFEST, "digest": digest, "size": 1}
    entry["artifactType"] = "application/x.signature"
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry]}
    tag = str(digest).replace(":", "-")
    repository.put_manifest(tag, json.dumps(index).encode(), media.OCI_INDEX)
    assert [one.digest for one in repository.referrers(digest).manifests] == [digest]
    assert repository.referrers(digest, "application/x.sbom").manifests == ()


def test_the_catalog_serves_for_a_search(registry: Registry, client: Client) -> None:
    push_image(repository_of(client, f"{registry.host}/wire/findable"), "1", b"")
    found = client.search(registry.host, "FINDABLE")
    assert [result["name"] for result in found] == ["wire/findable"]
    assert client.search(registry.host, "no such thing") == []


# --- passwords ---------------------------------------------------------------------------------


def test_a_password_opens_and_its_lack_does_not(registry_auth: Registry) -> None:
    name = f"{registry_auth.host}/wire/private"
    login = Login(registry_auth.username, registry_auth.password)
    with open_client(registry_auth.host, login) as client:
        repository = repository_of(client, name)
        digest, (_, layer) = push_image(repository, "1", b"secret")
        assert read(repository, layer) == b"secret"
        client.check_login(registry_auth.host, login)
    for bad in (Login(), Login(registry_auth.username, "wrong pass")):
        with open_client(registry_auth.host, bad) as client:
            repository = repository_of(client, name)
            with pytest.raises(Unauthorized) as caught:
                repository.get_manifest("1")
            assert str(caught.value).startswith(
                f"pull access denied for {name}, repository does not exist or may require "
                "'docker login': unauthorized: authentication required"
            )
            assert caught.value.hint == f"log in with `jubako login {registry_auth.host}`"
            with pytest.raises(Unauthorized, match="unauthorized: authentication required"):
                repository.upload(digest, 1, lambda: iter([b"x"]))
            with pytest.raises(Unauthorized, match="pull access denied"):
                repository.open_blob(layer)
            if bad:
                with pytest.raises(Unauthorized) as caught:
                    client.check_login(registry_auth.host, bad)
                assert "wrong pass" not in str(caught.value)


# --- TLS ---------------------------------------------------------------------------------------


def test_an_authority_of_ones_own(registry_tls: Registry) -> None:
    assert registry_tls.certificates is not None
    hosts = Hosts(cert_directories=[str(registry_tls.certificates)])
    with open_client(hosts=hosts) as client:
        repository = repository_of(client, f"{registry_tls.host}/wire/tls")
        data = os.urandom(2 << 20)
        _, (_, layer) = push_image(repository, "1", data)
        assert read(repository, layer) == data


def test_loopback_needs_no_authority(registry_tls: Registry) -> None:
    with open_client(hosts=Hosts(cert_directories=[])) as client:
        assert repository_of(client, f"{registry_tls.host}/wire/x").head_manifest("1") is None


def test_another_authority_is_refused(registry_tls: Registry, tmp_path: Path) -> None:
    authority, _, _ = make_certificates(tmp_path)
    directory = tmp_path / "certs.d" / registry_tls.host
    directory.mkdir(parents=True)
    authority.rename(directory / "ca.crt")
    with open_client(hosts=Hosts(cert_directories=[str(directory.parent)])) as client:
        with pytest.raises(Unavailable) as caught:
            repository_of(client, f"{registry_tls.host}/wire/x").head_manifest("1")
    assert "x509: certificate signed by unknown authority" in str(caught.value)


# --- mirrors -----------------------------------------------------------------------------------


def test_a_mirror_passes_through(registry: Registry, client: Client, tmp_path: Path) -> None:
    """Docker Hub cannot be reached here: all comes from the mirror, which asks the registry."""
    data = os.urandom(100_000)
    source = repository_of(client, f"{registry.host}/library/passed")
    digest, (_, layer) = push_image(source, "1", data)
    with run_registry(tmp_path / "mirror", proxy_of=registry.url) as mirror:
        hosts = Hosts(mirrors={"docker.io": [f"http://{mirror.host}"]})
        with open_client(hosts=hosts) as through:
            repository = repository_of(through, "passed")
            head = repository.head_manifest("1")
            assert head is not None
            assert head.digest == repository.get_manifest("1").digest == digest
            assert read(repository, layer) == data


def test_what_no_mirror_has_comes_from_the_registry(
    registry: Registry, registry_auth: Registry, client: Client
) -> None:
    """One mirror is dead, one wants a password, one lacks the image."""
    name = f"{registry.host}/wire/origin"
    digest, (_, layer) = push_image(repository_of(client, name), "1", b"from the origin")
    empty = f"http://{registry.host}/empty"
    mirrors = ["http://127.0.0.1:1", f"http://{registry_auth.host}", empty]
    with open_client(hosts=Hosts(mirrors={registry.host: mirrors})) as through:
        repository = repository_of(through, name)
        assert repository.get_manifest("1").digest == digest
        assert read(repository, layer) == b"from the origin"
        assert repository.head_manifest("2") is None
