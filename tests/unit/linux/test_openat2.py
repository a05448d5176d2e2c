"""openat2: paths stay inside the root, with the system call and without it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import atomic, openat2

SECRET = b"outside"


@pytest.fixture(params=["kernel", "by hand"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with openat2(2) and with the replacement for kernels that have none."""
    if request.param == "by hand":
        monkeypatch.setattr(openat2, "_missing", True)
    else:
        assert not openat2._missing, "this kernel has no openat2"
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path, way: str) -> Iterator[int]:
    """A tree with links of all kinds; what must not be reached lies beside it."""
    (tmp_path / "secret").write_bytes(SECRET)
    base = tmp_path / "root"
    (base / "a/b").mkdir(parents=True)
    (base / "a/file").write_bytes(b"inside")
    (base / "secret").write_bytes(b"inside too")
    (base / "up").symlink_to("../../../../../secret")
    (base / "absolute").symlink_to("/secret")
    (base / "a/b/back").symlink_to("/a/b/../file")
    (base / "chain").symlink_to("a/b/back")
    (base / "dangling").symlink_to("a/new")
    (base / "dangling-dir").symlink_to("/made/by/link")
    (base / "loop").symlink_to("loop")
    (base / "dir-link").symlink_to("/a/b/")
    fd = os.open(base, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def content(root: int, path: str) -> bytes:
    fd = openat2.open_in_root(root, path, os.O_RDONLY)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def error_of(root: int, path: str, flags: int = os.O_RDONLY) -> int:
    with pytest.raises(KernelError) as caught:
        os.close(openat2.open_in_root(root, path, flags))
    assert path in str(caught.value)
    number = caught.value.errno
    assert number is not None
    return number


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("secret", b"inside too"),
        ("/secret", b"inside too"),
        ("../../secret", b"inside too"),
        ("a/../../../secret", b"inside too"),
        ("up", b"inside too"),
        ("absolute", b"inside too"),
        ("a/b/back", b"inside"),
        ("chain", b"inside"),
        ("a//.//file", b"inside"),
        ("dir-link/../file", b"inside"),
        ("dir-link/back", b"inside"),
    ],
)
def test_links_and_dots_stay_inside(root: int, path: str, expected: bytes) -> None:
    assert content(root, path) == expected


