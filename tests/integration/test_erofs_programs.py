"""EROFS layers against what other programs make of the same archives, and large ones."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.images.layers.erofs import format
from tests.integration.erofs_cases import ACCESS, CASES, NAMED, Member, acl, directory, file, hard
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
