"""Copy-up: an image's tree into a volume."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.volumes import copy


class Pair:
    """An image's directory and an empty volume."""

    def __init__(self, path: Path):
        self.source = path / "image"
        self.data = path / "volume/_data"
        self.source.mkdir()
        self.data.mkdir(parents=True)

    def fill(self) -> bool:
        fd = os.open(self.source, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return copy.fill(fd, str(self.data))
        finally:
            os.close(fd)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_files_links_modes_and_times(pair: Pair) -> None:
    (pair.source / "sub/er").mkdir(parents=True)
    (pair.source / "sub/er/file").write_bytes(b"content" * 1000)
    (pair.source / "sub/er/file").chmod(0o640)
    os.link(pair.source / "sub/er/file", pair.source / "again")
    (pair.source / "abs").symlink_to("/etc/passwd")
    (pair.source / "up").symlink_to("../../..")
    (pair.source / "sub").chmod(0o750)
    os.utime(pair.source / "sub", ns=(1, 2_000_000_003))
    os.utime(pair.source / "sub/er/file", ns=(4, 5))
    pair.source.chmod(0o1771)
    os.mkfifo(pair.source / "pipe", 0o604)
    assert pair.fill()
    data = pair.data
    assert (data / "sub/er/file").read_bytes() == b"content" * 1000
    assert stat.S_IMODE((data / "sub/er/file").stat().st_mode) == 0o640
    assert os.stat(data / "again").st_ino == os.stat(data / "sub/er/file").st_ino
    assert os.readlink(data / "abs") == "/etc/passwd" and os.readlink(data / "up") == "../../.."
    assert stat.S_IMODE((data / "sub").stat().st_mode) == 0o750
    assert (data / "sub").stat().st_mtime_ns == 2_000_000_003
    assert (data / "sub/er/file").stat().st_mtime_ns == 5
    assert stat.S_IMODE(data.stat().st_mode) == 0o1771
    assert stat.S_ISFIFO((data / "pipe").stat().st_mode)
    assert stat.S_IMODE((data / "pipe").stat().st_mode) == 0o604
    assert os.listdir(data.parent) == ["_data"]  # no marker is left


def test_a_volume_with_content_is_left_alone(pair: Pair) -> None:
    (pair.source / "a").touch()
    (pair.data / "mine").touch()
    assert not pair.fill()
    assert os.listdir(pair.data) == ["mine"]


def test_an_empty_directory_gives_its_mode(pair: Pair) -> None:
    pair.source.chmod(0o700)
    assert not pair.fill()
    assert stat.S_IMODE(pair.data.stat().st_mode) == 0o700


@pytest.mark.root
def test_owners_setuid_capabilities_and_devices(pair: Pair) -> None:
    tool = pair.source / "tool"
    tool.write_bytes(b"#!")
    os.chown(tool, 1000, 50)
    tool.chmod(0o4755)
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    (pair.source / "ping").touch()
    os.setxattr(pair.source / "ping", "security.capability", capability)
    os.setxattr(pair.source, "trusted.overlay.opaque", b"y")
    os.setxattr(pair.source, "trusted.mine", b"1")
    (pair.source / "link").symlink_to("tool")
    os.chown(pair.source / "link", 7, 8, follow_symlinks=False)
    os.mknod(pair.source / "null", 0o20666, os.makedev(1, 3))
    (pair.source / "null").chmod(0o666)
    os.chown(pair.source, 999, 999)
    assert pair.fill()
    status = (pair.data / "tool").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 50, 0o4755)
    assert os.getxattr(pair.data / "ping", "security.capability") == capability
    assert "trusted.overlay.opaque" not in os.listxattr(pair.data)
    assert os.getxattr(pair.data, "trusted.mine") == b"1"
    assert (pair.data / "link").lstat().st_uid == 7
    status = (pair.data / "null").stat()
    assert stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE(status.st_mode) == 0o666
    assert pair.data.stat().st_uid == 999


def test_holes_stay_holes(pair: Pair) -> None:
    with open(pair.source / "sparse", "wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"island")
    assert pair.fill()
    status = (pair.data / "sparse").stat()
    assert status.st_size == 1 << 40 and status.st_blocks * 512 < 1 << 20
    with open(pair.data / "sparse", "rb") as copied:
        copied.seek(1 << 30)
        assert copied.read(6) == b"island"


def test_links_in_the_volume_are_never_followed(pair: Pair, tmp_path: Path) -> None:
    """A container that shares the volume puts a link where a directory will be copied."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (pair.source / "sub").mkdir()
    (pair.source / "sub/file").write_text("x")
    (pair.data / "sub").symlink_to(outside)
    (pair.data.parent / "filling").touch()  # so that the copy goes on although it is not empty
    with pytest.raises(KernelError) as caught:
        pair.fill()
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert list(outside.iterdir()) == []


def test_an_interrupted_copy_is_completed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdef":
        (pair.source / name).write_text(name * 100)
    monkeypatch.setattr("jubako.store.faults._armed", {"volumes.fill.marked": 1})
    pid = os.fork()
    if pid == 0:
        try:
            pair.fill()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    monkeypatch.undo()
    (pair.data / "a").write_text("came first")
    assert pair.fill()
    assert sorted(os.listdir(pair.data)) == list("abcdef")
    assert (pair.data / "a").read_text() == "came first"  # nothing that is there is replaced
    assert not pair.fill()


def test_without_unnamed_files(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have no O_TMPFILE."""
    real = os.open

    def refusing(path: str, flags: int, *args: int, **kwargs: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE")
        return real(path, flags, *args, **kwargs)

    (pair.source / "file").write_text("x" * 5000)
    monkeypatch.setattr(os, "open", refusing)
    assert pair.fill()
    assert os.listdir(pair.data) == ["file"]
    assert (pair.data / "file").read_text() == "x" * 5000


def test_without_copy_file_range(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> int:
        raise OSError(errno.EXDEV, "another file system")

    (pair.source / "file").write_bytes(os.urandom(3 << 20))
    monkeypatch.setattr(os, "copy_file_range", refusing)
    assert pair.fill()
    assert (pair.data / "file").read_bytes() == (pair.source / "file").read_bytes()


def test_names_that_are_not_utf8(pair: Pair) -> None:
    name = b"caf\xe9"
    (pair.source / os.fsdecode(name)).mkdir()
    (pair.source / os.fsdecode(name) / "x").touch()
    assert pair.fill()
    assert os.listdir(os.fsencode(pair.data)) == [name]
