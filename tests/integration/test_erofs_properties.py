"""Any archive gives an index that the kernel mounts and that shows what it should, or an error."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jubako.errors import JubakoError
from jubako.images.tar import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
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

MANY = settings(
    max_examples=int(os.environ.get("JUBAKO_TEST_EXAMPLES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

names = st.sampled_from([b"a", b"b", b"c", b"d"])
odd_names = st.sampled_from(
    [b".", b"..", b"", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh..wh.x", b"n" * 255, b"n" * 256]
)
paths = st.lists(
    st.one_of(names, names, names, names, names, odd_names), min_size=1, max_size=4
).map(b"/".join)
kinds = st.sampled_from(
    [REGULAR, REGULAR, REGULAR, DIRECTORY, DIRECTORY, SYMLINK, SYMLINK, HARDLINK, FIFO, CHARACTER]
)


@st.composite
def members(draw: st.DrawFn) -> Entry | tuple[Entry, bytes]:
    kind = draw(kinds)
    entry = Entry(draw(paths), kind, mode=0o755, mtime_ns=10**9)
    if kind == REGULAR:
        content = draw(st.binary(max_size=20))
        entry.size = entry.payload_bytes = len(content)
        return entry, content
    if kind in (SYMLINK, HARDLINK):
        entry.link = draw(st.sampled_from([b"", b"", b"/", b"../"])) + draw(paths)
    elif kind == CHARACTER:
        entry.minor = draw(st.integers(0, 3))
    return entry


@contextmanager
def workplace() -> Iterator[Path]:
    path = tempfile.mkdtemp(prefix="erofs")
    try:
        yield Path(path)
    finally:
        remove_tree(path)


def names_and_content(tree: Tree) -> Tree:
    """What does not depend on when a directory was made, and by which of its names."""
    for facts in tree.values():
        del facts["links"]
        if str(facts["mode"]).startswith("0o40") or facts.get("device") == (0, 0):
            del facts["mtime"]
    return tree


@MANY
@given(st.lists(members(), max_size=25))
@example([Entry(b"a", SYMLINK, link=b"a"), Entry(b"a/b", DIRECTORY)])
def test_names_and_links_are_those_of_a_plain_unpack(
    archive: list[Entry | tuple[Entry, bytes]],
) -> None:
    data = tar(*archive)
    with workplace() as top:
        refused = plain_refused = ""
        size = plain_size = 0
        try:
            plain_size = unpack_plainly(data, top / "plain")
        except JubakoError as exc:
            plain_refused = str(exc)
        try:
            size = unpack(data, top / "layer")
        except JubakoError as exc:
            refused = str(exc)
        assert bool(refused) == bool(plain_refused), (refused, plain_refused)
        if refused:
            return
        assert size == plain_size
        with mounted(top / "layer") as shown:
            found = names_and_content(describe(shown))
        expected = names_and_content(describe(top / "plain/diff"))
        assert differences(found, expected) == []


metadata = st.builds(
    Entry,
    st.binary(min_size=1, max_size=60).map(
        lambda name: b"x" + name.replace(b"/", b"").replace(b"\0", b"")
    ),
    st.sampled_from([REGULAR, DIRECTORY, SYMLINK, FIFO, CHARACTER, BLOCK]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, (1 << 32) - 2),
    gid=st.integers(0, (1 << 32) - 2),
    # One second more than there is: ext4 has no fractions of the first one.
    mtime_ns=st.integers((-(1 << 31) + 1) * 10**9, (1 << 33) * 10**9),
    link=st.binary(min_size=1, max_size=1000).map(lambda link: link.replace(b"\0", b"/")),
    major=st.integers(1, (1 << 12) - 1),
    minor=st.integers(0, (1 << 20) - 1),
    xattrs=st.dictionaries(
        st.sampled_from([b"user.", b"trusted.", b"security.x", b"odd."]).flatmap(
            lambda prefix: st.binary(min_size=1, max_size=20).map(
                lambda name: prefix + name.replace(b"\0", b"").replace(b"=", b"") + b"x"
            )
        ),
        st.binary(max_size=300),
        max_size=4,
    ),
)


@MANY
@given(st.lists(metadata, max_size=8, unique_by=lambda entry: entry.name))
def test_metadata_is_that_of_a_plain_unpack(entries: list[Entry]) -> None:
    data = tar(*entries)
    with workplace() as top:
        unpack_plainly(data, top / "plain")
        unpack(data, top / "layer")
        with mounted(top / "layer") as shown:
            found = describe(shown)
        expected = describe(top / "plain/diff")
        del found[b""]["mtime"], expected[b""]["mtime"]
        assert differences(found, expected) == []


@MANY
@given(st.data())
def test_sparse_files_have_their_content(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([0, 1, 511, 512, 513, 5000, 40_000, 300_000]))
    unit = data.draw(st.sampled_from([1, 1, 512, 4096]))
    borders = sorted(
        min(border * unit, size)
        for border in data.draw(st.lists(st.integers(0, size // unit + 1), max_size=16))
    )
    segments = [
        (start, end - start)
        for start, end in zip(borders[::2], borders[1::2], strict=False)
        if end > start
    ]
    expected = bytearray(size)
    pieces = []
    for number, (offset, length) in enumerate(segments):
        pieces.append(random.Random(number).randbytes(length))
        expected[offset : offset + length] = pieces[-1]
    entry = Entry(b"sparse", size=size)
    entry.segments = segments
    entry.payload_bytes = sum(map(len, pieces))
    before = Entry(b"before", size=700)
    archive = tar((before, b"b" * 700), (entry, b"".join(pieces)), (Entry(b"z", size=1), b"z"))
    chunk = data.draw(st.sampled_from([100, 512, 3000, 1 << 20]))
    with workplace() as top:
        unpack((archive[at : at + chunk] for at in range(0, len(archive), chunk)), top / "layer")
        with mounted(top / "layer") as shown:
            assert (shown / "sparse").read_bytes() == expected
            assert (shown / "before").read_bytes() == b"b" * 700
            assert (shown / "z").read_bytes() == b"z"


def _samples() -> list[bytes]:
    found = []
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
            for name in ("d", "d/file", "d/link", "d/hard", "p" * 90 + "/" + "q" * 60, "dev"):
                info = tarfile.TarInfo(name)
                info.type = {
                    "d": tarfile.DIRTYPE, "d/link": tarfile.SYMTYPE, "d/hard": tarfile.LNKTYPE,
                    "dev": tarfile.CHRTYPE,
                }.get(name, tarfile.REGTYPE)  # fmt: skip
                info.linkname = "d/file" if name in ("d/link", "d/hard") else ""
                info.devmajor = 1
                info.mtime = 1.5
                if kind == tarfile.PAX_FORMAT:
                    info.pax_headers = {"SCHILY.xattr.user.x": "v", "SCHILY.xattr.trusted.y": "w"}
                content = b"content" * 100 if name.endswith("file") else b""
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        found.append(out.getvalue())
    entry = Entry(b"sparse", size=9000)
    entry.segments = [(0, 512), (4096, 1000), (8999, 1)]
    entry.payload_bytes = 1513
    found.append(tar((entry, b"s" * 1513)))
    return found


SAMPLES = _samples()


def with_sums(data: bytearray) -> bytes:
    """The archive with right checksums where a header may be, so that more of it is looked at."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b"        "
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


@MANY
@given(
    st.sampled_from(range(len(SAMPLES))),
    st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 1 << 14),
    st.booleans(),
)
def test_a_damaged_archive_is_refused_or_mounts(
    number: int, changes: list[tuple[int, int]], end: int, is_cut: bool
) -> None:
    damaged = bytearray(SAMPLES[number])
    for at, value in changes:
        damaged[at % len(damaged)] = value
    data = with_sums(damaged)
    if is_cut:
        data = data[: end % len(data)]
    with workplace() as top:
        try:
            unpack(data, top / "layer")
        except JubakoError:
            return
        with mounted(top / "layer") as shown:
            describe(shown)
        assert (top / "layer/tar").read_bytes() == data
        assert sorted(set(os.listdir(top / "layer")) - {"root", "opaque"}) == [
            "index", "tar", "tree",
        ]  # fmt: skip
