"""An eStargz layer's table of contents, read strictly.

    blob     gzip members: of headers, of the content of one file or of a part of it, at last the
             table `stargz.index.json` and a footer of 51 bytes that tells where the table begins
    table    {"version": 1, "entries": [{"name", "type", "offset", "chunkDigest", ...}, ...]}

Source: docs/estargz.md of containerd's stargz-snapshotter.  The manifest has the table's digest,
the table that of each part: so nothing is used that the manifest does not answer for.  No file is
read and nothing is written here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from datetime import UTC, datetime
from typing import NamedTuple

from jubako.errors import IntegrityError, InvalidArgument, InvalidDigest
from jubako.images import tar
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANNOTATION = "containerd.io/snapshot/stargz/toc.digest"
NAME = b"stargz.index.json"
FOOTER_BYTES = 51
MAX_TOC_BYTES = 64 << 20  # some 150,000 files
MAX_PART_BYTES = 64 << 20  # of a file: it is held in memory; the usual tools write 4 MiB
_MAX_ENTRIES = 1_000_000
_MAX_NAME_BYTES = 4095
_MAX_XATTRS_BYTES = 1 << 20
_MAX_SIZE = 1 << 42

_FOOTER = re.compile(
    rb"\x1f\x8b\x08\x04.{6}\x1a\x00SG\x16\x00([0-9a-f]{16})STARGZ\x01\x00\x00\xff\xff\x00{8}",
    re.DOTALL,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_KINDS = {
    "dir": tar.DIRECTORY,
    "reg": tar.REGULAR,
    "symlink": tar.SYMLINK,
    "hardlink": tar.HARDLINK,
    "char": tar.CHARACTER,
    "block": tar.BLOCK,
    "fifo": tar.FIFO,
}


class Part(NamedTuple):
    """A part of a file's content: all of it, or some megabytes.

    offset: in the file.  blob_offset: where the gzip member begins that has it.  inner: how many
    bytes of that member's content come before it.
    """

    offset: int
    size: int
    blob_offset: int
    inner: int
    digest: Digest


class File(NamedTuple):
    """An entry of the layer; parts: of a regular file's content, in order, without gaps."""

    entry: tar.Entry
    parts: tuple[Part, ...]


def toc_offset(footer: bytes, blob_bytes: int) -> int:
    """Where the table begins in a blob that ends with `footer`.  Raises InvalidArgument."""
    match = _FOOTER.fullmatch(footer)
    if match is None:
        raise InvalidArgument("no eStargz footer is at the end")
    offset = int(match[1], 16)
    if not 0 < offset < blob_bytes - FOOTER_BYTES:
        raise InvalidArgument(f"the table of contents begins at {offset} of {blob_bytes} bytes")
    return offset


