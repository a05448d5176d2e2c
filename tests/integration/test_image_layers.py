"""Layers: what archives may do, what they may not, and that each comes back bit for bit."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, JubakoError, KernelError
from jubako.images.layers import LayerStore
from jubako.images.layers.driver import LayerDriver
from jubako.images.layers.erofs import ErofsDriver
from jubako.images.layers.overlay import OverlayDriver
from jubako.images.layers.tree import TreeTar
from jubako.images.stream import LayerStream, read_chunks
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    SYMLINK,
    Entry,
    Limits,
)
from jubako.linux import erofs, mount, mountapi
from jubako.linux.removal import remove_tree
from jubako.oci.digest import Digest
from jubako.store import Store
from tests.integration.image_tools import archive, hard, link

OPAQUE = "trusted.overlay.opaque"


class Unpacked:
    """A layer unpacked by a driver, as a container would see it alone."""

    def __init__(self, directory: Path, size: int, driver: str):
        self.directory = directory
        self.size = size
        self.top = directory / ("tree" if driver == "erofs" else "diff")
        self._is_mounted = driver == "erofs"
        if self._is_mounted:
            fd = erofs.mount(f"{directory}/index", f"{directory}/tar")
            mountapi.attach(fd, str(self.top))
            os.close(fd)

    def close(self) -> None:
        if self._is_mounted:
            mount.umount2(str(self.top))

    def tree(self) -> dict[str, str]:
        """Each name with what is there: content, `-> target`, `dir`, `whiteout`, `device`."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            status = path.lstat()
            name = str(path.relative_to(self.top))
            if stat.S_ISDIR(status.st_mode):
                found[name] = "opaque dir" if OPAQUE in os.listxattr(path) else "dir"
            elif stat.S_ISLNK(status.st_mode):
                found[name] = f"-> {os.readlink(path)}"
            elif stat.S_ISREG(status.st_mode):
                found[name] = path.read_bytes().decode(errors="replace")
            elif stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                found[name] = "whiteout"
            else:
                found[name] = "device"
        return found


Unpack = Callable[..., Unpacked]
OpenDriver = Callable[..., LayerDriver]


@pytest.fixture(params=[OverlayDriver, ErofsDriver])
def open_driver(request: pytest.FixtureRequest) -> OpenDriver:
    """Every driver there is: each must pass the whole file."""
    found: OpenDriver = request.param
    return found


@pytest.fixture
def driver(open_driver: OpenDriver) -> LayerDriver:
    return open_driver()


@pytest.fixture
def unpack(tmp_path: Path, driver: LayerDriver) -> Iterator[Unpack]:
    """Unpacks an archive, and afterwards checks that the very same bytes come out again."""
    archives: list[tuple[Unpacked, bytes]] = []
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("untouched")

    def run(data: bytes, name: str = "layer") -> Unpacked:
        directory = tmp_path / "root" / name
        directory.mkdir(parents=True)
        with LayerStream(read_chunks(io.BytesIO(data))) as stream:
            size = driver.unpack(stream, str(directory))
            assert stream.diff_id() == Digest.of(data)
        archives.append((Unpacked(directory, size, driver.name), data))
        return archives[-1][0]

    yield run
    for made, _ in archives:
        made.close()
    for made, data in archives:
        assert b"".join(map(bytes, driver.archive(str(made.directory)))) == data
        remove_tree(str(made.directory))  # some are deeper than pytest can go
    assert sorted(os.listdir(outside)) == ["canary"]
    assert (outside / "canary").read_text() == "untouched"


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_is_kept(unpack: Unpack) -> None:
    file = Entry(
        b"d/file",
        mode=0o6755,
        uid=1234,
        gid=70000,
        size=3,
        mtime_ns=1_500_000_000_123_456_789,
        xattrs={
            b"user.note": b"\0\xff",
            b"security.capability": b"\x01\0\0\2\0\4" + bytes(14),
        },
    )
    directory = Entry(b"d/", DIRECTORY, mode=0o2711, uid=5, gid=6, mtime_ns=7_000_000_007)
    symlink = Entry(b"d/link", SYMLINK, link=b"file", uid=8, gid=9, mtime_ns=10_000_000_011)
    pipe = Entry(b"d/pipe", FIFO, mode=0o600, uid=12)
    device = Entry(b"d/null", CHARACTER, mode=0o666, major=1, minor=3)
    block = Entry(b"d/loop", BLOCK, mode=0o660, major=7, minor=300)
    made = unpack(
        archive(directory, (file, b"abc"), symlink, pipe, device, block, hard(b"h", b"d/file"))
    )
    status = (made.top / "d/file").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o6755, 1234, 70000)
    assert (status.st_mtime_ns, status.st_nlink) == (1_500_000_000_123_456_789, 2)
    assert os.getxattr(made.top / "d/file", "user.note") == b"\0\xff"
    assert len(os.getxattr(made.top / "d/file", "security.capability")) == 20
    status = (made.top / "d").lstat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2711, 5, 6)
    assert status.st_mtime_ns == 7_000_000_007
    status = (made.top / "d/link").lstat()
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (8, 9, 10_000_000_011)
    assert stat.S_ISFIFO((made.top / "d/pipe").lstat().st_mode)
    assert (made.top / "d/null").lstat().st_rdev == os.makedev(1, 3)
    assert (made.top / "d/loop").lstat().st_rdev == os.makedev(7, 300)
    assert made.size == 3 + len("file")


