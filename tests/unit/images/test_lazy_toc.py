"""Tables of contents are read strictly: what is accepted can be used, all else is refused."""

from __future__ import annotations

import gzip
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import IntegrityError, InvalidArgument
from jubako.images.lazy import toc
from jubako.oci.digest import Digest
from tests.integration import estargz
from tests.integration.estargz import entry

TOC_AT = 1 << 20
DIGEST = "sha256:" + "0" * 64


def table(*entries: Any) -> bytes:
    return json.dumps({"version": 1, "entries": entries}).encode()


def parse(*entries: Any) -> list[toc.File]:
    return toc.parse_toc(table(*entries), TOC_AT)


def part(**fields: Any) -> dict[str, Any]:
    return {"name": "file", "type": "reg", "size": 10, "chunkDigest": DIGEST, **fields}


def test_what_a_writer_makes_is_read() -> None:
    content = bytes(range(256)) * 1000
    layer = estargz.make(
        [
            (entry("dir", tarfile.DIRTYPE, mode=0o1755), b""),
            (entry("dir/file", uid=1, gid=2, mode=0o4640), content),
            (entry("dir/empty"), b""),
            (entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
            (entry("link", tarfile.SYMTYPE, linkname="dir/file"), b""),
            (entry("same", tarfile.LNKTYPE, linkname="dir/file"), b""),
            (entry("attributes", pax_headers={"SCHILY.xattr.user.a": "b"}), b""),
        ],
        chunk_bytes=100_000,
    )
    size = len(layer.blob)
    at = toc.toc_offset(layer.blob[-toc.FOOTER_BYTES :], size)
    member = layer.blob[at : size - toc.FOOTER_BYTES]
    found, data = toc.unpack_toc(member, Digest(layer.toc_digest))
    assert (found.name, found.size) == (toc.NAME, len(data))
    files = {file.entry.name: file for file in toc.parse_toc(data, at)}
    assert {name: file.entry.kind for name, file in files.items()} == {
        b"dir/": b"5",
        b"dir/file": b"0",
        b"dir/empty": b"0",
        b"null": b"3",
        b"link": b"2",
        b"same": b"1",
        b"attributes": b"0",
    }
    file = files[b"dir/file"]
    shown = file.entry
    assert (shown.uid, shown.gid, shown.mode, shown.size) == (1, 2, 0o4640, len(content))
    assert shown.mtime_ns == 1_700_000_000 * 10**9
    assert files[b"attributes"].entry.xattrs == {b"user.a": b"b"}
    assert (files[b"null"].entry.major, files[b"null"].entry.minor) == (1, 3)
    assert [piece.size for piece in file.parts] == [100_000, 100_000, 56_000]
    assert content == b"".join(
        toc.inflate(layer.blob[piece.blob_offset :], piece) for piece in file.parts
    )


def test_several_parts_may_be_in_one_member() -> None:
    content = b"one" + b"two"
    piece = toc.Part(0, 3, 0, 3, Digest.of(b"two"))
    assert toc.inflate(gzip.compress(content), piece) == b"two"


def _member(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)  # equal names of the cases on all workers


@pytest.mark.parametrize(
    "member", [b"", b"no gzip", _member(b"shor"), _member(b"other"), _member(b"right")[:9]]
)
def test_content_that_was_not_promised_is_refused(member: bytes) -> None:
    with pytest.raises(IntegrityError):
        toc.inflate(member, toc.Part(0, 5, 0, 0, Digest.of(b"right")))


def test_times() -> None:
    for text, expected in (
        ("2023-11-14T22:13:20Z", 1_700_000_000 * 10**9),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000 * 10**9 + 500_000_000),
        ("1969-12-31T23:59:59.000000001Z", -(10**9) + 1),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * 10**9),
    ):
        [file] = parse({"name": "d", "type": "dir", "modtime": text})
        assert file.entry.mtime_ns == expected


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([part(size=-1)], "size is -1"),
        ([part(size=True)], "size is True"),
        ([part(size=1.5)], "size is 1.5"),
        ([part(offset=TOC_AT)], "beyond the table"),
        ([part(chunkSize=11)], "does not fit"),
        ([part(chunkOffset=1)], "does not fit"),
        ([part(chunkSize=9)], "have not the 10 bytes"),
        ([part(size=toc.MAX_PART_BYTES + 1)], "more than"),
        ([part(innerOffset=toc.MAX_PART_BYTES + 1)], "innerOffset is"),
        ([part(chunkDigest="sha256:12")], "chunkDigest"),
        ([part(type="chunk")], "no file that comes before"),
        ([part(chunkSize=5), part(type="chunk", chunkOffset=4, chunkSize=6)], "does not fit"),
        ([part(chunkSize=5), part(name="x", type="chunk", chunkOffset=5)], "no file"),
        ([part(name="a\0b")], "no name of a file"),
        ([part(name="\ud800")], "no name of a file"),
        ([part(name=7)], "is no text"),
        ([part(name="")], "no name"),
        ([{"name": "l", "type": "symlink"}], "a link to nothing"),
        ([{"name": "d", "type": "dir", "modtime": "2023-13-01T00:00:00Z"}], "no time"),
        ([{"name": "d", "type": "dir", "modtime": "yesterday"}], "no time"),
        ([{"name": "d", "type": "dir", "xattrs": {"user.a": "?"}}], "base64"),
        ([{"name": "d", "type": "dir", "xattrs": {"": "YQ=="}}], "no file can have"),
        ([{"name": "d", "type": "dir", "xattrs": [1]}], "no object"),
        ([{"name": "d", "type": "dir", "xattrs": {"a": 1}}], "base64"),
    ],
)
def test_what_no_writer_makes_is_refused(entries: list[Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse(*entries)


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"[]", b'{"version": 1}', b"\xff"])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        toc.parse_toc(data, TOC_AT)


