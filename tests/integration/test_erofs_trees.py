"""What an EROFS layer shows is what the overlay driver unpacks, on archives of every kind."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs import ErofsDriver, format
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    SYMLINK,
    Entry,
)
from jubako.linux.removal import remove_tree
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

S = 1_000_000_000
Member = Entry | tuple[Entry, bytes]


def file(name: bytes, content: bytes = b"", **metadata: Any) -> tuple[Entry, bytes]:
    return Entry(name, size=len(content), **metadata), content


def directory(name: bytes, **metadata: Any) -> Entry:
    return Entry(name, DIRECTORY, **{"mode": 0o755, **metadata})


def link(name: bytes, target: bytes, **metadata: Any) -> Entry:
    return Entry(name, SYMLINK, link=target, **metadata)


def hard(name: bytes, target: bytes) -> Entry:
    return Entry(name, HARDLINK, link=target)


def sparse(name: bytes, size: int, *segments: tuple[int, int]) -> tuple[Entry, bytes]:
    """A sparse file in GNU's format 1.0; each piece has bytes of its own."""
    entry = Entry(name, size=size)
    entry.segments = list(segments)
    content = b"".join(
        bytes(1 + (number * 37 + at) % 255 for at in range(length))
        for number, (_, length) in enumerate(segments)
    )
    entry.payload_bytes = len(content)
    return entry, content


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


MINIMAL = ((1, 6, -1 & 0xFFFFFFFF), (4, 5, -1 & 0xFFFFFFFF), (32, 0, -1 & 0xFFFFFFFF))
NAMED = (MINIMAL[0], (2, 7, 1000), MINIMAL[1], (8, 1, 50), (16, 7, -1 & 0xFFFFFFFF), MINIMAL[2])
ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

