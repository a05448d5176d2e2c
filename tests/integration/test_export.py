"""`export` reads layers where they lie: what it tells is what a mount of them shows."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import IntegrityError
from jubako.images import ImageService
from jubako.images.layers.tree import TreeTar
from jubako.images.tar import CHARACTER, DIRECTORY, FIFO, REGULAR, SYMLINK, Entry
from jubako.store import Store
from tests.integration.image_tools import archive, hard, link
from tests.integration.pull_tools import noise
from tests.integration.push_tools import make_image

pytestmark = pytest.mark.root


def directory(name: bytes, mode: int = 0o755, **attributes: bytes) -> Entry:
    found = Entry(name, DIRECTORY, mode=mode, mtime_ns=10**18)
    found.xattrs = {key.replace("_", ".", 1).encode(): value for key, value in attributes.items()}
    return found


def file(
    name: bytes, content: bytes, mode: int = 0o644, **attributes: bytes
) -> tuple[Entry, bytes]:
    found = Entry(name, REGULAR, mode=mode, uid=7, gid=8, size=len(content), mtime_ns=10**18 + 5)
    found.xattrs = {key.replace("_", ".", 1).encode(): value for key, value in attributes.items()}
    return found, content


def special(name: bytes, kind: bytes, major: int = 0, minor: int = 0) -> Entry:
    return Entry(name, kind, mode=0o600, major=major, minor=minor)


def sparse(name: bytes) -> tuple[Entry, bytes]:
    found = Entry(name, REGULAR, size=8 << 20)
    found.segments = [(1 << 20, 5000), (6 << 20, 512)]
    found.payload_bytes = 5512
    return found, noise(5512)


LOWEST = archive(
    directory(b"./", 0o711),
    directory(b"./a/", user_of=b"a"),
    file(b"./a/one", b"1" * 3000, 0o4755, security_capability=b"\1\0\0\2" + bytes(16)),
    file(b"./a/two", b""),
    hard(b"./a/same", b"./a/one"),
    hard(b"./b-same", b"./a/one"),
    link(b"./a/link", b"one"),
    link(b"./a/long", b"x" * 300),
    special(b"./a/fifo", FIFO),
    special(b"./a/null", CHARACTER, 1, 3),
    special(b"./a/large", CHARACTER, 4000, 70_000),
    directory(b"./gone/"),
    file(b"./gone/x", b"x"),
    directory(b"./emptied/"),
    file(b"./emptied/x", b"x"),
    directory(b"./becomes-a-file/"),
    file(b"./becomes-a-file/x", b"x"),
    file(b"./becomes-a-directory", b"x"),
    directory(b"./" + b"d" * 120 + b"/"),
    file(b"./" + b"d" * 120 + b"/" + b"f" * 200, b"long names"),
    file("./ümlaut-\udcff".encode(errors="surrogateescape"), b"not UTF-8"),
    sparse(b"./sparse"),
)
MIDDLE = archive(
    file(b"a/.wh.two", b""),
    file(b".wh.gone", b""),
    directory(b"emptied/"),
    file(b"emptied/.wh..wh..opq", b""),
    file(b"emptied/new", b"new"),
    file(b"becomes-a-file", b"a file"),
    directory(b"becomes-a-directory/"),
    file(b"becomes-a-directory/x", b"below"),
    file(b"a/one", b"other content of a name that had others"),
    directory(b"b/", 0o700),
)
HIGHEST = archive(
    directory(b"a/", 0o750, user_of=b"the highest"),
    file(b"emptied/newer", noise(2 << 20)),
    file(b".wh.b-same", b""),
    directory(b"gone/"),
    file(b"gone/back", b"again"),
)
LAYERS = (LOWEST, MIDDLE, HIGHEST)


def service(root: Path, driver: str) -> ImageService:
    root.mkdir(exist_ok=True)
    (root / "config.json").write_text(json.dumps({"storage-driver": driver}))
    return ImageService(Store(str(root)))


@pytest.fixture(params=["erofs", "overlay", "both"])
def images(request: pytest.FixtureRequest, root_dir: Path) -> Iterator[ImageService]:
    """With an image `stack:1` of three layers, made by one driver or by both."""
    if request.param == "both":
        first = service(root_dir, "erofs")
        make_image(first, "base:1", LOWEST)
        first.store.close()
    made = service(root_dir, "overlay" if request.param == "both" else request.param)
    make_image(made, "stack:1", *LAYERS)
    drivers = {made.layers.driver_of(diff_id) for diff_id in made.diff_ids(made.resolve("stack:1"))}
    assert drivers == ({"erofs", "overlay"} if request.param == "both" else {request.param})
    yield made
    made.store.close()


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """A container's writable directory: new, changed, gone and linked files, an opaque one."""
    path = tmp_path / "upper"
    (path / "a").mkdir(parents=True)
    (path / "a" / "mine").write_bytes(b"of the container")
    os.link(path / "a" / "mine", path / "linked")
    os.mknod(path / "a" / "link", stat.S_IFCHR, 0)
    os.mkfifo(path / "pipe")
    (path / "emptied").mkdir()
    os.setxattr(path / "emptied", "trusted.overlay.opaque", b"y")
    (path / "emptied" / "last").write_bytes(b"1")
    with open(path / "holes", "wb") as out:
        out.truncate(5 << 20)
        out.seek(4 << 20)
        out.write(b"data")
    return path