@given(st.binary(max_size=60) | st.integers(0, 1 << 63).map(estargz.footer), st.integers(0, 10**9))
def test_any_footer(data: bytes, size: int) -> None:
    try:
        at = toc.toc_offset(data, size)
    except InvalidArgument:
        return
    assert 0 < at < size - toc.FOOTER_BYTES


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["reg", "dir", "chunk", "file", DIGEST, "2023-11-14T22:13:20Z", "YQ=="]),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    "name type size modtime linkName mode uid gid offset innerOffset devMajor devMinor xattrs"
    " digest chunkOffset chunkSize chunkDigest".split()
)
SIZES = st.integers(0, 40)
GOOD = st.fixed_dictionaries(
    {"name": st.sampled_from(["file", "other"]), "type": st.sampled_from(["reg", "chunk", "dir"])},
    optional={
        **dict.fromkeys(("size", "offset", "chunkOffset", "chunkSize", "innerOffset"), SIZES),
        "chunkDigest": st.just(DIGEST),
    },
)


@given(st.lists(GOOD | st.dictionaries(FIELDS, VALUES) | VALUES, max_size=6))
def test_any_table(entries: list[Any]) -> None:
    try:
        files = toc.parse_toc(json.dumps({"version": 1, "entries": entries}).encode(), TOC_AT)
    except InvalidArgument:
        return
    for file in files:
        at = 0
        for piece in file.parts:
            assert piece.offset == at and 0 < piece.size <= toc.MAX_PART_BYTES
            assert 0 <= piece.blob_offset < TOC_AT
            at += piece.size
        assert at == (file.entry.size if file.entry.kind == b"0" else 0)
        assert file.entry.name and b"\0" not in file.entry.name + file.entry.link


@given(st.binary(max_size=300), st.booleans())
def test_any_member(data: bytes, packed: bool) -> None:
    with pytest.raises((InvalidArgument, IntegrityError)):
        toc.unpack_toc(gzip.compress(data) if packed else data, Digest(DIGEST))