@pytest.mark.parametrize(
    ("path", "flags", "number"),
    [
        ("none", os.O_RDONLY, errno.ENOENT),
        ("none/..", os.O_RDONLY, errno.ENOENT),
        ("loop", os.O_RDONLY, errno.ELOOP),
        ("a/file/x", os.O_RDONLY, errno.ENOTDIR),
        ("a/file/", os.O_RDONLY, errno.ENOTDIR),
        ("a/file", os.O_RDONLY | os.O_DIRECTORY, errno.ENOTDIR),
        ("absolute", os.O_RDONLY | os.O_NOFOLLOW, errno.ELOOP),
        ("a/file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
        ("up", os.O_WRONLY | os.O_CREAT | os.O_EXCL, errno.EEXIST),
        ("a", os.O_WRONLY, errno.EISDIR),
    ],
)
def test_errors_are_the_kernels(root: int, path: str, flags: int, number: int) -> None:
    assert error_of(root, path, flags) == number


def test_descriptors_are_close_on_exec(root: int) -> None:
    fd = openat2.open_in_root(root, "a", os.O_PATH)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_the_empty_path_and_slash_are_the_root(root: int) -> None:
    for path in ("", "/", ".", "..", "a/.."):
        fd = openat2.open_in_root(root, path, os.O_PATH | os.O_DIRECTORY)
        assert os.path.samestat(os.fstat(fd), os.fstat(root))
        os.close(fd)


def test_a_link_itself_can_be_opened(root: int) -> None:
    fd = openat2.open_in_root(root, "up", os.O_PATH | os.O_NOFOLLOW)
    assert os.readlink("", dir_fd=fd) == "../../../../../secret"
    os.close(fd)


def test_creating_through_a_dangling_link_stays_inside(root: int, tmp_path: Path) -> None:
    fd = openat2.open_in_root(root, "dangling", os.O_WRONLY | os.O_CREAT, 0o640)
    os.close(fd)
    assert (tmp_path / "root/a/new").exists()


def test_a_mode_without_a_new_file_is_no_error(root: int) -> None:
    os.close(openat2.open_in_root(root, "a/file", os.O_RDONLY, 0o644))


def test_a_magic_link_is_not_followed(way: str, tmp_path: Path) -> None:
    root = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        assert error_of(root, "cwd/secret") in (errno.ELOOP, errno.EXDEV, errno.ENOENT)
    finally:
        os.close(root)


def test_mkdir_makes_what_is_missing(root: int, tmp_path: Path) -> None:
    for _ in range(2):
        fd = openat2.mkdir_in_root(root, "/x/y/../z", 0o750)
        assert os.path.samestat(os.fstat(fd), os.stat(tmp_path / "root/x/z"))
        os.close(fd)
    assert (tmp_path / "root/x/z").stat().st_mode & 0o777 == 0o750


def test_mkdir_follows_links_inside_the_root(root: int, tmp_path: Path) -> None:
    os.close(openat2.mkdir_in_root(root, "dangling-dir/deep"))
    assert (tmp_path / "root/made/by/link/deep").is_dir()
    os.close(openat2.mkdir_in_root(root, "dir-link/more"))
    assert (tmp_path / "root/a/b/more").is_dir()
    os.symlink("../../../escape", tmp_path / "root/evil")
    os.close(openat2.mkdir_in_root(root, "evil/d"))
    assert (tmp_path / "root/escape/d").is_dir()
    assert not (tmp_path / "escape").exists()


def test_mkdir_over_a_file_fails(root: int) -> None:
    for path in ("a/file", "a/file/x"):
        with pytest.raises(KernelError) as caught:
            openat2.mkdir_in_root(root, path)
        assert caught.value.errno == errno.ENOTDIR


def test_open_parent_does_not_look_at_the_last_name(root: int, tmp_path: Path) -> None:
    fd, name = openat2.open_parent(root, "/dir-link/loop/")
    assert name == "loop"
    assert os.path.samestat(os.fstat(fd), os.stat(tmp_path / "root/a/b"))
    os.close(fd)
    for path in ("", "/", "a/..", "a/."):
        with pytest.raises(KernelError) as caught:
            openat2.open_parent(root, path)
        assert caught.value.errno == errno.EINVAL


def test_read_is_bounded_and_for_regular_files(root: int, tmp_path: Path) -> None:
    assert openat2.read_in_root(root, "chain", 6) == b"inside"
    with pytest.raises(KernelError) as caught:
        openat2.read_in_root(root, "chain", 5)
    assert caught.value.errno == errno.EFBIG
    os.mkfifo(tmp_path / "root/fifo")
    for path in ("fifo", "a"):  # a fifo without a writer would block for ever
        with pytest.raises(KernelError) as caught:
            openat2.read_in_root(root, path, 10)
        assert caught.value.errno == errno.EINVAL


def test_a_nul_byte_is_refused(root: int) -> None:
    with pytest.raises(InvalidArgument):
        openat2.open_in_root(root, "a\0/../secret", os.O_RDONLY)


def test_names_that_are_not_utf8(root: int, tmp_path: Path) -> None:
    (tmp_path / "root" / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    assert content(root, os.fsdecode(b"caf\xe9")) == b"x"


def test_an_exchange_during_the_walk_never_leads_out(root: int, tmp_path: Path) -> None:
    """Somebody swaps a directory with a link to outside while the path is resolved."""
    base = tmp_path / "root"
    (base / "swap").mkdir()
    (base / "swap/secret").write_bytes(b"inside")
    (base / "link").symlink_to("../../")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            atomic.renameat2(root, "swap", root, "link", atomic.RENAME_EXCHANGE)

    thread = threading.Thread(target=exchange)
    thread.start()
    seen = set()
    try:
        for _ in range(1500):
            try:
                seen.add(content(root, "swap/../swap/secret"))
            except KernelError as error:
                assert error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EAGAIN)
    finally:
        stop.set()
        thread.join()
    assert SECRET not in seen
    assert seen <= {b"inside", b"inside too"}
