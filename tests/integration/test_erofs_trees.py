"""What an EROFS layer shows is what the overlay driver unpacks, on archives of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs import ErofsDriver
from jubako.images.tar import BLOCK, Entry
from jubako.linux.removal import remove_tree
from tests.integration.erofs_cases import (
    ACCESS,
    CASES,
    DEFAULT,
    MINIMAL,
    NAMED,
    Member,
    acl,
    directory,
    file,
    hard,
    link,
)
from tests.integration.erofs_tools import (
    Tree,
    describe,
    differences,
    mounted,
    tar,
    unpack,
    unpack_plainly,
)

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def removed(tmp_path: Path) -> Iterator[None]:
    """Some plain trees are deeper than pytest can go."""
    yield
    remove_tree(str(tmp_path))


def comparable(tree: Tree) -> Tree:
    """Without the times of what has no entry: those of the overlay driver are the present."""
    for facts in tree.values():
        mode = str(facts["mode"])
        if facts.get("device") == (0, 0) or mode == "0o40755":
            del facts["mtime"]
    return tree


@pytest.mark.parametrize("name", CASES)
def test_the_tree_is_that_of_a_plain_unpack(name: str, tmp_path: Path) -> None:
    data = tar(*CASES[name])
    plain_size = unpack_plainly(data, tmp_path / "plain")
    assert unpack(data, tmp_path / "layer") == plain_size
    with mounted(tmp_path / "layer") as top:
        found = describe(top)
    expected = describe(tmp_path / "plain/diff")
    assert differences(comparable(found), comparable(expected)) == []
    for mark in ("root", "opaque"):
        assert (tmp_path / "layer" / mark).exists() == (tmp_path / "plain" / mark).exists()


@pytest.mark.parametrize("name", CASES)
def test_equal_archives_give_equal_indexes(name: str, tmp_path: Path) -> None:
    data = tar(*CASES[name])
    unpack(data, tmp_path / "one")
    unpack((data[at : at + 700] for at in range(0, len(data), 700)), tmp_path / "other")
    assert (tmp_path / "one/index").read_bytes() == (tmp_path / "other/index").read_bytes()
    assert (tmp_path / "one/tar").read_bytes() == data
    assert b"".join(ErofsDriver().archive(str(tmp_path / "one"))) == data


def test_a_replaced_directory_takes_its_content_with_it(tmp_path: Path) -> None:
    """Links to what was in there stay, and count what is left."""
    unpack(
        tar(
            file(b"d/x", b"12345"), file(b"d/e/y", b"678"), hard(b"kept", b"d/x"),
            hard(b"d/e/z", b"d/e/y"), file(b"d", b"ab"), link(b"l", b"d"), link(b"l", b"dd"),
            file(b"a", b"first"), hard(b"keeps", b"a"), file(b"a", b"second"),
        ),
        tmp_path / "layer",
    )  # fmt: skip
    with mounted(tmp_path / "layer") as top:
        tree = describe(top)
    assert sorted(tree) == [b"", b"a", b"d", b"keeps", b"kept", b"l"]
    assert (tree[b"keeps"]["links"], tree[b"keeps"]["size"]) == (1, 5)
    assert (tree[b"kept"]["links"], tree[b"kept"]["size"]) == (1, 5)
    assert tree[b""]["links"] == 2


def test_implied_directories_and_whiteouts_are_of_1970(tmp_path: Path) -> None:
    unpack(tar(file(b"a/b/c", mtime_ns=5), file(b"a/.wh.x")), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        tree = describe(top)
    assert {name: tree[name]["mtime"] for name in (b"", b"a", b"a/b", b"a/x")} == {
        b"": 0, b"a": 0, b"a/b": 0, b"a/x": 0
    }  # fmt: skip


@pytest.mark.parametrize("size", [(1 << 16) - 1, 10_000])
def test_large_attributes(tmp_path: Path, size: int) -> None:
    xattrs = {b"user.%d" % number: bytes([number]) * size for number in range(3)}
    members: list[Member] = [
        file(b"f", b"content", xattrs=xattrs), directory(b"d", xattrs=xattrs),
        file(b"g", b"other", xattrs=xattrs), directory(b".", xattrs=xattrs),
    ]  # fmt: skip
    unpack(tar(*members), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        tree = describe(top)
    expected = {key.decode(): value for key, value in xattrs.items()}
    for name in (b"f", b"d", b"g", b""):
        assert tree[name]["xattrs"] == expected
    assert (tmp_path / "layer/index").stat().st_size < 3 * size + 20_000, "stored once"


def test_attributes_beyond_the_shared_ones(tmp_path: Path) -> None:
    """More different ones than are kept for sharing: the rest stands with the inodes."""
    count = 100
    unpack(
        tar(*(file(b"%d" % n, b"x", xattrs={b"user.x": b"%d" % n * 8000}) for n in range(count))),
        tmp_path / "layer",
    )
    with mounted(tmp_path / "layer") as top:
        for number in range(count):
            assert os.getxattr(top / str(number), "user.x") == b"%d" % number * 8000
            assert (top / str(number)).read_bytes() == b"x"


def test_many_attributes_of_one_file(tmp_path: Path) -> None:
    xattrs = {b"user.%03d" % number: b"%d" % number for number in range(400)}
    unpack(tar(file(b"f", xattrs=xattrs)), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        found = {name.encode(): os.getxattr(top / "f", name) for name in os.listxattr(top / "f")}
    assert found == xattrs


REFUSED: dict[str, tuple[list[Member], str]] = {
    "a value of 64 KiB": (
        [file(b"f", xattrs={b"user.x": bytes(1 << 16)})], "'f': attribute 'user.x' of 65536 bytes",
    ),
    "a value no system has": (
        [file(b"f", xattrs={b"user.x": bytes((1 << 16) + 1)})], "Argument list too long",
    ),
    "a name no system has": (
        [file(b"f", xattrs={b"user." + b"n" * 251: b""})], "Numerical result out of range",
    ),
    "a name of a prefix": ([file(b"f", xattrs={b"trusted.": b"x"})], "Invalid argument"),
    "more than an inode holds": (
        [file(name, xattrs={b"user." + name + b"%d" % n: bytes(60_000) for n in range(16)})
         for name in (b"e", b"f")],
        "'f': too many attributes for EROFS",
    ),
    "more than the root holds": (
        [directory(b".", xattrs={b"user.%d" % n: b"x" for n in range(256)})],
        "too many attributes for EROFS",
    ),
    "bad capabilities": (
        [file(b"f", xattrs={b"security.capability": b"\1\0\0\2" + bytes(12)})], "Invalid argument",
    ),
    "an ACL without version": ([file(b"f", xattrs={ACCESS: b"text"})], "not an ACL"),
    "an ACL of half an entry": ([file(b"f", xattrs={ACCESS: acl(*MINIMAL)[:-1]})], "not an ACL"),
    "an ACL in disorder": (
        [file(b"f", xattrs={ACCESS: acl(*reversed(MINIMAL))})], "wrong entry",
    ),
    "an ACL without its mask": (
        [file(b"f", xattrs={ACCESS: acl(MINIMAL[0], (2, 7, 5), *MINIMAL[1:])})], "without an end",
    ),
    "an ACL of nobody": (
        [file(b"f", xattrs={ACCESS: acl(MINIMAL[0], (2, 7, 0xFFFFFFFF), *NAMED[2:])})],
        "wrong entry",
    ),
    "a default ACL of a file": (
        [file(b"f", xattrs={DEFAULT: acl(*MINIMAL)})], "only directories have one",
    ),
    "a link to nothing": ([link(b"l", b"")], "No such file or directory"),
    "a device with a large number": (
        [Entry(b"d", BLOCK, major=4096)], "no such device number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_words(name: str, tmp_path: Path) -> None:
    members, message = REFUSED[name]
    with pytest.raises(InvalidArgument, match=message):
        unpack(tar(*members), tmp_path / "layer")
