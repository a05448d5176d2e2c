"""Stacks of layers mounted, and trees turned into layers and archives."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jubako.images.layers import LayerStore
from jubako.images.layers.overlay import OverlayDriver
from jubako.images.layers.tree import TreeTar
from jubako.images.layers.whiteout import OPAQUE_XATTR
from jubako.images.stream import LayerStream
from jubako.images.tar import DIRECTORY, Entry
from jubako.linux import mount, ns
from jubako.store import Store
from tests.integration.image_tools import archive, link


@pytest.fixture
def layers(root_dir: Path, storage_driver: str) -> Iterator[LayerStore]:
    store = Store(str(root_dir))
    yield LayerStore(store)
    store.close()


def add(layers: LayerStore, data: bytes) -> str:
    """Make a layer of a root."""
    with layers.session() as session, LayerStream(iter([data])) as stream:
        staged = session.unpack(stream)
        session.publish([staged])
        with layers._store.transaction() as db:
            session.record(db, [staged])
    return staged.diff_id


def in_mount_namespace(work: Callable[[], object]) -> str:
    """What `work` returned or raised, in a child whose mounts nobody else sees."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ns.unshare(ns.CLONE_NEWNS)
            mount.mount("none", "/", "", mount.MS_REC | mount.MS_PRIVATE)
            result = str(work())
        except BaseException as exc:
            result = f"{type(exc).__name__}: {exc}"
        os.write(write_end, result.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end) as pipe:
        result = pipe.read()
    os.waitpid(child, 0)
    return result


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, str, str]:
    """Directories: upper, work, target."""
    found = tuple(str(tmp_path / name) for name in ("upper", "work", "target"))
    for path in found:
        os.mkdir(path)
    return found  # type: ignore[return-value]


def test_a_stack_is_mounted_and_written_to(
    layers: LayerStore, places: tuple[str, str, str]
) -> None:
    upper, work, target = places
    stack = [
        add(
            layers,
            archive(
                Entry(b"./", DIRECTORY, mode=0o751, uid=9),
                (b"a", b"1"),
                (b"d/x", b"2"),
                (b"e/y", b"3"),
            ),
        ),
        add(layers, archive((b".wh.a", b""), (b"d/.wh..wh..opq", b""), (b"d/z", b"4"))),
    ]

    def work_in_it() -> object:
        layers.mount(stack, upper, work, target)
        Path(target, "new").write_text("n")
        os.unlink(f"{target}/e/y")
        names = sorted(str(path.relative_to(target)) for path in Path(target).rglob("*"))
        return names, oct(os.stat(target).st_mode & 0o777), os.stat(target).st_uid

    assert in_mount_namespace(work_in_it) == str((["d", "d/z", "e", "new"], "0o751", 9))
    with layers.diff(upper) as tar, tarfile.open(fileobj=io.BytesIO(tar.read())) as found:
        assert sorted(found.getnames()) == ["e", "e/.wh.y", "new"]


def test_an_opaque_root_hides_all_below(layers: LayerStore, places: tuple[str, str, str]) -> None:
    stack = [
        add(layers, archive((b"a", b"1"))),
        add(layers, archive((b".wh..wh..opq", b""), (b"b", b"2"))),
    ]

    def look() -> object:
        layers.mount_view(stack, places[2])
        return os.listdir(places[2])

    assert in_mount_namespace(look) == "['b']"


@pytest.mark.parametrize("count", [0, 1, 130])
def test_any_number_of_layers(layers: LayerStore, places: tuple[str, str, str], count: int) -> None:
    stack = [add(layers, archive((b"f%d" % number, b""))) for number in range(count)]

    def look() -> object:
        layers.mount(stack, *places)
        first = len(os.listdir(places[2]))
        layers.mount_view(stack, places[2])
        return first, len(os.listdir(places[2]))

    assert in_mount_namespace(look) == str((count, count))


def test_a_missing_layer_is_named(layers: LayerStore, places: tuple[str, str, str]) -> None:
    missing = "sha256:" + "0" * 64
    result = in_mount_namespace(lambda: layers.mount([missing], *places))
    assert result.startswith("IntegrityError: layer is missing") and "0" * 64 in result


def test_a_tree_comes_out_as_it_is(layers: LayerStore, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir(mode=0o711)
    (tree / "d").mkdir()
    (tree / "d" / "f").write_bytes(b"content")
    os.chmod(tree / "d" / "f", 0o4755)
    os.chown(tree / "d" / "f", 11, 12)
    os.chmod(tree / "d" / "f", 0o4755)
    os.setxattr(tree / "d" / "f", "user.x", b"\0")
    os.setxattr(tree / "d", OPAQUE_XATTR, b"y")
    os.link(tree / "d" / "f", tree / "hard")
    os.symlink("d/f", tree / "soft")
    os.mkfifo(tree / "pipe")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(tree / "sparse", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"data")
    os.utime(tree / "soft", ns=(1, 1_234_567_890_123), follow_symlinks=False)
    out, again = (b"".join(map(bytes, TreeTar(str(tree)))) for _ in range(2))
    assert len(out) < 1 << 20
    assert again == out
    copy = tmp_path / "copy"
    copy.mkdir()
    OverlayDriver().unpack([out], str(copy))
    top = copy / "diff"
    assert sorted(os.listdir(top)) == sorted(os.listdir(tree))
    for name in ("d", "d/f", "hard", "soft", "pipe", "null", "sparse"):
        one, two = os.lstat(tree / name), os.lstat(top / name)
        for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_rdev"):
            if field != "st_size" or stat.S_ISREG(one.st_mode):
                assert getattr(one, field) == getattr(two, field), (name, field)
    assert os.lstat(top / "hard").st_ino == os.lstat(top / "d/f").st_ino
    assert os.getxattr(top / "d/f", "user.x") == b"\0"
    assert os.listxattr(top / "d") == []
    assert os.lstat(top / "sparse").st_blocks < 100


def test_a_diff_gives_the_same_tree_again(layers: LayerStore, places: tuple[str, str, str]) -> None:
    """What a container did, as a layer above the same stack, shows what the container saw."""
    upper, work, target = places
    base = add(
        layers,
        archive((b"a/b/c", b"1"), (b"a/d", b"2"), (b"x/", b""), (b"x/y", b"3"), link(b"l", b"a")),
    )

    def describe(top: str) -> str:
        rows = []
        for path in sorted(Path(top).rglob("*")):
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else ""
            if stat.S_ISREG(status.st_mode):
                content = path.read_text()
            rows.append(f"{path.relative_to(top)} {status.st_mode:o} {status.st_uid} {content}")
        return "\n".join(rows)

    def change() -> str:
        layers.mount([base], upper, work, target)
        shutil.rmtree(f"{target}/a")
        os.makedirs(f"{target}/a/new")
        Path(target, "a/new/file").write_text("n")
        os.unlink(f"{target}/x/y")
        os.unlink(f"{target}/l")
        os.mkdir(f"{target}/l")
        os.chown(f"{target}/x", 5, 5)
        return describe(target)

    seen = in_mount_namespace(change)
    with layers.diff(upper) as tar:
        top = add(layers, tar.read())

    def look() -> str:
        layers.mount_view([base, top], target)
        return describe(target)

    assert in_mount_namespace(look) == seen
