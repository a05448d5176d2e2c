"""What nothing refers to is freed, what something uses never, and the setting `blobs` is obeyed."""

from __future__ import annotations

import fcntl
import io
import json
import os
import time
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import Conflict, NotFound
from jubako.images import records
from jubako.oci.digest import Digest
from jubako.oci.reference import parse
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import Repository, compressed, digest_of

pytestmark = pytest.mark.root
OFF = {"NetworkMode": "none"}


def tar(seed: int) -> bytes:
    return layer_of({f"file-{seed}": noise(30_000, seed), f"text-{seed}": b"word " * 20_000})


def configure(root: Path, **values: str) -> None:
    (root / "config.json").write_text(json.dumps(values))


def left(root: Path) -> list[str]:
    """What images still have on disk: names of layers, blobs, downloads, temporary files."""
    found = []
    for top in ("layers", "content"):
        for directory, _, names in os.walk(root / top):
            below = os.path.relpath(directory, root).split("/")
            if top == "layers" and len(below) == 2 and below[1] != ".ingest":
                found.append("/".join(below))
            elif top == "content" or ".ingest" in below:
                found += [f"{'/'.join(below)}/{name}" for name in names]
    return [name for name in found if not name.startswith("layers/.ingest/empty")]


@pytest.fixture
def remote(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    return Repository(registry, f"garbage/{name}")


# --- the setting `blobs` --------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["keep", "drop", "rebuild"])
@pytest.mark.parametrize("how", ["gzip", "zstd", "plain"])
def test_which_blobs_are_kept(
    engine: Engine, root_dir: Path, remote: Repository, policy: str, how: str
) -> None:
    configure(root_dir, blobs=policy)
    blob, _ = compressed(tar(1), how)
    digest = Digest(digest_of(blob))
    manifest = remote.put_image([tar(1)], "1", how=how)
    engine.images.pull(f"{remote.name}:1")
    kept = engine.images.content.exists(digest)
    assert kept == (policy == "keep" and how != "plain")
    if policy == "drop" and how != "plain":
        assert not engine.images.blobs.available(digest)
        with pytest.raises(NotFound):
            engine.images.blobs.open(digest)
        return
    assert engine.images.blobs.available(digest)
    assert b"".join(engine.images.blobs.open(digest)) == blob
    # so that a push sends what was pulled
    other = Repository(remote.registry, f"{remote.path}-pushed")
    engine.images.tag(f"{remote.name}:1", f"{other.name}:1")
    [pushed] = engine.images.push(f"{other.name}:1")
    assert pushed.digest == manifest["digest"]


def test_what_nobody_can_make_again_is_kept(
    engine: Engine, root_dir: Path, remote: Repository
) -> None:
    configure(root_dir, blobs="rebuild")
    data, kind = compressed(tar(1), "gzip")
    other, _ = compressed(b"", "gzip")
    blob = data + other  # two members: no recipe has that
    layer = remote.put_blob(blob, kind)
    remote.put_manifest([layer], [digest_of(tar(1))], "1")
    engine.images.pull(f"{remote.name}:1")
    assert engine.images.content.exists(Digest(digest_of(blob)))


@pytest.mark.parametrize(("after", "goes"), [("drop", True), ("rebuild", False), ("keep", False)])
def test_a_prune_obeys_a_setting_that_was_changed(
    root_dir: Path, remote: Repository, jubako: Jubako, after: str, goes: bool
) -> None:
    remote.put_image([tar(1)], "1")
    jubako.ok("pull", "-q", f"{remote.name}:1")
    blob, _ = compressed(tar(1), "gzip")
    path = root_dir / "content" / digest_of(blob).replace(":", "/")
    assert path.exists()
    configure(root_dir, blobs=after)
    said = jubako.ok("image", "prune", "-f")
    assert path.exists() != goes
    assert said == f"Total reclaimed space: {'0B' if not goes else human(len(blob))}"
    assert jubako.ok("image", "verify") == "Nothing is damaged."


def human(size: int) -> str:
    from jubako.cli.units import human_size

    return human_size(size)


# --- what goes, and when --------------------------------------------------------------------------


def test_rmi_leaves_nothing(
    engine: Engine, root_dir: Path, remote: Repository, storage_driver: str
) -> None:
    remote.put_image([tar(1), tar(2)], "1")
    remote.put_image([tar(1), tar(3)], "2")
    engine.images.pull(remote.name, all_tags=True)
    both = left(root_dir)
    engine.images.remove(f"{remote.name}:2")
    one = left(root_dir)
    assert set(one) < set(both)
    assert engine.images.verify() == []
    engine.images.remove(f"{remote.name}:1")
    assert left(root_dir) == []
    db = engine.images.store.db
    for table in ("images", "image_layers", "layers", "tags", "manifests", "blobs", "blob_sources"):
        assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def test_what_a_container_uses_stays_until_it_is_gone(
    engine: Engine, root_dir: Path, busybox: str
) -> None:
    made = engine.containers.create({"Image": busybox, "Cmd": ["true"]}, OFF)["Id"]
    with pytest.raises(Conflict):
        engine.images.remove(busybox)
    engine.images.remove(busybox, force=True)
    engine.images.prune(all_unused=True)
    assert left(root_dir) != []
    assert engine.images.verify() == []
    engine.containers.remove(made)
    assert left(root_dir) == []


def test_what_is_removed_beside_an_import_goes_at_its_end(
    engine: Engine, jubako: Jubako, root_dir: Path, tmp_path: Path
) -> None:
    """The import may be about to use any layer that it saw: nothing is deleted before it ends."""
    engine.images.import_tar(io.BytesIO(tar(1)), "old:1")
    before = left(root_dir)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = jubako.start("import", str(fifo), "new:1")
    with open(fifo, "wb") as out:
        out.write(tar(2)[:40_000])
        out.flush()
        deadline = time.monotonic() + 20
        while not any(".ingest" in name for name in left(root_dir)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        engine.images.remove("old:1")
        assert set(before) <= set(left(root_dir))
        out.write(tar(2)[40_000:])
    assert process.wait(30) == 0
    assert not set(before) & set(left(root_dir))
    assert not any(".ingest" in name for name in left(root_dir))
    assert engine.images.verify() == []


def test_interrupted_downloads(engine: Engine, jubako: Jubako, root_dir: Path) -> None:
    directory = root_dir / "content" / ".partial"
    directory.mkdir(parents=True)
    files = {name: directory / f"sha256-{name * 64}" for name in "abc"}
    for file in files.values():
        file.write_bytes(b"x" * 1000)
    week = time.time() - 8 * 24 * 3600
    for name in "ac":
        os.utime(files[name], (week, week))
    with files["c"].open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        engine.images.import_tar(io.BytesIO(tar(1)), "old:1")
        engine.images.remove("old:1")
        assert [name for name in "abc" if files[name].exists()] == ["b", "c"]
        jubako.ok("image", "prune", "-f")
        assert [name for name in "abc" if files[name].exists()] == ["c"]
    jubako.ok("image", "prune", "-f")
    assert not list(directory.iterdir())


def test_pulls_beside_prunes(engine: Engine, jubako: Jubako, remote: Repository) -> None:
    """Whatever is pruned when, a pull that ended well has left an image that is whole."""
    shared = [tar(1), tar(2)]
    for tag in range(3):
        remote.put_image([*shared, tar(10 + tag)], str(tag))
    for _ in range(4):
        pulls = [jubako.start("pull", "-q", f"{remote.name}:{tag}") for tag in range(3)]
        while any(process.poll() is None for process in pulls):
            engine.images.prune(all_unused=True)
            time.sleep(0.02)  # the database's lock goes to whoever asks, not to whoever waits
        for process in pulls:
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
        assert engine.images.verify() == []
    engine.images.prune(all_unused=True)
    assert left(Path(engine.images.store.path)) == []


# --- names ----------------------------------------------------------------------------------------

ONE, TWO = "localhost:5000/g/one", "localhost:5000/g/two"
AT = "@sha256:" + "6" * 64
BOTH = (f"{ONE}:1", f"{ONE}:2", f"{ONE}{AT}", f"{TWO}:1", f"{TWO}{AT}")
# What Docker 26.1.5 untags: names that there are, what is removed, what goes, whether the image too
UNTAGGED = [
    pytest.param(BOTH, [f"{ONE}:1"], [f"{ONE}:1"], False, id="a tag"),
    pytest.param(BOTH[1:], [f"{ONE}:2"], [f"{ONE}:2", ONE + AT], False, id="the last tag"),
    pytest.param(BOTH[3:], [f"{TWO}{AT}"], [f"{TWO}{AT}"], False, id="a digest"),
    pytest.param(
        (f"{ONE}{AT}", *BOTH[3:]), [f"{TWO}:1"], list(BOTH[3:]), False, id="another's digest"
    ),
    pytest.param((f"{ONE}{AT}",), [f"{ONE}{AT}"], [f"{ONE}{AT}"], True, id="the last digest"),
    pytest.param((f"{ONE}:1", f"{ONE}{AT}"), ["ID"], [f"{ONE}:1", ONE + AT], True, id="by ID"),
    pytest.param(BOTH, ["ID"], None, False, id="by ID, several"),
    pytest.param(BOTH[:2], ["ID"], None, False, id="by ID, two tags"),
    pytest.param(BOTH, ["-f", "ID"], list(BOTH), True, id="by ID, forced"),
]


@pytest.mark.parametrize(("names", "arguments", "untagged", "deleted"), UNTAGGED)
def test_digest_names_go_as_with_docker(
    engine: Engine,
    jubako: Jubako,
    names: tuple[str, ...],
    arguments: list[str],
    untagged: list[str] | None,
    deleted: bool,
) -> None:
    image_id = engine.images.import_tar(io.BytesIO(tar(1)))
    with engine.images.store.transaction() as db:
        for name in names:
            records.set_tag(db, parse(name), image_id)
    result = jubako("rmi", *[image_id if word == "ID" else word for word in arguments])
    if untagged is None:
        short = image_id.partition(":")[2][:12]
        assert result.status == 1
        assert (
            f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple"
            " repositories" in result.stderr
        )
        return
    lines = [f"Untagged: {name}" for name in untagged]
    if deleted:
        lines += [f"Deleted: {image_id}", f"Deleted: {digest_of(tar(1))}"]
    assert (result.status, result.stdout.splitlines()) == (0, lines)
