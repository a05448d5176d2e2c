"""Layers of the format zstd:chunked: zstd frames, and a table of contents in one that is skipped.

    blob       frames: of headers, of the content of one file or of a part of it, at last the table
               and what else belongs to the format
    position   annotation "<offset>:<size>:<size when inflated>:1" of the table
    checksum   annotation with the digest of the table as it is in the blob

The table is that of eStargz (see `toc`), and has no entry for itself, as it is not in the archive.
Source: pkg/chunked of containers/storage.
"""

from __future__ import annotations

import io
import re

from jubako.errors import IntegrityError, InvalidArgument
from jubako.images.lazy import toc
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

POSITION = "io.github.containers.zstd-chunked.manifest-position"
_CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
_POSITION = re.compile(r"(\d{1,19}):(\d{1,19}):(\d{1,19}):1")
_WINDOW_BYTES = 128 << 20  # as for whole layers; pages that a small frame does not use cost nothing


def toc_range(annotations: Mapping[str, str], blob_bytes: int) -> tuple[int, int]:
    """Where the table begins in the blob, and its size there.  Raises InvalidArgument."""
    match = _POSITION.fullmatch(annotations.get(POSITION, ""))
    if match is None:
        raise InvalidArgument("the position of the table of contents is in no known form")
    offset, size, inflated = map(int, match.groups())
    if not (0 < offset and 0 < size and offset + size <= blob_bytes):
        raise InvalidArgument(f"the table of contents begins at {offset} of {blob_bytes} bytes")
    if max(size, inflated) > toc.MAX_TOC_BYTES:
        raise InvalidArgument(f"the table of contents has more than {toc.MAX_TOC_BYTES} bytes")
    return offset, size


def unpack_toc(annotations: Mapping[str, str], packed: bytes) -> bytes:
    """The table.  Raises InvalidArgument, IntegrityError (another than the manifest names)."""
    Digest.parse(annotations.get(_CHECKSUM, "")).check(packed, "table of contents")
    table = _inflate(packed, toc.MAX_TOC_BYTES + 1)
    if table is None or len(table) > toc.MAX_TOC_BYTES:
        raise InvalidArgument("the table of contents is no zstd, or too large")
    return table


def inflate(frame: bytes, part: toc.Part) -> bytes:
    """As `toc.inflate`, of a part in a frame."""
    data = _inflate(frame, part.inner + part.size)
    if data is None:
        raise IntegrityError(f"part at {part.blob_offset} of the layer: damaged zstd")
    return toc.checked(data[part.inner :], part)


def _inflate(data: bytes, limit: int) -> bytes | None:
    """At most so many bytes of the first frame; None if it is none."""
    import zstandard

    context = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    found = bytearray()
    try:
        with context.stream_reader(io.BytesIO(data)) as reader:
            while len(found) < limit and (piece := reader.read(limit - len(found))):
                found += piece
    except zstandard.ZstdError:
        return None
    return bytes(found)
