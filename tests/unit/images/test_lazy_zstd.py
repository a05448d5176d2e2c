"""Tables of contents in zstd: their place, their checksum, and parts in frames."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import IntegrityError, InvalidArgument
from jubako.images.lazy import toc, zstd_chunked
from jubako.oci.digest import Digest

CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"


def test_a_table_is_found_and_unpacked() -> None:
    packed = zstandard.compress(b"the table")
    notes = {
        zstd_chunked.POSITION: f"10:{len(packed)}:9:1",
        CHECKSUM: Digest.of(packed),
    }
    assert zstd_chunked.toc_range(notes, 10 + len(packed)) == (10, len(packed))
    assert zstd_chunked.unpack_toc(notes, packed) == b"the table"
    with pytest.raises(IntegrityError):
        zstd_chunked.unpack_toc(notes, packed + b"x")


@pytest.mark.parametrize(
    "position",
    ["", "1:2:3", "1:2:3:2", "0:2:3:1", "5:0:3:1", "-1:2:3:1", "99:2:3:1", "9:9:999999999:1"],
)
def test_a_place_that_cannot_be_is_refused(position: str) -> None:
    with pytest.raises(InvalidArgument):
        zstd_chunked.toc_range({zstd_chunked.POSITION: position}, 100)


def test_a_table_that_inflates_without_end_is_refused() -> None:
    packed = zstandard.compress(bytes(toc.MAX_TOC_BYTES + 2))
    with pytest.raises(InvalidArgument, match="too large"):
        zstd_chunked.unpack_toc({CHECKSUM: Digest.of(packed)}, packed)


@given(st.binary(max_size=100))
def test_any_table(packed: bytes) -> None:
    packed = b"\0" + packed  # no frame begins so
    with pytest.raises(InvalidArgument):
        zstd_chunked.unpack_toc({CHECKSUM: Digest.of(packed)}, packed)


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_part_is_what_was_promised(size: int) -> None:
    content = b"part" * size + b"end"
    part = toc.Part(0, len(content), 7, 0, Digest.of(content))
    frame = zstandard.compress(content) + b"the next frame"
    assert zstd_chunked.inflate(frame, part) == content
    for wrong in (zstandard.compress(content)[:-2], b"", zstandard.compress(content[1:] + b"x")):
        with pytest.raises(IntegrityError):
            zstd_chunked.inflate(wrong, part)