def unpack_toc(member: bytes, digest: Digest) -> tuple[tar.Entry, bytes]:
    """The table that the gzip member has as the only file of a tar, with its entry.

    digest: from the manifest.  Raises InvalidArgument, IntegrityError (another table).
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(member, MAX_TOC_BYTES + (64 << 10))
    except zlib.error as exc:
        raise InvalidArgument(f"the table of contents: {exc}") from exc
    reader = tar.TarReader([data], limits=tar.Limits(max_entries=1, max_bytes=MAX_TOC_BYTES))
    for entry in reader:
        if entry.name != NAME or entry.kind != tar.REGULAR:
            break
        table = b"".join(bytes(piece) for piece in reader.payload())
        digest.check(table, "table of contents")
        return entry, table
    raise InvalidArgument(f"no {NAME.decode()} is where the table of contents should be")


def parse_toc(table: bytes, toc_at: int) -> list[File]:
    """The entries in the order of the layer.

    toc_at: where the table begins in the blob; all parts are before it.
    Raises InvalidArgument for whatever no writer makes, with the name of the entry.
    """
    try:
        document = json.loads(table)
    except (ValueError, RecursionError) as exc:
        raise InvalidArgument(f"the table of contents is no JSON: {exc}") from exc
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, list) or document.get("version") != 1:
        raise InvalidArgument("the table of contents has no version 1 with entries")
    if len(entries) > _MAX_ENTRIES:
        raise InvalidArgument(f"the table of contents has more than {_MAX_ENTRIES} entries")
    parser = _Parser(toc_at)
    for item in entries:
        if not isinstance(item, dict):
            raise InvalidArgument("an entry of the table of contents is no object")
        parser.add(_Item(item))
    return parser.finish()


class _Item:
    """An object of the table: its fields with the types that they must have."""

    def __init__(self, fields: dict[str, Any]):
        self._fields = fields
        self.name = self.path("name", _MAX_NAME_BYTES)
        if not self.name:
            raise self.bad("no name")

    def bad(self, what: str) -> InvalidArgument:
        name = str(self._fields.get("name"))[:200]
        return InvalidArgument(f"table of contents: {name!r}: {what}")

    def text(self, key: str) -> str:
        found = self._fields.get(key, "")
        if not isinstance(found, str):
            raise self.bad(f"{key} is no text")
        return found

    def path(self, key: str, limit: int) -> bytes:
        try:
            found = self.text(key).encode()
        except UnicodeEncodeError:
            found = b"\0"
        if len(found) > limit or b"\0" in found:
            raise self.bad(f"{key} is no name of a file")
        return found

    def number(self, key: str, limit: int) -> int:
        """From 0 to `limit`; 0 if it is not there."""
        found = self._fields.get(key, 0)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= limit:
            raise self.bad(f"{key} is {str(found)[:40]}")
        return found

    def digest(self, key: str) -> Digest:
        text = self.text(key)
        try:
            return Digest.parse(text)
        except InvalidDigest as exc:
            raise self.bad(f"{key}: {exc}" if text else f"it has no {key}") from exc

    def time_ns(self) -> int:
        text = self.text("modtime")
        if not text:
            return 0
        if len(text) > 40 or not _TIME.fullmatch(text):
            raise self.bad("modtime is no time")
        try:
            moment = datetime.fromisoformat(text[:19] + text[19:].lstrip(".0123456789Z"))
        except ValueError as exc:
            raise self.bad("modtime is no time") from exc
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        fraction = re.match(r"\.(\d+)", text[19:])
        nanoseconds = int(fraction[1].ljust(9, "0")) if fraction else 0
        return (since.days * 86400 + since.seconds) * 1_000_000_000 + nanoseconds

    def xattrs(self) -> dict[bytes, bytes]:
        found = self._fields.get("xattrs") or {}
        if not isinstance(found, dict):
            raise self.bad("xattrs are no object")
        xattrs: dict[bytes, bytes] = {}
        size = 0
        for name, value in found.items():
            try:
                xattrs[name.encode()] = data = base64.b64decode(value or "", validate=True)
            except (UnicodeEncodeError, binascii.Error, ValueError, TypeError) as exc:
                raise self.bad("xattrs are not in base64") from exc
            size += len(name) + len(data)
        if size > _MAX_XATTRS_BYTES or any(b"\0" in name or not name for name in xattrs):
            raise self.bad("xattrs that no file can have")
        return xattrs


class _Parser:
    """Puts the parts that follow a file to it."""

    def __init__(self, toc_at: int):
        self._toc_at = toc_at
        self._files: list[File] = []
        self._open: _Item | None = None  # a regular file whose parts may still come
        self._size = 0
        self._parts: list[Part] = []

    def add(self, item: _Item) -> None:
        kind = item.text("type")
        if kind == "chunk":
            if self._open is None or item.name != self._open.name:
                raise item.bad("a part of no file that comes before it")
            self._part(item)
            return
        self._end_file()
        entry = self._entry(item, kind)
        self._files.append(File(entry, ()))
        if entry.kind == tar.REGULAR and entry.size:
            self._open, self._size, self._parts = item, entry.size, []
            self._part(item)

    def finish(self) -> list[File]:
        self._end_file()
        return self._files

    def _entry(self, item: _Item, kind: str) -> tar.Entry:
        found = _KINDS.get(kind)
        if found is None:
            raise item.bad(f"type {kind[:40]!r} is unknown")
        link = item.path("linkName", _MAX_NAME_BYTES)
        if found in (tar.SYMLINK, tar.HARDLINK) and not link:
            raise item.bad("a link to nothing")
        return tar.Entry(
            item.name,
            found,
            mode=item.number("mode", 0xFFFFFFFF) & 0o7777,
            uid=item.number("uid", 0xFFFFFFFF),
            gid=item.number("gid", 0xFFFFFFFF),
            size=item.number("size", _MAX_SIZE) if found == tar.REGULAR else 0,
            mtime_ns=item.time_ns(),
            link=link if found in (tar.SYMLINK, tar.HARDLINK) else b"",
            major=item.number("devMajor", 0xFFFFFFFF),
            minor=item.number("devMinor", 0xFFFFFFFF),
            xattrs=item.xattrs(),
        )

    def _part(self, item: _Item) -> None:
        offset = item.number("chunkOffset", _MAX_SIZE)
        expected = self._parts[-1].offset + self._parts[-1].size if self._parts else 0
        # Without a size it is the rest of the file.
        size = item.number("chunkSize", _MAX_SIZE) or self._size - offset
        if offset != expected or size <= 0 or offset + size > self._size:
            raise item.bad(f"its part at {offset} does not fit to the others")
        if size > MAX_PART_BYTES:
            raise item.bad(f"a part of more than {MAX_PART_BYTES} bytes")
        at = item.number("offset", _MAX_SIZE)
        if not at < self._toc_at:
            raise item.bad(f"its content begins at {at}, beyond the table of contents")
        inner = item.number("innerOffset", MAX_PART_BYTES)
        # Of a file in one piece zstd:chunked tells only the digest of the whole.
        key = "chunkDigest" if size < self._size or item.text("chunkDigest") else "digest"
        self._parts.append(Part(offset, size, at, inner, item.digest(key)))

    def _end_file(self) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        last = self._parts[-1]
        if last.offset + last.size != self._size:
            raise item.bad(f"its parts have not the {self._size} bytes of the file")
        self._files[-1] = File(self._files[-1].entry, tuple(self._parts))


def inflate(member: bytes, part: Part) -> bytes:
    """The content of a part, from the bytes of the blob that begin where its member does.

    Raises IntegrityError if it is not what the table promised.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(member, part.inner + part.size)[part.inner :]
    except zlib.error as exc:
        raise IntegrityError(f"part at {part.blob_offset} of the layer: {exc}") from exc
    return checked(data, part)


def checked(data: bytes, part: Part) -> bytes:
    """`data` if it is the content of a part.  Raises IntegrityError."""
    if len(data) != part.size:
        raise IntegrityError(
            f"part at {part.blob_offset} of the layer: expected {part.size} bytes, "
            f"found {len(data)}"
        )
    part.digest.check(data, f"part at {part.blob_offset} of the layer")
    return data