def test_the_umask_and_a_default_acl_have_no_say(unpack: Unpack, tmp_path: Path) -> None:
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + (7).to_bytes(2, "little") + b"\xff\xff\xff\xff"
        for tag in (1, 4, 32)
    )
    (tmp_path / "root").mkdir()
    os.setxattr(tmp_path / "root", "system.posix_acl_default", acl)
    before = os.umask(0o077)
    try:
        made = unpack(archive((b"d/", b""), (b"d/f", b"x"), (b"implied/f", b"x")))
    finally:
        os.umask(before)
    for name in ("", "d", "d/f", "implied", "implied/f"):
        assert stat.S_IMODE((made.top / name).stat().st_mode) == 0o755, name


def test_the_group_of_the_caller_has_no_say(unpack: Unpack) -> None:
    os.setegid(5)
    try:
        made = unpack(archive((b"d/", b""), (b"f", b"x"), link(b"l", b"f"), (b"implied/f", b"")))
    finally:
        os.setegid(0)
    assert {path.lstat().st_gid for path in [made.top, *made.top.rglob("*")]} == {0}


def test_names_that_are_not_utf8(unpack: Unpack) -> None:
    made = unpack(archive((b"\xff\xfe/", b""), (b"\xff\xfe/\xe4", b"x"), link(b"l", b"\xff\xfe")))
    assert os.listdir(os.fsencode(made.top) + b"/\xff\xfe") == [b"\xe4"]
    assert os.readlink(os.fsencode(made.top) + b"/l") == b"\xff\xfe"


def test_sparse_files_have_holes(unpack: Unpack) -> None:
    entry = Entry(b"s", size=1 << 30)
    entry.segments = [(1 << 20, 5), ((1 << 30) - 4096, 4096)]
    entry.payload_bytes = 5 + 4096
    made = unpack(archive((entry, b"hello" + b"x" * 4096)))
    assert (made.top / "s").stat().st_size == 1 << 30
    taken = sum(path.stat().st_blocks for path in made.directory.iterdir() if path.is_file())
    assert (taken or (made.top / "s").stat().st_blocks) * 512 < 1 << 20
    with open(made.top / "s", "rb") as file:
        assert os.lseek(file.fileno(), 1 << 20, os.SEEK_HOLE) <= 2 << 20
        file.seek(1 << 20)
        assert file.read(6) == b"hello\0"


def test_attributes_that_steer_overlayfs_are_dropped(unpack: Unpack) -> None:
    xattrs = {
        b"trusted.overlay.redirect": b"/etc",
        b"trusted.overlay.opaque": b"y",
        b"user.overlay.metacopy": b"",
        b"security.selinux": b"x",
        b"user.kept": b"1",
    }
    directory = Entry(b"d/", DIRECTORY, mode=0o755, xattrs=xattrs)
    made = unpack(
        archive(
            directory,
            (Entry(b"f", xattrs=xattrs), b""),
            Entry(b"l", SYMLINK, link=b"f", xattrs=xattrs),
        )
    )
    assert os.listxattr(made.top / "d") == ["user.kept"]
    assert os.listxattr(made.top / "f") == ["user.kept"]
    assert os.listxattr(made.top / "l", follow_symlinks=False) == []


