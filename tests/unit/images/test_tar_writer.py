from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.images.tar import (
    CHARACTER,
    DIRECTORY,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    TarReader,
    TarWriter,
)


def write(*members: tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, content in members:
        writer.add(entry, [content] if content else [])
    writer.close()
    return out.getvalue()


def read(data: bytes) -> list[tuple[Entry, bytes]]:
    reader = TarReader([data])
    return [(entry, b"".join(map(bytes, reader.payload()))) for entry in reader]


def test_simple_entries_need_no_pax_header() -> None:
    data = write((Entry(b"d/", DIRECTORY, mode=0o755), b""), (Entry(b"d/f", size=3), b"abc"))
    assert len(data) == 512 * 3 + 1024
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["d", "d/f"]
        file = tar.extractfile("d/f")
        assert file is not None and file.read() == b"abc"


def test_a_long_path_is_split_where_ustar_can() -> None:
    data = write((Entry(b"a" * 120 + b"/" + b"b" * 90), b""))
    assert len(data) == 512 + 1024
    assert read(data)[0][0].name == b"a" * 120 + b"/" + b"b" * 90


def test_everything_survives() -> None:
    entry = Entry(
        b"\xff" * 300,
        REGULAR,
        mode=0o6755,
        uid=4_000_000_000,
        gid=3_000_000,
        size=5,
        mtime_ns=-1_000_000_001,
        xattrs={b"user.b": b"\0\n=", b"security.capability": b"\x01" * 20},
    )
    data = write(
        (entry, b"12345"),
        (Entry(b"l", SYMLINK, link=b"t" * 120), b""),
        (Entry(b"h", HARDLINK, link=b"\xff" * 300), b""),
        (Entry(b"c", CHARACTER, major=1, minor=3), b""),
    )
    (file, content), (link, _), (hard, _), (device, _) = read(data)
    for slot in ("name", "kind", "mode", "uid", "gid", "size", "mtime_ns", "xattrs"):
        assert getattr(file, slot) == getattr(entry, slot), slot
    assert (content, link.link, hard.link) == (b"12345", b"t" * 120, b"\xff" * 300)
    assert (device.kind, device.major, device.minor) == (CHARACTER, 1, 3)


def test_sparse_files_keep_their_holes() -> None:
    entry = Entry(b"s", size=1 << 30)
    entry.segments = [(4096, 3), (1 << 29, 2)]
    entry.payload_bytes = 5
    data = write((entry, b"abcde"))
    found, content = read(data)[0]
    assert (found.name, found.size, found.segments) == (b"s", 1 << 30, entry.segments)
    assert content == b"abcde"
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.getmembers()[0]
        assert (member.name, member.size, member.issparse()) == ("s", 1 << 30, True)


def test_content_of_another_size_is_refused() -> None:
    for content in (b"ab", b"abcd"):
        with pytest.raises(ValueError, match="not 3 bytes"):
            write((Entry(b"f", size=3), content))


names = st.binary(min_size=1, max_size=400).filter(lambda name: b"\0" not in name)


@settings(max_examples=100, deadline=None)
@given(
    names,
    st.integers(0, 0o7777),
    st.integers(0, (1 << 32) - 2),
    st.integers(-(1 << 31) * 10**9, (1 << 33) * 10**9),
    st.binary(max_size=1500),
    st.dictionaries(
        st.text("abc.", min_size=1).map(str.encode), st.binary(max_size=50), max_size=3
    ),
)
def test_the_reader_returns_what_was_written(
    name: bytes, mode: int, uid: int, mtime_ns: int, content: bytes, xattrs: dict[bytes, bytes]
) -> None:
    kind = DIRECTORY if name.endswith(b"/") else REGULAR
    content = b"" if kind == DIRECTORY else content
    entry = Entry(
        name, kind, mode=mode, uid=uid, size=len(content), mtime_ns=mtime_ns, xattrs=xattrs
    )
    data = write((entry, content))
    assert data == write((entry, content))
    ((found, payload),) = read(data)
    assert (found.name, found.kind, found.mode, found.uid) == (name, kind, mode, uid)
    assert (found.mtime_ns, found.xattrs, payload) == (mtime_ns, xattrs, content)
