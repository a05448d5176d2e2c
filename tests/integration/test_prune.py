"""`image prune` by last use, by name, keeping the newest, and only showing what would go."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument
from jubako.images.times import format_ns
from tests.fixtures.engine import Jubako
from tests.integration.pull_tools import layer_of

pytestmark = pytest.mark.root
HOUR_NS = 3600 * 10**9
OFF = {"NetworkMode": "none"}


def make(engine: Engine, *names: str, made_h: int = 0, used_h: int = 0, label: str = "") -> str:
    """An image of its own layer, made and last used so many hours ago; its ID."""
    content = repr(names).encode()
    changes = [f"LABEL {label}"] if label else []
    image_id = engine.images.import_tar(
        io.BytesIO(layer_of({"file": content * 100})), changes=changes
    )
    for name in names:
        engine.images.tag(image_id, name)
    now = time.time_ns()
    with engine.images.store.transaction() as db:
        db.execute(
            "UPDATE images SET created = ?, last_used_ns = ? WHERE id = ?",
            (format_ns(now - made_h * HOUR_NS), now - used_h * HOUR_NS, image_id),
        )
    return image_id


def names(engine: Engine) -> list[str]:
    found = [tag for image in engine.images.list(all=True) for tag in image["RepoTags"] or [""]]
    return sorted(found)


@pytest.fixture
def images(engine: Engine) -> Engine:
    """Nightly builds, a release, another repository, and one without a name."""
    for age in (1, 2, 3, 4):
        make(engine, f"app:nightly-{age}", made_h=24 * age, used_h=24 * age)
    make(engine, "app:release", "reg.example/app:release", made_h=1000, used_h=1)
    make(engine, "base:1", made_h=500, used_h=400, label="keep=yes")
    make(engine, made_h=50, used_h=50)
    return engine


ALL = [
    *("", "app:nightly-1", "app:nightly-2", "app:nightly-3", "app:nightly-4", "app:release"),
    *("base:1", "reg.example/app:release"),
]
CASES = [
    pytest.param([], [""], id="dangling"),
    pytest.param(["-a"], ALL, id="all"),
    pytest.param(["--filter", "unused-for=60h"], [], id="dangling unused"),
    pytest.param(
        ["-a", "--filter", "unused-for=60h"],
        ["app:nightly-3", "app:nightly-4", "base:1"],
        id="unused",
    ),
    pytest.param(
        ["--filter", "reference=app:nightly-*"],
        [f"app:nightly-{age}" for age in (1, 2, 3, 4)],
        id="reference",
    ),
    pytest.param(
        ["--filter", "reference=app:nightly-*", "--filter", "unused-for=60h"],
        ["app:nightly-3", "app:nightly-4"],
        id="reference and unused",
    ),
    pytest.param(["--filter", "reference=app"], ALL[1:6], id="a repository"),
    pytest.param(["--filter", "reference=*/app:release"], [ALL[-1]], id="one of two names"),
    pytest.param(["--keep", "1"], ["", *ALL[2:6]], id="keep one of each"),
    pytest.param(["--keep", "0"], ALL, id="keep none"),
    pytest.param(
        ["--keep", "2", "--filter", "reference=app:nightly-*"],
        ["app:nightly-3", "app:nightly-4"],
        id="keep two nightly",
    ),
    pytest.param(
        ["--keep", "1", "--filter", "unused-for=80h"], ["app:nightly-4"], id="keep and unused"
    ),
    pytest.param(
        ["-a", "--filter", "until=200h", "--filter", "label!=keep=yes"],
        ["app:release", "reg.example/app:release"],
        id="until and label",
    ),
    pytest.param(["-a", "--filter", "dangling=true"], [""], id="dangling said"),
]


@pytest.mark.parametrize(("arguments", "gone"), CASES)
def test_what_goes(images: Engine, jubako: Jubako, arguments: list[str], gone: list[str]) -> None:
    assert names(images) == ALL
    would = jubako.ok("image", "prune", "--dry-run", *arguments)
    assert names(images) == ALL
    done = jubako.ok("image", "prune", "-f", *arguments)
    assert names(images) == sorted(set(ALL) - set(gone))
    same = would.replace("Images That Would Be Deleted", "Deleted Images")
    assert same.replace("reclaimable", "reclaimed") == done
    untagged = [line[10:] for line in done.splitlines() if line.startswith("untagged: ")]
    assert sorted(untagged) == sorted(name for name in gone if name)
    assert images.images.verify() == []


def test_two_tags_of_one_image_are_one(engine: Engine) -> None:
    make(engine, "app:1", "app:latest", made_h=1)
    make(engine, "app:2", made_h=2)
    make(engine, "app:3", made_h=3)
    engine.images.prune(keep=2)
    assert names(engine) == ["app:1", "app:2", "app:latest"]


def test_equally_old_images_go_by_when_they_got_their_names(engine: Engine) -> None:
    """Reproducible builds all have one date."""
    for tag in ("first", "second", "third"):
        image_id = make(engine, f"app:{tag}")
        with engine.images.store.transaction() as db:
            db.execute("UPDATE images SET created = '' WHERE id = ?", (image_id,))
    engine.images.prune(keep=1)
    assert names(engine) == ["app:third"]


def test_a_container_is_a_use_until_it_is_removed(engine: Engine, busybox: str) -> None:
    made = engine.containers.create({"Image": busybox, "Cmd": ["true"]}, OFF)["Id"]
    db = engine.images.store.db
    long_ago = time.time_ns() - 500 * HOUR_NS
    with engine.images.store.transaction():
        db.execute("UPDATE images SET last_used_ns = ?", (long_ago,))
    filters = {"unused-for": ["240h"]}
    assert engine.images.prune(filters, all_unused=True) == ([], 0)  # it is in use
    engine.containers.remove(made)
    assert engine.images.prune(filters, all_unused=True) == ([], 0)  # it was until now
    with engine.images.store.transaction():
        db.execute("UPDATE images SET last_used_ns = ?", (long_ago,))
    removed, freed = engine.images.prune(filters, all_unused=True)
    assert removed[0] == {"Untagged": busybox}
    assert freed > 1_000_000


def test_bad_filters(engine: Engine, jubako: Jubako) -> None:
    for filters in ({"nonsense": ["x"]}, {"reference": ["[a"]}, {"unused-for": ["yesterday"]}):
        with pytest.raises(InvalidArgument):
            engine.images.prune(filters)
    with pytest.raises(InvalidArgument):
        engine.images.prune(keep=-1)
    assert jubako("image", "prune", "-f", "--keep", "-1").status == 125


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        ([], "This will remove all dangling images."),
        (["-a"], "This will remove all images without at least one container associated to them."),
        (["--filter", "unused-for=1h"], "This will remove all dangling images."),
        (
            ["--filter", "reference=x"],
            "This will remove all images without at least one container associated to them.",
        ),
        (
            ["--keep", "3"],
            "This will remove all images without at least one container associated to them, except"
            " for the 3 newest of each repository.",
        ),
    ],
)
def test_the_question(images: Engine, jubako: Jubako, arguments: list[str], warning: str) -> None:
    said = jubako.ok("image", "prune", *arguments, stdin="n\n")
    assert said == f"WARNING! {warning}\nAre you sure you want to continue? [y/N] "
    assert names(images) == ALL


def test_system_prune_passes_the_filters_on(images: Engine, jubako: Jubako) -> None:
    jubako.ok("system", "prune", "-af", "--filter", "unused-for=60h")
    assert set(ALL) - set(names(images)) == {"app:nightly-3", "app:nightly-4", "base:1"}
    said = jubako.ok("system", "prune", "--filter", "reference=app:nightly-*", stdin="n\n")
    assert "  - all images without at least one container associated to them\n" in said
    jubako.ok("system", "prune", "-f", "--filter", "reference=app:nightly-*")
    assert names(images) == ["", "app:release", "reg.example/app:release"]


def test_a_dry_run_needs_no_place_to_write(images: Engine, jubako: Jubako, root_dir: Path) -> None:
    """Nothing is left of it: no row, no event, no file."""
    events = images.images.store.db.execute("SELECT count(*) FROM events").fetchone()[0]
    before = sorted(str(path) for path in root_dir.rglob("*"))
    jubako.ok("image", "prune", "-a", "--dry-run")
    assert sorted(str(path) for path in root_dir.rglob("*")) == before
    assert images.images.store.db.execute("SELECT count(*) FROM events").fetchone()[0] == events
