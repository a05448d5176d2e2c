"""`image verify` finds whatever is damaged, and repairs it from what else is there."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako import Engine
from jubako.images.tar import Entry
from jubako.images.verifying.verification import Finding
from tests.fixtures.engine import Jubako
from tests.fixtures.registry import Registry
from tests.integration.image_tools import archive, hard, link, seen
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import Repository, digest_of

pytestmark = pytest.mark.root
OFF = {"NetworkMode": "none"}
FILE, CONTENT = "etc/file", noise(50_000)
LAYER = archive(
    (b"etc/", b""),
    (Entry(b"etc/file", mode=0o644, size=len(CONTENT), mtime_ns=10**18), CONTENT),
    (b"etc/empty", b""),
    link(b"etc/link", b"file"),
    hard(b"etc/hard", b"etc/file"),
    (b"etc/.wh.gone", b""),
    (b"opaque/", b""),
    (b"opaque/.wh..wh..opq", b""),
)


@pytest.fixture
def remote(registry: Registry, request: pytest.FixtureRequest) -> Repository:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    return Repository(registry, f"verify/{name}")


@pytest.fixture
def pulled(engine: Engine, remote: Repository, storage_driver: str) -> str:
    """The name of an image of one layer, whose blob is kept."""
    remote.put_image([LAYER], "1")
    name = f"{remote.name}:1"
    engine.images.pull(name)
    return name


def directory(engine: Engine, tar: bytes = LAYER) -> Path:
    return Path(engine.images.layers.path(digest_of(tar)))


def damage(path: Path, at: int = 40_000) -> None:
    """Change a byte, as a bad disk does: no time changes."""
    status = path.stat()
    os.chmod(path, 0o600)
    with path.open("r+b") as file:
        file.seek(min(at, status.st_size - 1))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte[0] ^ 0xFF,)))
    os.chmod(path, status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_overlay(layer: Path) -> bool:
    return (layer / "diff").exists()


def hurt_content(layer: Path) -> None:
    damage(layer / "diff" / FILE if is_overlay(layer) else layer / "tar")


def hurt_form(layer: Path) -> None:
    """What is beside the content: without it the tar cannot be made again, or not be shown."""
    damage(layer / "split" if is_overlay(layer) else layer / "index", 1300)


def remove(layer: Path) -> None:
    shutil.rmtree(layer)


def shorten(layer: Path) -> None:
    path = layer / "diff" / FILE if is_overlay(layer) else layer / "tar"
    os.truncate(path, 100)


def of_kind(findings: list[Finding], kind: str) -> Finding:
    [found] = findings
    assert found.kind == kind, (found.kind, found.problem)
    return found


def test_nothing_is_wrong(engine: Engine, pulled: str, jubako: Jubako) -> None:
    assert engine.images.verify() == engine.images.verify([pulled]) == []
    assert jubako.ok("image", "verify") == "Nothing is damaged."
    assert jubako.ok("image", "verify", "-q") == jubako.ok("image", "verify", pulled, "-q") == ""
    assert jubako("image", "verify", "nothing").status == 1


@pytest.mark.parametrize("hurt", [hurt_content, hurt_form, remove, shorten])
def test_a_layer_is_made_again_of_its_blob(
    engine: Engine, pulled: str, hurt: Callable[[Path], None]
) -> None:
    layer = directory(engine)
    hurt(layer)
    found = of_kind(engine.images.verify(), "layer")
    assert (found.subject, found.images, found.repaired) == (digest_of(LAYER), (pulled,), False)
    assert found.remedy == "`jubako image verify --repair` makes it good"
    found = of_kind(engine.images.verify([pulled], repair=True), "layer")
    assert found.repaired and "made again of" in found.remedy
    assert engine.images.verify() == []
    with seen(engine.images.layers, digest_of(LAYER)) as top:
        assert (top / FILE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda tree: os.chmod(tree / FILE, 0o4755), id="mode"),
        pytest.param(lambda tree: os.chown(tree / "etc/empty", 7, 8), id="owner"),
        pytest.param(lambda tree: os.utime(tree / FILE, (1, 1)), id="time"),
        pytest.param(lambda tree: (tree / "etc/empty").unlink(), id="missing"),
        pytest.param(lambda tree: (tree / "opaque/new").touch(), id="new"),
        pytest.param(lambda tree: os.truncate(tree / "etc/empty", 5), id="size"),
        pytest.param(lambda tree: relink(tree / "etc/link", "elsewhere"), id="target"),
        pytest.param(lambda tree: relink(tree / "etc/empty", "file"), id="type"),
        pytest.param(lambda tree: os.setxattr(tree / FILE, "user.x", b"1"), id="attribute"),
        pytest.param(lambda tree: os.removexattr(tree / "opaque", OPAQUE), id="opaque"),
        pytest.param(lambda tree: (tree / "etc/gone").unlink(), id="whiteout"),
        pytest.param(lambda tree: (tree.parent / "opaque").touch(), id="mark"),
    ],
)
def test_a_tree_is_made_again_of_its_own_tar(
    engine: Engine, root_dir: Path, change: Callable[[Path], object]
) -> None:
    """Nothing of this is in the content of files; there is no blob."""
    (root_dir / "config.json").write_text('{"storage-driver": "overlay"}')
    engine.images.import_tar(io.BytesIO(LAYER), "made:1")
    tree = directory(engine) / "diff"
    change(tree)
    found = of_kind(engine.images.verify(repair=True), "layer")
    assert found.remedy == "made again of its own tar"
    assert engine.images.verify() == []


OPAQUE = "trusted.overlay.opaque"


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def test_layers_of_all_sorts_are_right(engine: Engine, debian: str, storage_driver: str) -> None:
    assert engine.images.verify() == []


def test_a_running_container_keeps_what_it_has_mounted(
    engine: Engine,
    jubako: Jubako,
    root_dir: Path,
    busybox_tar: Path,
    remote: Repository,
    storage_driver: str,
) -> None:
    tar = busybox_tar.read_bytes()
    remote.put_image([tar], "1")
    engine.images.pull(f"{remote.name}:1")
    command = ["/bin/sleep", "1000"]
    old = engine.containers.run_detached(f"{remote.name}:1", command, host_config=OFF)
    layer = directory(engine, tar)
    damage(layer / "diff/etc/group" if is_overlay(layer) else layer / "tar", 600)
    [found] = engine.images.verify(repair=True)
    assert found.repaired
    assert engine.images.verify() == []
    # it goes on, with files that it had not opened before
    assert jubako.ok("exec", old, "/bin/cat", "/etc/passwd").startswith("root:")
    run = engine.containers.run(f"{remote.name}:1", ["cat", "/etc/group"], host_config=OFF)
    assert run.startswith(b"root:")
    engine.images.prune(all_unused=True)
    kept = [path for path in (root_dir / "layers").iterdir() if ".replaced-" in path.name]
    assert len(kept) == 1
    assert "etc" in jubako.ok("exec", old, "/bin/ls", "/").split()
    engine.containers.remove(old, force=True)
    engine.images.prune()
    assert not kept[0].exists()


@pytest.mark.parametrize(
    "point", ["images.layer.extracted", "images.verify.exchanged", "images.verify.replaced"]
)
def test_a_repair_that_is_killed(engine: Engine, pulled: str, jubako: Jubako, point: str) -> None:
    hurt_content(directory(engine))
    env = {"JUBAKO_FAULT": point}
    assert jubako("image", "verify", "--repair", env=env).status == -9
    jubako.ok("image", "verify", "--repair")
    assert engine.images.verify() == []
    assert engine.images.layers.exists(digest_of(LAYER))


def test_what_is_lost_is_fetched_again(
    engine: Engine, jubako: Jubako, root_dir: Path, remote: Repository
) -> None:
    (root_dir / "config.json").write_text('{"blobs": "drop"}')
    remote.put_image([LAYER, layer_of({"other": b"x"})], "1")
    name = f"{remote.name}:1"
    engine.images.pull(name)
    hurt_content(directory(engine))
    remedy = f"`jubako pull {name}` fetches it again"
    assert of_kind(engine.images.verify(), "layer").remedy == remedy
    result = jubako("image", "verify", "--repair")
    assert result.status == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"layer {digest_of(LAYER)} of {name}"
    assert lines[2:] == [f"  {remedy}"]
    assert jubako("image", "verify", "-q").stdout == f"{digest_of(LAYER)}\n"
    jubako.ok("pull", name)
    assert jubako.ok("image", "verify") == "Nothing is damaged."


def test_a_layer_of_no_registry_comes_back_with_an_import(engine: Engine) -> None:
    engine.images.import_tar(io.BytesIO(LAYER), "made:1")
    hurt_content(directory(engine))
    found = of_kind(engine.images.verify(repair=True), "layer")
    assert found.remedy == "it is lost here: load, import or build the image again"
    engine.images.import_tar(io.BytesIO(LAYER), "made:2")
    assert engine.images.verify() == []


@pytest.mark.parametrize("hurt", [damage, Path.unlink])
def test_configs(engine: Engine, pulled: str, hurt: Callable[[Path], object]) -> None:
    image_id = engine.images.resolve(pulled)
    hurt(content(engine, image_id))
    found = of_kind(engine.images.verify(repair=True), "config")
    assert found.remedy == "written again from the database"
    with engine.images.store.transaction() as db:
        db.execute("UPDATE images SET config = replace(config, 'amd64', 'arm64')")
    found = of_kind(engine.images.verify(repair=True), "config")
    assert found.remedy == "read again from its blob"
    assert engine.images.verify() == []


def content(engine: Engine, digest: str) -> Path:
    from jubako.oci.digest import Digest

    return Path(engine.images.content.path(Digest(digest)))


def test_the_list_of_layers(engine: Engine, pulled: str) -> None:
    with engine.images.store.transaction() as db:
        db.execute("UPDATE image_layers SET position = 5")
        db.execute("INSERT INTO image_layers SELECT image_id, 1, diff_id FROM image_layers")
    found = of_kind(engine.images.verify(repair=True), "layer list")
    assert found.repaired
    assert engine.images.verify() == []


@pytest.mark.parametrize("hurt", [damage, Path.unlink])
def test_manifests(
    engine: Engine, pulled: str, jubako: Jubako, hurt: Callable[[Path], object]
) -> None:
    [(digest,)] = engine.images.store.db.execute("SELECT digest FROM manifests").fetchall()
    hurt(content(engine, digest))
    found = of_kind(engine.images.verify(repair=True), "manifest")
    assert found.remedy == f"`jubako pull {pulled}` fetches it again"
    jubako.ok("pull", "-q", pulled)
    assert engine.images.verify() == []


def test_blobs(engine: Engine, pulled: str, remote: Repository) -> None:
    [(digest,)] = engine.images.store.db.execute("SELECT digest FROM blobs").fetchall()
    blob = content(engine, digest).read_bytes()
    damage(content(engine, digest))
    found = of_kind(engine.images.verify(repair=True), "blob")
    assert found.remedy == "deleted: a push compresses the layer anew"
    assert not content(engine, digest).exists()
    assert engine.images.verify() == []
    # one whose recipe is known
    from jubako.images.content import recipes

    recipe = recipes.gzip("zlib", 6, header=blob[:10])
    content(engine, digest).write_bytes(blob[:-1])
    with engine.images.store.transaction() as db:
        db.execute("UPDATE blobs SET recipe = ?", (recipe,))
    found = of_kind(engine.images.verify(repair=True), "blob")
    assert found.remedy == "made again of the layer"
    assert content(engine, digest).read_bytes() == blob


def test_what_belongs_to_nothing_is_no_damage(
    engine: Engine, pulled: str, jubako: Jubako, root_dir: Path
) -> None:
    layer = root_dir / "layers" / ("a" * 64)
    layer.mkdir()
    blob = root_dir / "content/sha256" / ("b" * 64)
    blob.write_bytes(b"x")
    rows = jubako.ok("image", "verify", "--format", "json").splitlines()
    assert [(row["Kind"], row["Subject"], row["State"]) for row in map(json.loads, rows)] == [
        ("orphan", str(layer), "unused"),
        ("orphan", f"sha256:{'b' * 64}", "unused"),
    ]
    assert jubako.ok("image", "verify", pulled) == "Nothing is damaged."
    jubako.ok("image", "verify", "--repair")
    assert not layer.exists() and not blob.exists()


def test_damage_to_both(engine: Engine, pulled: str) -> None:
    """A damaged blob repairs nothing."""
    [(digest,)] = engine.images.store.db.execute("SELECT digest FROM blobs").fetchall()
    hurt_content(directory(engine))
    damage(content(engine, digest))
    findings = {finding.kind: finding for finding in engine.images.verify(repair=True)}
    assert set(findings) == {"layer", "blob"}
    assert not findings["layer"].repaired
    engine.images.pull(pulled)
    assert engine.images.verify() == []
