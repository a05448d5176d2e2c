"""The reader against what GNU tar, Python's tarfile and hand-made headers produce."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.images.tar import (
    DIRECTORY,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    Limits,
    TarReader,
)


def header(
    name: bytes = b"f",
    *,
    kind: bytes = b"0",
    size: bytes = b"00000000000",
    magic: bytes = b"ustar\x0000",
    checksum: bytes | None = None,
    **fields: bytes,
) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    places = {"mode": 100, "uid": 108, "gid": 116, "mtime": 136, "link": 157, "prefix": 345}
    values = {"mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "mtime": b"00000000000"}
    for field, value in {**values, **fields}.items():
        block[places[field] : places[field] + len(value)] = value
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = magic
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    data = b"".join(records)
    return header(b"pax", kind=kind, size=b"%011o" % len(data)) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


END = bytes(1024)


def read(data: bytes, limits: Limits | None = None, step: int = 700) -> list[tuple[Entry, bytes]]:
    """All entries with their content, from an archive that comes in awkward pieces."""
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    reader = TarReader(pieces, limits=limits)
    found = [(entry, b"".join(map(bytes, reader.payload()))) for entry in reader]
    reader.drain()
    assert reader.position == len(data)
    return found


def test_a_plain_ustar_entry() -> None:
    data = header(b"dir/f", size=b"00000000003", mode=b"0004755", uid=b"0001750") + padded(b"abc")
    ((entry, content),) = read(data + END)
    assert (entry.name, entry.kind, content) == (b"dir/f", REGULAR, b"abc")
    assert (entry.mode, entry.uid, entry.gid, entry.size) == (0o4755, 1000, 0, 3)


def test_the_prefix_belongs_to_posix_headers_only() -> None:
    assert read(header(b"n", prefix=b"p") + END)[0][0].name == b"p/n"
    assert read(header(b"n", prefix=b"p", magic=b"ustar  \0") + END)[0][0].name == b"n"


def test_numbers_in_base_256() -> None:
    data = header(
        uid=b"\x80\0\0\0\x01\0\0\0", mtime=b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    )
    entry = read(data + END)[0][0]
    assert (entry.uid, entry.mtime_ns) == (1 << 24, -1_000_000_000)


def test_numbers_padded_with_blanks_or_empty() -> None:
    entry = read(header(mode=b"   644 ", uid=b"\0" * 7, gid=b" " * 7) + END)[0][0]
    assert (entry.mode, entry.uid, entry.gid) == (0o644, 0, 0)


def test_pax_records_override_the_header() -> None:
    data = pax(
        record(b"path", "ünï".encode()),
        record(b"linkpath", b"target"),
        record(b"uid", b"4000000000"),
        record(b"mtime", b"1.5"),
        record(b"SCHILY.xattr.user.a", b"x=\n\0y"),
    )
    entry = read(data + header(b"short", kind=b"2") + END)[0][0]
    assert (entry.name, entry.link, entry.uid) == ("ünï".encode(), b"target", 4_000_000_000)
    assert entry.mtime_ns == 1_500_000_000
    assert entry.xattrs == {b"user.a": b"x=\n\0y"}


def test_pax_size_beats_the_field() -> None:
    data = pax(record(b"size", b"3")) + header() + padded(b"abc")
    assert read(data + END)[0][1] == b"abc"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"-1.5", -1_500_000_000),
        (b"0.000000001", 1),
        (b"7.1234567899", 7_123_456_789),
        (b"99999999999999999999", (1 << 33) * 1_000_000_000),
    ],
)
def test_pax_times(text: bytes, expected: int) -> None:
    assert read(pax(record(b"mtime", text)) + header() + END)[0][0].mtime_ns == expected


def test_global_records_last_until_they_are_taken_back() -> None:
    data = (
        pax(record(b"uid", b"7"), record(b"gid", b"8"), kind=b"g")
        + header(b"a")
        + pax(record(b"uid", b"9"))
        + header(b"b")
        + pax(record(b"uid", b""), kind=b"g")
        + header(b"c")
    )
    owners = [(entry.uid, entry.gid) for entry, _ in read(data + END)]
    assert owners == [(7, 8), (9, 8), (0, 8)]


def test_gnu_long_names() -> None:
    name, link = b"n" * 300, b"l" * 200
    data = (
        header(b"././@LongLink", kind=b"K", size=b"%011o" % 201, magic=b"ustar  \0")
        + padded(link + b"\0")
        + header(b"././@LongLink", kind=b"L", size=b"%011o" % 301, magic=b"ustar  \0")
        + padded(name + b"\0")
        + header(b"n" * 100, kind=b"2", magic=b"ustar  \0")
    )
    entry = read(data + END)[0][0]
    assert (entry.name, entry.link, entry.kind) == (name, link, SYMLINK)


def test_old_directories_are_files_with_a_slash() -> None:
    assert read(header(b"d/", kind=b"\0", magic=b"\0" * 8) + END)[0][0].kind == DIRECTORY


def test_links_have_no_content_whatever_their_size() -> None:
    data = header(b"l", kind=b"1", link=b"f", size=b"00000001000") + header(b"next")
    found = [entry.name for entry, _ in read(data + END)]
    assert found == [b"l", b"next"]


def test_checksums_of_signed_characters_are_accepted() -> None:
    block = bytearray(header("ä".encode()))
    block[148:156] = b"        "
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert read(bytes(block) + END)[0][0].name == "ä".encode()


def test_an_archive_may_end_without_its_mark() -> None:
    assert len(read(header())) == 1
    assert len(read(header() + bytes(512))) == 1
    assert read(b"") == []


def test_bytes_after_the_end_are_read() -> None:
    assert len(read(header() + END + b"garbage" * 100)) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 512, "not a number|checksum"),
        (header(checksum=b"0000000\0"), "checksum"),
        (header(b"") + END, "no name"),
        (header(mode=b"00x0644") + END, "mode is not a number"),
        (header(mode=b"-000644") + END, "mode is not a number"),
        (header(size=b"\xff" * 12) + END, "negative size"),
        (header(size=b"00000001000") + b"short", "truncated"),
        (header()[:300], "truncated"),
        (header() + bytes(512) + header(), "zero block"),
        (header(kind=b"Z") + END, "unhandled tar header type 90"),
        (header(b"l", kind=b"1") + END, "no target"),
        (header(b"d/", size=b"00000001000") + bytes(512) + END, "has content"),
        (pax(b"3 a\n") + header() + END, "length|key"),
        (pax(b"9 path=abc\n") + header() + END, "wrong length"),
        (pax(b"99999999999999999999 a=b\n") + header() + END, "wrong length"),
        (pax(b"x") + header() + END, "no length"),
        (pax(record(b"path", b"a\0b")) + header() + END, "zero byte"),
        (pax(record(b"size", b"-1")) + header() + END, "size is not a number"),
        (pax(record(b"uid", b"1e5")) + header() + END, "uid is not a number"),
        (pax(record(b"mtime", b"now")) + header() + END, "not a time"),
        (pax(record(b"path", b"x")) + END, "belongs to no file"),
        (pax(record(b"path", b"x" * 5000)) + header() + END, "more than 4095 bytes"),
    ],
)
def test_malformed_archives_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read(data)


@pytest.mark.parametrize(
    ("limits", "data", "message"),
    [
        (Limits(max_entries=2), header() * 3, "more than 2 entries"),
        (Limits(max_entries=2), pax(record(b"a", b"b")) * 3, "more than 2 entries"),
        (Limits(max_header_bytes=100), pax(record(b"a", b"b" * 200)), "more than 100"),
        (Limits(max_bytes=500), header(size=b"00000001000"), "more than 500 bytes"),
        (Limits(max_trailer_bytes=10), header() + END + b"x" * 11, "after its end"),
    ],
)
def test_limits(limits: Limits, data: bytes, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        read(data, limits)


def test_what_is_not_payload_is_seen_raw() -> None:
    data = header(b"a", size=b"00000000003") + padded(b"abc") + header(b"b") + END + b"tail"
    raw = bytearray()
    reader = TarReader([data[at : at + 100] for at in range(0, len(data), 100)], on_raw=raw.extend)
    for _ in reader:
        for _ in reader.payload():
            pass
    reader.drain()
    assert bytes(raw) == data.replace(b"abc", b"", 1)


# --- other people's archives ---------------------------------------------------------------------


def gnu_tar(directory: Path, *options: str) -> bytes:
    program = shutil.which("tar")
    assert program is not None
    command = [program, "-cf", "-", "-C", str(directory), "--sort=name", *options, "."]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture
def sparse_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    with open(tree / "sparse", "wb") as file:
        for offset in range(0, 40 << 20, 1 << 20):  # 40 pieces: more than a header holds
            file.seek(offset)
            file.write(b"%d" % offset)
        file.truncate(64 << 20)
    with open(tree / "hole", "wb") as file:
        file.truncate(1 << 20)
    (tree / ("long" * 40)).write_bytes(b"x")
    (tree / "link").symlink_to("t" * 150)
    (tree / "hard").hardlink_to(tree / ("long" * 40))
    return tree


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=gnu", "--sparse"],
        ["--format=posix", "--sparse"],
        ["--format=posix", "--sparse", "--sparse-version=0.1"],
        ["--format=posix", "--sparse", "--sparse-version=0.0"],
    ],
    ids=" ".join,
)
def test_gnu_tars_formats(sparse_tree: Path, options: list[str]) -> None:
    found = {entry.name: (entry, data) for entry, data in read(gnu_tar(sparse_tree, *options))}
    assert found[b"./link"][0].link == b"t" * 150
    long_name = b"./" + b"long" * 40
    # whichever comes first carries the content
    kinds = {found[b"./hard"][0].kind, found[long_name][0].kind}
    assert kinds == {REGULAR, HARDLINK}
    entry, data = found[b"./sparse"]
    content = bytearray(entry.size)
    at = 0
    for offset, length in entry.segments or [(0, entry.size)]:
        content[offset : offset + length] = data[at : at + length]
        at += length
    assert at == len(data)
    assert bytes(content) == (sparse_tree / "sparse").read_bytes()
    assert found[b"./hole"][0].size == 1 << 20
    if "--sparse" in options:
        assert len(data) < 1 << 20
        assert found[b"./hole"][0].segments == []


@pytest.mark.parametrize(
    "pieces",
    [
        b"1\n0\n",  # no length
        b"1\n0\n5\n",  # longer than the file
        b"2\n2\n1\n1\n1\n",  # not in order
        b"99999999\n",  # more than allowed
        b"x\n",
        b"1" * 600,
    ],
)
def test_bad_sparse_maps_are_refused(pieces: bytes) -> None:
    data = (
        pax(
            record(b"GNU.sparse.major", b"1"),
            record(b"GNU.sparse.minor", b"0"),
            record(b"GNU.sparse.realsize", b"3"),
            record(b"GNU.sparse.name", b"s"),
        )
        + header(size=b"%011o" % (len(padded(pieces)) + 1))
        + padded(pieces)
        + padded(b"x")
        + END
    )
    with pytest.raises(InvalidArgument):
        read(data)


names = st.binary(min_size=1, max_size=300).filter(
    lambda name: b"\0" not in name and not name.endswith(b"/")
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            names, st.binary(max_size=2000), st.integers(0, 1 << 33), st.integers(0, 1 << 30)
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 3000),
)
def test_what_tarfile_writes_is_read(
    members: list[tuple[bytes, bytes, int, int]], format: int, step: int
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, errors="surrogateescape") as tar:
        for name, content, mtime, uid in members:
            entry = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            entry.size, entry.mtime, entry.uid = len(content), mtime, uid
            tar.addfile(entry, io.BytesIO(content))
    found = [
        (entry.name, content, entry.mtime_ns // 10**9, entry.uid)
        for entry, content in read(out.getvalue(), step=step)
    ]
    assert found == members


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_archives_never_do_worse_than_an_error(data: st.DataObject) -> None:
    archive = bytearray(
        pax(record(b"path", b"p" * 120), record(b"SCHILY.xattr.user.x", b"v"))
        + header(size=b"00000000100")
        + padded(b"c" * 64)
        + header(b"l", kind=b"2", link=b"t")
        + END
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(archive)))

    def pieces() -> Iterator[bytes]:
        yield bytes(archive[:cut])

    reader = TarReader(pieces())
    try:
        for entry in reader:
            assert len(entry.name) <= 4095
            for _ in reader.payload():
                pass
        reader.drain()
    except InvalidArgument:
        return


# Fields that say too much, too little, something negative, or nothing that is a number.
FIELDS = st.one_of(
    st.integers(0, 0o77777).map(lambda value: b"%o" % value),
    st.integers(-(1 << 62), 1 << 62).map(
        lambda value: b"\x80" + value.to_bytes(11, "big", signed=True)
    ),
    st.sampled_from([b"", b" ", b"\0", b"-1", b"8", b"0o7", b"1_0", b"77777777777", b"\xff" * 12]),
    st.binary(max_size=12),
)
TYPES = st.sampled_from([bytes([kind]) for kind in b"0\x007123456SxgXLKVDMNA\xff"])
NAMES = st.one_of(
    st.sampled_from([b"", b"f", b"d/", b"/", b"..", b"a/../b", b"\xff", b"f" * 100, b"\0f"]),
    st.binary(max_size=100),
)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(
            b"path linkpath size uid gid mtime uname gname SCHILY.xattr. SCHILY.xattr.user.x"
            b" GNU.sparse.major GNU.sparse.minor GNU.sparse.map GNU.sparse.size GNU.sparse.name"
            b" GNU.sparse.realsize GNU.sparse.offset GNU.sparse.numbytes charset".split()
        ),
        st.one_of(
            st.integers(-2, 1 << 70).map(lambda value: b"%d" % value),
            st.sampled_from([b"", b"0", b"1", b"0,1", b"1,0,5,1", b"-1", b"1.5", b"1e9", b"a\0b"]),
            st.binary(max_size=20),
        ),
    ),
    max_size=5,
)
PAYLOADS = st.one_of(
    st.binary(max_size=600), st.sampled_from([b"1\n0\n1\n", b"99999999\n", b"0\n", b"1\n" * 300])
)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header with a right checksum, and something after it that may be its content."""
    kind = draw(TYPES)
    fields = {name: draw(FIELDS) for name in ("mode", "uid", "gid", "mtime")}
    payload = draw(PAYLOADS)
    if kind in b"xg" and draw(st.booleans()):
        payload = b"".join(record(key, value) for key, value in draw(RECORDS))
    size = b"%011o" % len(payload) if draw(st.booleans()) else draw(FIELDS)
    block = header(
        draw(NAMES),
        kind=kind,
        size=size[:12],
        magic=draw(st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8)])),
        link=draw(NAMES),
        **{name: value[: 12 if name == "mtime" else 8] for name, value in fields.items()},
    )
    return block + padded(payload)


