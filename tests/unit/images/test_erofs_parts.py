"""The parts of the EROFS writer that need no kernel; what it mounts is tested elsewhere."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images.layers.erofs import acl, format
from jubako.images.layers.erofs import tree as tree_module
from jubako.images.layers.erofs.listing import pack
from jubako.images.layers.erofs.namespace import Namespace, Unresolved
from jubako.images.layers.erofs.output import Output
from jubako.images.layers.erofs.sparse import Plan
from jubako.images.layers.erofs.tree import Tree
from jubako.images.layers.whiteout import Whiteouts

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: not set(name) & {0, 0x2F})


# --- the format ----------------------------------------------------------------------------------


def test_the_superblock_is_where_the_kernel_looks() -> None:
    block = format.superblock(
        root=48, inodes=7, blocks=9, xattr_block=8, uuid=b"u" * 16, tar_blocks=1000
    )
    assert len(block) == format.BLOCK_BYTES
    magic, _, compatible, bits = struct.unpack_from("<IIIB", block)
    assert (magic, compatible, bits) == (0xE0F5E1E2, 3, 9)
    slot = format.DEVICE_SLOT * 128 - format.SUPER_OFFSET
    assert struct.unpack_from("<64xI", block, slot) == (1000,)


def test_the_checksum_is_crc32c() -> None:
    """The check value of CRC-32C, RFC 3720 B.4, before the last inversion."""
    assert format._crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize(
    ("size", "bits"),
    [(0, 9), (1, 9), (512, 9), (513, 10), (1 << 20, 20), ((1 << 20) + 1, 21), (1 << 43, 40)],
)
def test_chunks_hold_a_file(size: int, bits: int) -> None:
    assert format.chunk_bits(size) == bits


@given(st.integers(0, (1 << 12) - 1), st.integers(0, (1 << 20) - 1))
def test_device_numbers_come_back(major: int, minor: int) -> None:
    assert format.of_device_number(format.device_number(major, minor)) == (major, minor)


# --- names ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), NAMES, st.integers(0, 1000)), max_size=60))
def test_a_tree_finds_what_was_added_last(rows: list[tuple[int, bytes, int]]) -> None:
    tree = Tree()
    expected: dict[tuple[int, bytes], int] = {}
    for directory, name, reference in rows:
        row = tree.find(directory, name)
        assert bool(row) == ((directory, name) in expected)
        if row:
            tree.replace(row, format.FILE, reference)
        else:
            tree.add(directory, name, format.FILE, reference)
        expected[directory, name] = reference
    for (directory, name), reference in expected.items():
        row = tree.find(directory, name)
        assert (tree.name(row), tree.references[row]) == (name, reference)
    assert len(tree) == len(expected) + 1


def test_a_tree_grows() -> None:
    tree = Tree()
    for number in range(5000):
        tree.add(number % 7, b"%d" % number, format.FILE, number)
    for number in range(5000):
        assert tree.references[tree.find(number % 7, b"%d" % number)] == number
        assert not tree.find((number + 1) % 7, b"%d" % number)


@given(st.lists(NAMES, unique=True, max_size=50), st.integers(1, 60))
def test_names_are_in_order_also_by_parts(names: list[bytes], run: int) -> None:
    tree = Tree()
    for number, name in enumerate(names):
        tree.add(0, name, format.FILE, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_module, "_RUN", run)
        ((directory, rows, below),) = tree.listing(1)
        found = list(tree.in_order(rows, b".", b".."))
    assert (directory, below) == (0, 0)
    # A file cannot be called `.` in an archive, but here it may: only the order matters.
    assert [name for name, _ in found] == sorted([*names, b".", b".."])
    assert {name: tree.references[row] for name, row in found if row} == {
        name: number for number, name in enumerate(names)
    }


def test_a_listing_leaves_out_what_cannot_be_reached() -> None:
    tree = Tree()
    tree.add(0, b"gone", format.DIRECTORY, 1)
    tree.add(1, b"below", format.DIRECTORY, 2)
    tree.add(2, b"file", format.FILE, 9)
    tree.add(0, b"kept", format.DIRECTORY, 3)
    tree.replace(tree.find(0, b"gone"), format.FILE, 8)
    assert [(number, len(rows), below) for number, rows, below in tree.listing(4)] == [
        (0, 2, 1),
        (3, 0, 0),
    ]


@given(st.lists(NAMES, unique=True, min_size=1, max_size=40))
def test_blocks_of_a_directory(names: list[bytes]) -> None:
    names.sort()
    blocks = list(pack((name, number, format.FILE) for number, name in enumerate(names)))
    assert all(len(block) == format.BLOCK_BYTES for block in blocks[:-1])
    found = []
    for block in blocks:
        count = format.DIRENT.unpack_from(block)[1] // format.DIRENT.size
        starts = [format.DIRENT.unpack_from(block, 12 * number) for number in range(count)]
        for (number, start, _, _), end in zip(
            starts, [row[1] for row in starts[1:]] + [len(block)], strict=True
        ):
            found.append((block[start:end].rstrip(b"\0"), number))
    assert found == [(name, number) for number, name in enumerate(names)]


# --- paths ---------------------------------------------------------------------------------------


class World:
    """A namespace with links, whose reference is an index into a list of targets."""

    def __init__(self, max_implied: int = 1000):
        self._targets: list[bytes] = []
        self.names = Namespace(max_implied, lambda reference: self._targets[reference])

    def link(self, path: bytes, target: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        self._targets.append(target)
        number = len(self._targets) - 1
        self.names.tree.add(self.names.directory(parent), name, format.SYMLINK, number)

    def file(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        self.names.tree.add(self.names.directory(parent), name, format.FILE, 0)


def test_paths_lead_through_links() -> None:
    world = World()
    usr = world.names.directory(b"usr")
    library = world.names.directory(b"usr/lib")
    world.link(b"lib", b"usr/lib")
    world.link(b"absolute", b"/usr/./lib//")
    world.link(b"usr/lib/up", b"..")
    world.link(b"out", b"../../..")
    world.link(b"chain", b"out/absolute/up/lib/up")
    for path, expected in [
        (b"lib", library), (b"absolute", library), (b"lib/up", usr), (b"out", 0), (b"chain", usr),
        (b"chain/lib/up/lib", library), (b"out/usr", usr), (b"", 0),
    ]:  # fmt: skip
        assert world.names.directory(path, make=False) == expected, path
    assert world.names.directory(b"lib/new/deep") == world.names.directory(b"usr/lib/new/deep")


def test_paths_that_lead_nowhere() -> None:
    world = World()
    world.file(b"d/file")
    world.link(b"dangling", b"missing/x")
    world.link(b"a", b"b")
    world.link(b"b", b"a")
    world.link(b"to-file", b"d/file")
    for path, number in [
        (b"d/file", errno.ENOTDIR), (b"d/file/x", errno.ENOTDIR), (b"to-file/x", errno.ENOTDIR),
        (b"a/x", errno.ELOOP),
    ]:  # fmt: skip
        with pytest.raises(Unresolved) as info:
            world.names.directory(path)
        assert info.value.errno == number
    for path in (b"nothing", b"d/nothing/x", b"dangling", b"dangling/x"):
        with pytest.raises(Unresolved) as info:
            world.names.directory(path, make=False)
        assert info.value.errno == errno.ENOENT
    with pytest.raises(InvalidArgument, match="'dangling' is a link that leads to nothing"):
        world.names.directory(b"dangling/x")


def test_implied_directories_are_counted() -> None:
    world = World(max_implied=3)
    world.names.directory(b"a/b/c")
    with pytest.raises(InvalidArgument, match="more than 3 directories"):
        world.names.directory(b"a/d")


def test_what_was_replaced_is_forgotten() -> None:
    world = World()
    old = world.names.directory(b"d")
    tree = world.names.tree
    tree.replace(tree.find(0, b"d"), format.DIRECTORY, world.names.directories.add(0))
    assert world.names.directory(b"d") == old
    world.names.replaced()
    assert world.names.directory(b"d") != old


# --- sparse files --------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_chunks_show_the_content(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 60_000))
    borders = sorted(data.draw(st.lists(st.integers(0, size), max_size=20)))
    segments = [(a, b - a) for a, b in zip(borders[::2], borders[1::2], strict=False) if a < b]
    expected = bytearray(size)
    payload = b""
    for number, (offset, length) in enumerate(segments):
        piece = bytes([number + 1]) * length
        expected[offset : offset + length] = piece
        payload += piece
    start = 512 * data.draw(st.integers(0, 3))
    device = {format.TAR_DEVICE: bytes(start) + payload + b"\xee" * 1024}
    with tempfile.TemporaryFile() as file:
        out = Output(file.fileno())
        out.append(b"before")
        plan = Plan(segments, size, start, out.align(format.BLOCK_BYTES))
        if plan.copied_bytes:
            out.reserve(plan.copied_bytes)
            cut = data.draw(st.integers(1, 5000))
            pieces = (memoryview(payload)[at : at + cut] for at in range(0, len(payload), cut))
            plan.copy(pieces, out)
        out.finish()
        file.seek(0)
        device[0] = file.read() + bytes(1 << plan.bits)
    found = bytearray()
    for _, number, block in format.CHUNK_INDEX.iter_unpack(plan.indexes()):
        at = block * format.BLOCK_BYTES
        step = 1 << plan.bits
        found += bytes(step) if block == format.HOLE else device[number][at : at + step].ljust(step)
    assert found[:size] == expected
    assert size <= len(found) < size + (1 << plan.bits)


@pytest.mark.parametrize(
    ("segments", "size", "bits", "copied"),
    [
        ([], 8 << 40, 40, 0),  # the largest chunks there are
        ([(0, 4096)], 1 << 30, 21, 2 << 20),  # little data: large chunks, and a copy of one
        ([(n << 20, 1 << 20) for n in range(0, 1000, 2)], 1 << 30, 20, 0),  # GNU tar's: no copy
        ([(0, 1 << 30)], 1 << 30, 31, 0),
        ([(1, 1)], 2, 9, 512),
    ],
)
def test_the_size_of_chunks(
    segments: list[tuple[int, int]], size: int, bits: int, copied: int
) -> None:
    plan = Plan(segments, size, 512, 1 << 20)
    assert (plan.bits, plan.copied_bytes) == (bits, copied)


# --- rules ---------------------------------------------------------------------------------------


def test_access_lists() -> None:
    def make(*entries: tuple[int, int, int]) -> bytes:
        return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

    minimal = acl.parse(make((1, 7, 0), (4, 5, 0), (32, 1, 0)))
    assert acl.is_minimal(minimal) and acl.change_mode(0o4777, minimal) == 0o4751
    masked = acl.parse(make((1, 6, 0), (4, 7, 0), (16, 2, 0), (32, 0, 0)))
    assert not acl.is_minimal(masked) and acl.change_mode(0, masked) == 0o620
    assert acl.parse(make()) == {}
    for bad in (
        b"", b"\2\0\0", make((1, 8, 0)), make((4, 7, 0)), make((1, 7, 0)), make((64, 7, 0)),
        make((1, 7, 0), (4, 7, 0), (8, 7, 5), (32, 7, 0)), make((1, 7, 0), (32, 7, 0)),
        make((1, 7, 0), (4, 7, 0), (32, 7, 0), (32, 7, 0)), b"\1\0\0\0",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="ACL"):
            acl.parse(bad)


def test_whiteouts_are_bounded() -> None:
    kept: list[int] = []
    whiteouts = Whiteouts(kept.append)
    for path in (b"a/.wh.x", b".wh.y", b"a/.wh..wh..opq", b".wh..wh..opq", b".wh..wh.aufs"):
        whiteouts.add(path)
    assert list(whiteouts.hidden()) == [(b"a", b"x"), (b"", b"y")]
    assert list(whiteouts.opaque()) == [b"a", b""]
    assert sum(kept) == len(b"a/x\0y\0a\0\0")


def test_output_is_what_was_written() -> None:
    with tempfile.TemporaryFile() as file:
        out = Output(file.fileno())
        assert out.append(b"abc") == 0
        assert out.align(8) == 8
        hole = out.reserve(1000)
        assert (hole, out.position) == (512, 1512)
        out.append(b"end")
        out.put(hole + 1, b"hole")
        out.put(1513, b"N")
        assert out.read(1512, 3) == b"eNd"
        out.finish()
        data = os.pread(file.fileno(), 1 << 16, 0)
    assert data[:8] == b"abc" + bytes(5) and data[513:517] == b"hole" and data[1512:1515] == b"eNd"
    assert len(data) == 4096


def test_an_index_has_an_end() -> None:
    with tempfile.TemporaryFile() as file:
        out = Output(file.fileno())
        with pytest.raises(InvalidArgument, match="does not fit into an EROFS image"):
            out.reserve(1 << 41)


_MEMORY = """
import os, sys, tempfile
from jubako.images.layers.erofs.build import build
from jubako.images.tar import Entry, TarWriter

def archive(count):
    parts = []
    writer = TarWriter(lambda data: parts.append(bytes(data)))
    for number in range(count):
        writer.add(Entry(sys.argv[1].encode() % number, size=5), [b"hello"])
        if len(parts) > 1000:
            yield b"".join(parts)
            parts.clear()
    writer.close()
    yield b"".join(parts)

with tempfile.TemporaryFile() as file:
    build(archive(200_000), file.fileno())
with open("/proc/self/status") as status:  # not ru_maxrss, which begins with the parent's
    print(next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["d/file-%07d.txt", "usr/share/%d/file.txt"])
def test_200_000_names_fit_into_60_megabytes(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, name], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60