def test_the_root_has_an_entry_or_none(unpack: Unpack) -> None:
    made = unpack(archive(Entry(b"./", DIRECTORY, mode=0o700, uid=3)), "with")
    assert (made.directory / "root").exists()
    assert stat.S_IMODE(made.top.stat().st_mode) == 0o700 and made.top.stat().st_uid == 3
    assert not (unpack(archive((b"f", b"")), "without").directory / "root").exists()


# --- the same name twice -------------------------------------------------------------------------


def test_later_entries_replace_earlier_ones(unpack: Unpack) -> None:
    made = unpack(
        archive(
            (b"a", b"first"),
            (b"a", b"second"),
            (b"d/x", b"1"),
            (b"d/y", b"2"),
            (b"d", b"now a file"),
            (b"f", b"a file"),
            (b"f/", b""),
            (b"f/x", b"in a directory"),
            (b"real/", b""),
            link(b"l", b"real"),
            (b"l/through", b"the link"),
            (b"l", b"no link any more"),
            hard(b"h", b"a"),
            (b"h", b"own"),
            hard(b"h", b"a"),
            link(b"a2", b"x"),
            link(b"a2", b"y"),
        )
    )
    assert made.tree() == {
        "a": "second",
        "a2": "-> y",
        "d": "now a file",
        "f": "dir",
        "f/x": "in a directory",
        "h": "second",
        "l": "no link any more",
        "real": "dir",
        "real/through": "the link",
    }


def test_a_directory_that_is_named_again_keeps_what_it_has(unpack: Unpack) -> None:
    made = unpack(archive((b"d/", b""), (b"d/x", b"1"), Entry(b"d/", DIRECTORY, mode=0o700)))
    assert made.tree() == {"d": "dir", "d/x": "1"}
    assert stat.S_IMODE((made.top / "d").stat().st_mode) == 0o700


def test_links_within_the_archive_are_followed(unpack: Unpack) -> None:
    """What Debian's merged /usr needs: bin -> usr/bin, then bin/tool."""
    made = unpack(
        archive(
            (b"usr/bin/", b""),
            link(b"bin", b"usr/bin"),
            (b"bin/tool", b"t"),
            link(b"abs", b"/usr"),
            (b"abs/lib/x", b"x"),
        )
    )
    assert made.tree()["usr/bin/tool"] == "t"
    assert made.tree()["usr/lib/x"] == "x"


def test_metadata_stays_with_a_directory_whose_link_is_replaced(unpack: Unpack) -> None:
    made = unpack(
        archive(
            (b"real/", b""),
            link(b"l", b"real"),
            Entry(b"l/d/", DIRECTORY, mode=0o2751, uid=5, mtime_ns=7_000_000_000),
            Entry(b"real/twice/", DIRECTORY, mode=0o700),
            Entry(b"l/twice/", DIRECTORY, mode=0o711),
            link(b"self", b"."),
            Entry(b"self/self/", DIRECTORY, mode=0o705),
            Entry(b"l/", DIRECTORY, mode=0o777),
        )
    )
    status = (made.top / "real/d").stat()
    assert (oct(status.st_mode), status.st_uid, status.st_mtime) == ("0o42751", 5, 7)
    modes = {name: oct((made.top / name).lstat().st_mode) for name in ("real/twice", "self", "l")}
    assert modes == {"real/twice": "0o40711", "self": "0o40705", "l": "0o40777"}


# --- whiteouts: image-spec layer.md, in any order ------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_whiteouts_hide_lower_layers_only(unpack: Unpack, reverse: bool) -> None:
    members: list[tuple[bytes, bytes]] = [
        (b".wh.gone", b""),
        (b".wh.kept", b""),
        (b"kept", b"of this layer"),
        (b"dir/.wh.x", b""),
        (b"dir/new", b"n"),
        (b".wh.tree", b""),
        (b"tree/file", b"t"),
        (b"opaque/.wh..wh..opq", b""),
        (b"opaque/sub/file", b"o"),
        (b"implied/deep/.wh.y", b""),
        (b".wh..wh.plnk/1.2", b"of AUFS"),
        (b".wh..wh.aufs", b""),
    ]
    made = unpack(archive(*(reversed(members) if reverse else members)))
    assert made.tree() == {
        "dir": "dir",
        "dir/new": "n",
        "dir/x": "whiteout",
        "gone": "whiteout",
        "implied": "dir",
        "implied/deep": "dir",
        "implied/deep/y": "whiteout",
        "kept": "of this layer",
        "opaque": "opaque dir",
        "opaque/sub": "dir",
        "opaque/sub/file": "o",
        "tree": "opaque dir",
        "tree/file": "t",
    }


