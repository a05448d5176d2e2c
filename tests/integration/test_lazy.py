"""Containers that start before their image is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako
from tests.integration import estargz
from tests.integration.estargz import entry
from tests.integration.lazy_tools import (
    BIG,
    MIB,
    SMALL,
    busybox_layer,
    is_complete,
    put,
    wait_until_complete,
)
from tests.integration.pull_tools import noise
from tests.integration.registry_images import Proxy, Repository, digest_of


@pytest.fixture
def layer() -> estargz.Layer:
    """busybox at the beginning, then much that a start does not need."""
    return busybox_layer()


def sha256sum(jubako: Jubako, *args: str) -> str:
    return "sha256:" + jubako.ok(*args).split()[0]


def test_a_container_runs_before_its_layer_is_here(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    layer: estargz.Layer,
) -> None:
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    command = ("run", "--lazy", "--rm", "--network", "none", name)
    assert sha256sum(jubako, *command, "sha256sum", "/etc/small") == digest_of(SMALL)
    assert not is_complete(engine, layer)
    assert slow_proxy.received < len(layer.blob) / 2
    [shown] = engine.images.list()
    assert shown["RepoTags"] == [f"{name}:latest"]
    # The next one needs no flag, and the registry for nothing that was read before.
    slow_proxy.stall_each = 0
    plain = ("run", "--rm", "--network", "none", name)
    assert sha256sum(jubako, *plain, "sha256sum", "/etc/link") == digest_of(SMALL)
    slow_proxy.resume()
    wait_until_complete(engine, layer)
    assert engine.images.list()[0]["Size"] == shown["Size"]


def test_a_read_fetches_the_part_that_it_needs(
    jubako: Jubako,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    layer: estargz.Layer,
    engine: Engine,
) -> None:
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    jubako.ok("run", "-d", "--lazy", "--name", "one", "--network", "none", name, "sleep", "1000")
    assert slow_proxy.stalled.wait(10)  # the rest comes no further
    assert jubako.ok("exec", "one", "ls", "-ln", "/etc/small").split()[2:5] == ["7", "8", "100000"]
    jubako.ok("exec", "one", "head", "-c", "1", "/bin/busybox")
    for command, part in (
        (("cat", "/etc/small"), SMALL),
        (("dd", "if=/big", "bs=65536", "skip=160", "count=1"), BIG[10 * MIB :][:65536]),
    ):
        before = slow_proxy.received
        out = jubako("exec", "one", "sh", "-c", f"{' '.join(command)} | sha256sum").stdout
        assert out.split()[0] == digest_of(part).partition(":")[2]
        assert (
            60_000 < slow_proxy.received - before < 600_000
        )  # a part, or two where the kernel reads on
    slow_proxy.resume()
    wait_until_complete(engine, layer)
    # The container goes on with what it has, others begin with the layer as pulls make it.
    assert sha256sum(jubako, "exec", "one", "sha256sum", "/big") == digest_of(BIG)
    jubako.ok("rm", "-f", "one")


def test_many_read_at_the_same_time(
    jubako: Jubako, lazy_repository: Repository, slow_proxy: Proxy, engine: Engine
) -> None:
    many = [(entry(f"many/{number}"), noise(9000, number)) for number in range(300)]
    layer = busybox_layer(more=many)
    put(lazy_repository, layer)
    script = (
        "i=0; while [ $i -lt 300 ]; do sha256sum /many/$i & i=$((i+1)); done; wait;"
        " cat /many/* | sha256sum"
    )
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    lines = jubako.ok("run", "--lazy", "--rm", "--network", "none", name, "sh", "-c", script)
    words = [line.split() for line in lines.splitlines()[:-1]]
    found = {path: digest for digest, path in words}
    assert found == {
        f"/{info.name}": digest_of(content).partition(":")[2] for info, content in many
    }
    assert not is_complete(engine, layer)
    slow_proxy.resume()
    wait_until_complete(engine, layer)


def test_at_the_end_it_is_as_after_a_normal_pull(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    layer: estargz.Layer,
    tmp_path: Path,
) -> None:
    put(lazy_repository, layer)
    jubako.ok("pull", "--lazy", lazy_repository.name)
    wait_until_complete(engine, layer)
    assert b"".join(engine.images.layers.archive(digest_of(layer.tar))) == layer.tar
    assert jubako.ok("image", "verify") == "Nothing is damaged."
    other = Engine(str(tmp_path / "other"))
    try:
        other.images.pull(lazy_repository.name)
        lazily, usually = engine.images.list(), other.images.list()
        for one in (*lazily, *usually):
            del one["Created"]
        assert lazily == usually
    finally:
        other.close()
        shutil.rmtree(other.store.run_dir)


def test_zstd_chunked(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    tmp_path: Path,
) -> None:
    """What skopeo makes of a plain layer."""
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    layer = busybox_layer()
    lazy_repository.put_image([layer.tar], "plain", how="plain")
    plain, chunked = f"oci:{tmp_path}/plain", f"oci:{tmp_path}/chunked"
    for options, source, target in (
        (["--src-tls-verify=false"], f"docker://{lazy_repository.name}:plain", plain),
        (["--dest-compress-format", "zstd:chunked"], plain, chunked),
    ):
        subprocess.run(["skopeo", "copy", *options, source, target], check=True)
    layout = tmp_path / "chunked"
    [entry_of_index] = json.loads((layout / "index.json").read_text())["manifests"]
    blobs = layout / "blobs/sha256"
    [made] = json.loads((blobs / entry_of_index["digest"][7:]).read_text())["layers"]
    blob = lazy_repository.put_blob(blobs / made["digest"][7:], made["mediaType"])
    # Debian 12's skopeo writes the names that the annotations had at first.
    blob["annotations"] = {
        key.replace("io.containers.", "io.github.containers."): value
        for key, value in made["annotations"].items()
    }
    lazy_repository.put_manifest([blob], [digest_of(layer.tar)], "latest")
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    command = ("run", "--lazy", "--rm", "--network", "none", name)
    assert sha256sum(jubako, *command, "sha256sum", "/etc/link") == digest_of(SMALL)
    assert not is_complete(engine, layer)
    arriving = tree_of(engine, name)
    slow_proxy.resume()
    wait_until_complete(engine, layer)
    assert tree_of(engine, name) == arriving


def test_what_shows_is_what_the_tar_has(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    layer: estargz.Layer,
) -> None:
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    jubako.ok("pull", "--lazy", name)
    assert slow_proxy.stalled.wait(10)
    arriving = tree_of(engine, name)
    assert not is_complete(engine, layer)
    slow_proxy.resume()
    wait_until_complete(engine, layer)
    assert tree_of(engine, name) == arriving


def tree_of(engine: Engine, name: str) -> dict[str, tuple[Any, ...]]:
    """What each name of an image is, with the content of all files but the large one."""
    images = engine.images
    view = images.layers.open_view(images.diff_ids(images.resolve(name)), why="look at it")
    found: dict[str, tuple[Any, ...]] = {}
    try:
        root = Path(f"/proc/self/fd/{view}")
        for path in root.rglob("*"):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and path.name != "big" else b""
            target = os.readlink(path) if path.is_symlink() else ""
            owner = (status.st_uid, status.st_gid, status.st_mode, status.st_nlink)
            times = (status.st_mtime_ns, status.st_size * path.is_file())
            found[str(path.relative_to(root))] = (*owner, *times, target, content)
        return found
    finally:
        os.close(view)


def test_what_has_to_wait_until_it_is_here(
    engine: Engine,
    jubako: Jubako,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    layer: estargz.Layer,
    tmp_path: Path,
) -> None:
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    jubako.ok("pull", "--lazy", name)
    for command in (
        ("rmi", name),
        ("rmi", "-f", name),
        ("save", "-o", str(tmp_path / "file"), name),
        ("push", name),
        ("image", "verify", name),
    ):
        refused = jubako(*command)
        assert refused.status == 1 and "still arriving" in refused.stderr, command
    assert "still arriving" not in jubako.ok("pull", "--lazy", name)
    # A pull without the flag waits.
    waiting = jubako.start("pull", name)
    time.sleep(0.5)
    assert waiting.poll() is None
    slow_proxy.resume()
    assert waiting.wait(30) == 0
    assert is_complete(engine, layer)
    wait_until_complete(engine, layer)
    jubako.ok("rmi", name)


def test_what_works_meanwhile(
    jubako: Jubako,
    engine: Engine,
    lazy_repository: Repository,
    slow_proxy: Proxy,
    layer: estargz.Layer,
    tmp_path: Path,
) -> None:
    put(lazy_repository, layer)
    name = f"{slow_proxy.host}/{lazy_repository.path}"
    slow_proxy.stall_each = 20 * MIB  # slow enough is what follows
    slow_proxy.stall_after = 3 * MIB
    start = ("run", "-d", "--lazy", "--name", "one", "--network", "none", name)
    jubako.ok(*start, "sh", "-c", "echo mine >> /etc/empty; sleep 1000")
    assert slow_proxy.stalled.wait(10)
    assert not is_complete(engine, layer)
    assert jubako.ok("image", "inspect", "--format", "{{.Architecture}}", name) == "amd64"
    assert jubako.ok("history", name)
    assert jubako.ok("image", "verify") == "Nothing is damaged."
    assert jubako.ok("diff", "one").splitlines() == ["C /etc", "C /etc/empty"]
    refused = jubako("commit", "one", "made")
    assert "still arriving" in refused.stderr
    exporting = jubako.start("export", "-o", str(tmp_path / "tar"), "one")
    copying = jubako.start("cp", "one:/etc/small", str(tmp_path / "small"))
    slow_proxy.resume()
    assert copying.wait(30) == 0 and exporting.wait(30) == 0
    assert (tmp_path / "small").read_bytes() == SMALL
    with tarfile.open(tmp_path / "tar") as archive:
        for path, content in (("big", BIG), ("etc/small", SMALL), ("etc/empty", b"mine\n")):
            file = archive.extractfile(path)
            assert file is not None and file.read() == content
    wait_until_complete(engine, layer)
    # The next start has the same files, from the layer that is complete.
    jubako.ok("restart", "-t", "0", "one")
    assert sha256sum(jubako, "exec", "one", "sha256sum", "/big") == digest_of(BIG)
    assert jubako.ok("exec", "one", "cat", "/etc/empty").splitlines()[0] == "mine"
    assert jubako.ok("commit", "one", "made")
    jubako.ok("rm", "-f", "one")