def told(images: ImageService, upper: Path | None) -> bytes:
    diff_ids = images.diff_ids(images.resolve("stack:1"))
    with images.layers.stack_tar(diff_ids, None if upper is None else str(upper)) as tar:
        return b"".join(map(bytes, tar))


def shown(images: ImageService, upper: Path | None) -> bytes:
    diff_ids = images.diff_ids(images.resolve("stack:1"))
    top = None if upper is None else str(upper)
    view = images.layers.open_view(diff_ids, top=top, why="test")
    try:
        with TreeTar(view) as tar:
            return b"".join(map(bytes, tar))
    finally:
        os.close(view)


def describe(data: bytes) -> dict[str, dict[str, object]]:
    """Everything that the archive says of each name; of a hard link, what it says of the file."""
    found: dict[str, dict[str, object]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            if entry.islnk():
                found[entry.name] = {**found[entry.linkname], "linked": True}
                found[entry.linkname]["linked"] = True
                continue
            stream = tar.extractfile(entry) if entry.isfile() else None
            found[entry.name] = {
                "type": REGULAR if entry.isfile() else entry.type,
                "owner": (entry.uid, entry.gid),
                "mode": entry.mode,
                "mtime": entry.mtime,
                "link": entry.linkname,
                "device": (entry.devmajor, entry.devminor),
                "xattrs": {k: v for k, v in entry.pax_headers.items() if k.startswith("SCHILY")},
                "content": b"" if stream is None else stream.read(),
            }
    return found


@pytest.mark.parametrize("with_upper", [False, True])
def test_it_is_what_the_mount_shows(images: ImageService, upper: Path, with_upper: bool) -> None:
    top = upper if with_upper else None
    ours, mounted = describe(told(images, top)), describe(shown(images, top))
    assert list(ours) == list(mounted)
    for name, found in mounted.items():
        assert ours[name] == found, name


def test_what_shows(images: ImageService, upper: Path) -> None:
    """The rules of layers once more in words, so that the two may not be wrong together."""
    found = describe(told(images, upper))
    content: dict[str, Any] = {name: item["content"] for name, item in found.items()}
    assert content["a/one"].startswith(b"other content")
    assert content["a/same"] == b"1" * 3000
    assert content["becomes-a-directory/x"] == b"below"
    assert content["becomes-a-file"] == b"a file"
    assert content["linked"] == b"of the container" and found["linked"]["linked"]
    assert sorted(name for name in found if name.startswith(("gone", "emptied"))) == [
        "emptied",
        "emptied/last",
        "gone",
        "gone/back",
    ]
    assert not {"a/two", "b-same", "a/link"} & set(found)
    assert found["a"]["mode"] == 0o755  # the writable directory's, which is above the layers
    assert found["a/large"]["device"] == (4000, 70_000)
    assert len(content["sparse"]) == 8 << 20
    assert content["holes"] == bytes(4 << 20) + b"data" + bytes((1 << 20) - 4)
    assert SYMLINK == found["a/long"]["type"] and found["a/long"]["link"] == "x" * 300


def test_holes_are_not_written(root_dir: Path) -> None:
    images = service(root_dir, "erofs")
    make_image(images, "stack:1", LOWEST)
    assert len(told(images, None)) < 1 << 20
    images.store.close()


@pytest.mark.parametrize("damage", [b"", b"\0" * 4096, b"\xff" * 20_000])
def test_a_damaged_index_is_an_error(root_dir: Path, damage: bytes) -> None:
    images = service(root_dir, "erofs")
    make_image(images, "stack:1", LOWEST)
    index = Path(images.layers.path(images.diff_ids(images.resolve("stack:1"))[0])) / "index"
    index.write_bytes(damage)
    with pytest.raises(IntegrityError, match="the index of a layer is damaged"):
        told(images, None)
    images.store.close()