@settings(max_examples=400, deadline=None)
@given(st.lists(headers(), max_size=4), st.sampled_from([END, b"", bytes(512)]))
def test_whatever_headers_say_entries_can_be_relied_on(archive: list[bytes], end: bytes) -> None:
    data = b"".join(archive) + end
    limits = Limits(max_bytes=1 << 40, max_segments=100, max_header_bytes=5000)
    reader = TarReader([data], limits=limits)
    try:
        for entry in reader:
            assert 0 < len(entry.name) <= 4095 and b"\0" not in entry.name + entry.link
            assert entry.kind in (b"0", b"1", b"2", b"3", b"4", b"5", b"6")
            assert 0 <= entry.size <= 1 << 40
            assert entry.kind == REGULAR or entry.size == entry.payload_bytes == 0
            assert 0 <= entry.mode <= 0o7777
            assert -(1 << 31) * 10**9 <= entry.mtime_ns <= (1 << 33) * 10**9
            assert all(entry.xattrs)
            if entry.segments is not None:
                ends = 0
                for offset, length in entry.segments:
                    assert ends <= offset and length > 0
                    ends = offset + length
                assert ends <= entry.size
                assert sum(length for _, length in entry.segments) == entry.payload_bytes
            taken = sum(len(piece) for piece in reader.payload())
            assert taken == entry.payload_bytes
        reader.drain()
        assert reader.position == len(data)
    except InvalidArgument as exc:
        assert str(exc).isprintable() and len(str(exc)) < 500