def test_a_whiteout_below_what_became_a_file_is_not_needed(unpack: Unpack) -> None:
    made = unpack(
        archive((b"d/", b""), (b"d/.wh.x", b""), (b"d/.wh..wh..opq", b""), (b"d", b"file"))
    )
    assert made.tree() == {"d": "file"}


def test_an_opaque_root_is_marked(unpack: Unpack) -> None:
    made = unpack(archive((b".wh..wh..opq", b""), (b"f", b"")))
    assert (made.directory / "opaque").exists() and made.tree() == {"f": ""}


def test_a_whiteout_through_a_link_stays_inside(unpack: Unpack) -> None:
    made = unpack(archive((b"real/", b""), link(b"l", b"/real"), (b"l/.wh.x", b"")))
    assert made.tree() == {"l": "-> /real", "real": "dir", "real/x": "whiteout"}


# --- hostile archives ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(b"../evil", b"x")], "leads out of the archive"),
        ([(b"a/../../evil", b"x")], "leads out of the archive"),
        ([(b"/../evil", b"x")], "leads out of the archive"),
        ([(b"..", b"x")], "leads out of the archive"),
        ([link(b"l", b"../outside"), (b"l/evil", b"x")], "leads to nothing in the archive"),
        ([link(b"d/l", b"../../../outside"), (b"d/l/evil", b"x")], "leads to nothing"),
        ([link(b"l", b"/proc/self/root/tmp"), (b"l/evil", b"x")], "leads to nothing"),
        ([link(b"l", b"l"), (b"l/x", b"x")], "Too many levels of symbolic links"),
        ([hard(b"h", b"../outside/canary")], "leads out of the archive"),
        ([hard(b"h", b"/outside/canary")], "invalid hard link"),
        ([hard(b"h", b"missing")], "invalid hard link .*No such file"),
        ([(b"d/", b""), hard(b"h", b"d")], "invalid hard link .*not permitted"),
        ([hard(b"h", b".")], "invalid hard link"),
        ([(b".wh.x", b""), hard(b"h", b".wh.x")], "invalid hard link"),
        ([(b".wh.", b"")], "without a name"),
        ([(b".wh..", b"")], "without a name"),
        ([(b"d/.wh...", b"")], "without a name"),
        ([(b".wh.d/file", b"")], "names that begin with .wh."),
        ([Entry(b"c", CHARACTER)], "0/0 would hide a file"),
        ([link(b".", b"/etc")], "root of an archive is a directory"),
        ([Entry(b"f", uid=(1 << 32) - 1)], "out of range"),
        ([Entry(b"d/", DIRECTORY, gid=1 << 40)], "out of range"),
        ([(b"n" * 256, b"")], "File name too long"),
        ([(b"f", b""), (b"f/x", b"")], "Not a directory"),
        ([link(b"l", b"gone"), hard(b"x", b"l/y")], "invalid hard link"),
    ],
)
def test_hostile_archives_are_refused(
    tmp_path: Path, driver: LayerDriver, members: list[tuple[bytes, bytes] | Entry], message: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("untouched")
    directory = tmp_path / "layer"
    directory.mkdir()
    with pytest.raises(JubakoError, match=message):
        driver.unpack([archive(*members)], str(directory))
    assert os.listdir(tmp_path / "outside") == ["canary"]
    assert (tmp_path / "outside" / "canary").stat().st_nlink == 1
    assert sorted(os.listdir(tmp_path)) == ["layer", "outside"]


def test_what_leads_out_stays_in(unpack: Unpack, tmp_path: Path) -> None:
    """Absolute names and links mean the image's root, as for the container itself."""
    target = os.fsencode(tmp_path / "outside")
    made = unpack(
        archive(
            (target + b"/", b""),
            link(b"out", target),
            (b"out/canary", b"inside"),
            (b"/absolute", b"x"),
            link(b"root", b"/"),
            (b"root/etc/file", b"y"),
            link(b"up", b"../../.."),
            (b"up/file", b"z"),
            link(b"nowhere", b"../../../../etc/passwd"),
        )
    )
    tree = made.tree()
    assert tree[f"{str(tmp_path)[1:]}/outside/canary"] == "inside"
    assert (tree["absolute"], tree["file"], tree["etc/file"]) == ("x", "z", "y")
    assert tree["nowhere"] == "-> ../../../../etc/passwd"


def test_a_link_does_not_become_the_target_of_a_write(unpack: Unpack, tmp_path: Path) -> None:
    target = os.fsencode(tmp_path / "outside/canary")
    made = unpack(archive(link(b"l", target), (b"l", b"a file of its own")))
    assert made.tree() == {"l": "a file of its own"}


def test_deep_paths_work_up_to_the_systems_limit(unpack: Unpack) -> None:
    deep = b"/".join([b"d"] * 2000)
    made = unpack(archive((deep, b"x"), (deep, b"second")))
    assert made.size == len(b"second")
    out = io.BytesIO()
    with TreeTar(str(made.top)) as tar:
        out.write(tar.read())
    assert out.getvalue().count(b"second") == 1


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(max_entries=100), "more than 100 entries"),
        (Limits(max_bytes=1000), "more than 1000 bytes"),
    ],
)
def test_limits_hold(tmp_path: Path, open_driver: OpenDriver, limits: Limits, message: str) -> None:
    data = archive(*((b"f%d" % number, b"0123456789" * 2) for number in range(200)))
    (tmp_path / "layer").mkdir()
    with pytest.raises(InvalidArgument, match=message):
        open_driver(limits).unpack([data], str(tmp_path / "layer"))