CASES: dict[str, list[Member]] = {
    "nothing": [],
    "empty files and directories": [
        file(b"empty"), directory(b"d"), directory(b"d/e"), file(b"d/e/f"),
    ],
    "the root": [directory(b"./", mode=0o1711, uid=3, gid=4, mtime_ns=77 * S)],
    "modes and owners": [
        file(b"setuid", b"x", mode=0o6755, uid=(1 << 32) - 2, gid=(1 << 32) - 2),
        file(b"none", b"x", mode=0, uid=65536, gid=65535),
        directory(b"sticky", mode=0o3777, uid=1 << 31),
        link(b"link", b"none", uid=7, gid=8),
        Entry(b"pipe", FIFO, mode=0o4622, uid=9),
    ],
    "times": [
        file(b"negative", mtime_ns=-1), file(b"before", mtime_ns=-1_500_000_001),
        file(b"first", mtime_ns=-(1 << 31) * S), file(b"late", mtime_ns=(1 << 33) * S),
        file(b"nanoseconds", b"x", mtime_ns=1_600_000_000 * S + 999_999_999),
        directory(b"d", mtime_ns=-7), link(b"l", b"x", mtime_ns=5 * S + 1),
        Entry(b"null", CHARACTER, major=1, minor=3, mtime_ns=3),
    ],
    "devices": [
        Entry(b"last", BLOCK, mode=0o660, major=4095, minor=(1 << 20) - 1),
        Entry(b"low", CHARACTER, mode=0o666, major=1, minor=256),
        Entry(b"disk", BLOCK, major=259, minor=0), Entry(b"zero", BLOCK),
    ],
    "names": [
        *(file(bytes([byte]), b"%d" % byte) for byte in range(1, 256) if byte not in b"./"),
        *(file(bytes([byte]) * 255) for byte in b"!-0a~\xff"),
        file(b"..."), file(b".a"), file(b"-"), file(b"a"), file(b"ab"), file(b"abc"),
        file(b"new\nline"), file("ö".encode("latin-1")), file("日本".encode()),
    ],
    "blocks of names": [
        *(directory(b"d%d" % size) for size in (1, 13, 100, 229, 252)),
        *(file(b"d%d/" % size + b"n" * size + b"%03d" % at)
          for size in (1, 13, 100, 229, 252) for at in range(50)),
    ],
    "a deep path": [file(b"/".join([b"d"] * 2000), b"x")],
    "a path as long as they get": [file(b"/".join([b"x" * 254] * 16), b"y")],
    "links of all lengths": [
        link(b"l%d" % size, b"t" * size) for size in (*range(1, 600, 7), 447, 448, 449, 4095)
    ],
    "links with attributes": [
        link(b"l%d" % size, b"t" * size, xattrs={b"trusted.x": b"v" * size})
        for size in (1, 200, 210, 220, 230, 300, 500, 4000 // 4)
    ],
    "hard links": [
        file(b"a", b"text", xattrs={b"user.a": b"1"}), hard(b"b", b"a"), hard(b"d/c", b"./b"),
        link(b"s", b"nowhere"), hard(b"s2", b"s"), Entry(b"p", FIFO), hard(b"p2", b"p"),
        Entry(b"n", CHARACTER, major=1, minor=3), hard(b"n2", b"n"), hard(b"a", b"a"),
        file(b"usr/lib/x", b"x"), link(b"lib", b"usr/lib"), hard(b"y", b"lib/x"),
        hard(b"lib/z", b"y"), file(b"both"), hard(b"names", b"both"), hard(b"names", b"both"),
    ],
    "the same name twice": [
        file(b"a", b"first"), file(b"a", b"second"), link(b"a2", b"x"),
        link(b"a2", b"yy"), file(b"f"), directory(b"f"), file(b"f/x", b"in it"),
        directory(b"d", mode=0o700), file(b"d/x", b"1"), directory(b"d", mode=0o711, uid=5),
        Entry(b"dev", CHARACTER, major=1, minor=5), file(b"dev", b"file"), file(b"p"),
        Entry(b"p", FIFO), link(b"l", b"d"), directory(b"l"), file(b"l/own", b"own"),
    ],
    "paths through links": [
        directory(b"usr/bin"), link(b"bin", b"usr/bin"), file(b"bin/tool", b"t"),
        link(b"abs", b"/usr"), file(b"abs/lib/x", b"x"), link(b"up", b"../../.."),
        file(b"up/top", b"y"), link(b"usr/here", b"."), file(b"usr/here/here/z", b"z"),
        link(b"chain", b"abs/here"), file(b"chain/new/file", b"n"), link(b"d/back", b"../usr"),
        file(b"d/back/q", b"q"), file(b"/absolute//path/./file", b"p"), file(b"d/../usr/r"),
    ],
    "attributes": [
        file(b"f", b"x", xattrs={b"user.a": b"1", b"user.empty": b"", b"trusted.t": b"\0\xff",
                                 b"security.capability": b"\1\0\0\2" + bytes(16)}),
        directory(b"d", xattrs={b"user.d": b"d" * 1000, b"trusted.d": b"2"}),
        link(b"l", b"f", xattrs={b"user.no": b"x", b"trusted.yes": b"x", b"security.y": b"y"}),
        Entry(b"p", FIFO, xattrs={b"user.no": b"x", b"trusted.yes": b"x"}),
        file(b"left out", xattrs={b"security.selinux": b"x", b"trusted.overlay.opaque": b"y",
                                  b"user.overlay.whiteout": b"", b"system.other": b"z",
                                  b"other.x": b"z", b"nodot": b"n", b"lustre.lov": b"l"}),
        *(file(b"same%d" % at, b"x", xattrs={b"user.same": b"same" * 50, b"user.n": b"%d" % at})
          for at in range(100)),
        file(b"many", xattrs={b"user.%d" % number: b"v" for number in range(40)}),
        file(b"long", xattrs={b"user." + b"n" * 250: b"v" * 2000}),
        directory(b"./", xattrs={b"user.root": b"r", b"trusted.root": b"t" * 500}),
    ],
    "access lists": [
        file(b"named", b"x", mode=0o4640, xattrs={ACCESS: acl(*NAMED)}),
        file(b"minimal", b"x", mode=0o777, xattrs={ACCESS: acl(*MINIMAL)}),
        directory(b"d", mode=0o750, xattrs={ACCESS: acl(*NAMED), DEFAULT: acl(*MINIMAL)}),
        directory(b"none", xattrs={ACCESS: acl(), DEFAULT: acl()}),
        link(b"l", b"d", xattrs={ACCESS: acl(*NAMED)}),
        file(b"d/inherits nothing", mode=0o644),
    ],
    "sparse files": [
        sparse(b"hole", 1 << 20), sparse(b"one", 1 << 20, (4096, 512)),
        sparse(b"aligned", 200_000, (0, 4096), (65536, 8192), (196_608, 3392)),
        sparse(b"odd", 10_000, (1, 1), (3, 2), (513, 100), (1024, 511), (9_999, 1)),
        sparse(b"touching", 4096, (0, 100), (100, 412), (512, 1000), (1512, 2584)),
        sparse(b"begins late", 3000, (2048, 952)), sparse(b"ends early", 3000, (0, 700)),
        sparse(b"full", 1500, (0, 1500)), sparse(b"empty", 0), sparse(b"tiny", 1, (0, 1)),
        sparse(b"shifted", 1 << 16, (0, 5), (512, 4096), (8192, 9000), (40_000, 25_536)),
        sparse(b"giga", 1 << 30, (0, 10), (300_000_001, 70_000), ((1 << 30) - 5000, 5000)),
        sparse(b"many", 1 << 24, *((at * 8192, 512) for at in range(1500))),
        file(b"with attributes", b"", xattrs={b"user.x": b"y"}),
    ],
    "whiteouts": [
        file(b".wh.gone"), file(b".wh.kept"), file(b"kept", b"k"), file(b"d/.wh.x"),
        file(b"d/new", b"n"), file(b".wh.tree"), file(b"tree/file", b"t"),
        file(b"opaque/.wh..wh..opq"), file(b"opaque/sub/f", b"o"), file(b"implied/deep/.wh.y"),
        file(b".wh..wh.plnk/1.2", b"of AUFS"), file(b".wh..wh.aufs"), file(b"f/.wh.z"),
        file(b"f", b"hides it"), directory(b"real"), link(b"l", b"/real"), file(b"l/.wh.q"),
        file(b"l/.wh..wh..opq"), directory(b"both", xattrs={b"user.a": b"b"}),
        file(b"both/.wh..wh..opq"), file(b"both/.wh..wh..opq"), file(b".wh.both"),
        file(b".wh." + b"n" * 251), file(b"only/.wh..wh..opq"),
    ],
}  # fmt: skip


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


# --- against other programs ----------------------------------------------------------------------


def erofs_utils(name: str, *words: str) -> list[str]:
    """A command of erofs-utils; skips if its help lacks one of the words, which newer ones have.

    $JUBAKO_EROFS_UTILS is what precedes its name, a directory or the start of a command line.
    """
    command = shlex.split(os.environ.get("JUBAKO_EROFS_UTILS", "") + name)
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {name} (Debian package erofs-utils)")
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    if not all(word in (shown.stdout + shown.stderr).replace("[no-]", "") for word in words):
        pytest.skip(f"needs {name} 1.7 or later ($JUBAKO_EROFS_UTILS names where one is)")
    return command


@pytest.fixture(scope="session")
def mkfs() -> list[str]:
    return erofs_utils("mkfs.erofs", "--tar")


def comparable_with_mkfs(tree: Tree) -> Tree:
    """Without what mkfs.erofs makes of nothing (the root), and modes of links, which are none."""
    for name, facts in tree.items():
        if "target" in facts or not name:
            del facts["mode"]
        if not name:
            del facts["mtime"]
    return tree


# mkfs.erofs 1.8 gives links attributes that they cannot have, implied directories other modes, and
# files from before 1970 another time.
SAME_AS_MKFS: dict[str, list[Member]] = {
    **{
        name: CASES[name]
        for name in (
            "empty files and directories", "the root", "modes and owners", "devices", "names",
            "blocks of names", "links of all lengths",
        )
    },
    "hard links": [file(b"a", b"text"), hard(b"b", b"a"), directory(b"d"), hard(b"d/c", b"b")],
    "attributes": [
        file(b"f", b"x", xattrs={b"user.a": b"1", b"user.empty": b"", b"trusted.t": b"\0\xff",
                                 b"security.capability": b"\1\0\0\2" + bytes(16)}),
        directory(b"d", xattrs={b"user.d": b"d" * 1000, b"trusted.d": b"2"}),
        file(b"named", b"x", mode=0o670, xattrs={ACCESS: acl(*NAMED)}),
    ],
}  # fmt: skip


def of_mkfs(mkfs: list[str], archive: Path, directory: Path) -> Tree:
    directory.mkdir()
    command = [*mkfs, "--quiet", "--tar=i", str(directory / "index"), str(archive)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with mounted(directory, archive) as top:
        return describe(top)


@pytest.mark.parametrize("name", SAME_AS_MKFS)
def test_the_tree_is_that_of_mkfs_erofs(name: str, mkfs: list[str], tmp_path: Path) -> None:
    unpack(tar(*SAME_AS_MKFS[name]), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        found = describe(top)
    expected = of_mkfs(mkfs, tmp_path / "layer/tar", tmp_path / "other")
    assert differences(comparable_with_mkfs(found), comparable_with_mkfs(expected)) == []


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece


@pytest.mark.slow
def test_a_distribution_is_that_of_a_plain_unpack(debian_tar: Path, tmp_path: Path) -> None:
    size = unpack(pieces(debian_tar), tmp_path / "layer")
    assert size == unpack_plainly(pieces(debian_tar), tmp_path / "plain")
    with mounted(tmp_path / "layer") as top:
        found = describe(top)
    assert differences(found, describe(tmp_path / "plain/diff")) == []


@pytest.mark.slow
def test_a_distribution_is_that_of_mkfs_erofs(
    debian_tar: Path, mkfs: list[str], tmp_path: Path
) -> None:
    unpack(pieces(debian_tar), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        found = describe(top)
    assert differences(found, of_mkfs(mkfs, debian_tar, tmp_path / "other")) == []


@pytest.mark.parametrize("form", ["gnu", "pax", "oldgnu"])
def test_what_gnu_tar_writes(form: str, tmp_path: Path) -> None:
    """Sparse files in each of its formats, names of all lengths, links and attributes."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as stream:
        for offset in (5, 1 << 20, (5 << 20) + 700, 100 << 20):
            stream.seek(offset)
            stream.write(os.urandom(3000))
        stream.truncate((100 << 20) + 9999)
    (source / ("n" * 200)).write_text("long")
    (source / "d" / ("p" * 120) / ("q" * 200)).mkdir(parents=True)
    (source / "d/link").symlink_to("t" * 300)
    os.link(source / "sparse", source / "hard")
    os.setxattr(source / "sparse", "user.x", b"y")
    words = ["--sparse", "--numeric-owner", "--sort=name", f"--format={form}"]
    if form == "pax":
        words.append("--xattrs")
    data = subprocess.run(
        ["tar", "-c", *words, "-C", str(source), "."], capture_output=True, check=True
    ).stdout
    assert len(data) < 1 << 20
    unpack(data, tmp_path / "layer")
    unpack_plainly(data, tmp_path / "plain")
    with mounted(tmp_path / "layer") as top:
        found = describe(top)
    assert differences(found, describe(tmp_path / "plain/diff")) == []
    assert found[b"sparse"]["size"] == (100 << 20) + 9999 and found[b"hard"]["links"] == 2
    index = (tmp_path / "layer/index").stat()
    assert index.st_blocks * 512 < 1 << 20, "what is copied keeps its holes"


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("a deep path",)])
def test_fsck_finds_nothing(name: str, tmp_path: Path) -> None:
    fsck = erofs_utils("fsck.erofs", "--xattrs")
    unpack(tar(*CASES[name]), tmp_path / "layer")
    with (tmp_path / "layer/index").open("r+b") as index:
        # Without the flag that says there is a checksum: with it and blocks of 512 bytes, which
        # mkfs.erofs never combines, fsck.erofs 1.8 crashes.  The kernel has checked it elsewhere.
        index.seek(format.SUPER_OFFSET + 8)
        index.write(b"\x02")
    done = subprocess.run(
        [*fsck, "--extract", f"--device={tmp_path}/layer/tar", str(tmp_path / "layer/index")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_directory_of_200_000_names(tmp_path: Path) -> None:
    count = 200_000

    def archive() -> Iterator[bytes]:
        for start in range(0, count, 1000):
            data = tar(*(file(b"d/%d.txt" % n, b"%d" % n) for n in range(start, start + 1000)))
            yield data[:-1024]
        yield bytes(1024)

    unpack(archive(), tmp_path / "layer")
    with mounted(tmp_path / "layer") as top:
        names = os.listdir(top / "d")
        assert sorted(names) == sorted(f"{number}.txt" for number in range(count))
        for number in (0, 1, 9, 10, 99_999, 100_000, 123_456, count - 1):
            assert (top / "d" / f"{number}.txt").read_text() == str(number)
        for missing in ("0", ".txt", "a", "200000.txt", "-1.txt", "0.txt0", "99999.tx"):
            assert not (top / "d" / missing).exists()