def test_a_full_disk_is_a_clear_error(tmp_path: Path, driver: LayerDriver) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount.mount("tmpfs", str(small), "tmpfs", data="size=1m")
    try:
        (small / "layer").mkdir()
        with pytest.raises(KernelError, match="No space left on device") as info:
            driver.unpack([archive((b"f", b"x" * (2 << 20)))], str(small / "layer"))
        assert info.value.hint is not None and "f" in str(info.value)
    finally:
        mount.umount2(str(small))


def test_descriptors_do_not_pile_up(tmp_path: Path, driver: LayerDriver) -> None:
    before = len(os.listdir("/proc/self/fd"))
    members = [(b"d%d/f" % number, b"x") for number in range(500)]
    (tmp_path / "good").mkdir()
    driver.unpack([archive(*members)], str(tmp_path / "good"))
    (tmp_path / "bad").mkdir()
    with pytest.raises(JubakoError):
        driver.unpack([archive(*members, (b"../x", b""))], str(tmp_path / "bad"))
    assert len(os.listdir("/proc/self/fd")) == before


# --- against other programs ----------------------------------------------------------------------


def test_the_result_is_that_of_gnu_tar(tmp_path: Path, unpack: Unpack, debian_tar: Path) -> None:
    """A whole distribution, name for name and attribute for attribute."""
    data = debian_tar.read_bytes()
    made = unpack(data)
    other = tmp_path / "other"
    other.mkdir()
    command = ["tar", "-x", "--numeric-owner", "--same-permissions", "--xattrs", "-C", str(other)]
    subprocess.run(command, input=data, check=True)

    def describe(top: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in [top, *top.rglob("*")]:
            status = path.lstat()
            content = os.readlink(path) if path.is_symlink() else None
            if stat.S_ISREG(status.st_mode):
                content = Digest.of(path.read_bytes())
            found[str(path.relative_to(top))] = (
                stat.S_IFMT(status.st_mode),
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime,
                status.st_rdev,
                content,
                status.st_nlink,
            )
        return found

    assert describe(made.top) == describe(other)


def test_compressed_layers_have_the_same_diff_id(root_dir: Path, storage_driver: str) -> None:
    data = archive((b"f", b"x" * 100_000))
    store = Store(str(root_dir))
    layers = LayerStore(store)
    for stored in (data, gzip.compress(data)):
        with layers.session() as session, LayerStream(iter([stored])) as stream:
            assert session.unpack(stream).diff_id == Digest.of(data)
    assert os.listdir(root_dir / "layers") == [".ingest"]
    assert set(os.listdir(root_dir / "layers" / ".ingest")) <= {"empty"}
    store.close()
