"""The streaming reader."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.images.tar import header, sparse
from jubako.images.tar.entry import DIRECTORY, HARDLINK, REGULAR, Entry, Limits
from jubako.images.tar.fields import decimal, number, pax_records, time_ns
from jubako.images.tar.source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Buffer = bytes | memoryview

_ZEROS = bytes(512)
_XATTR = b"SCHILY.xattr."
_NAMES = b"0\x007123456"  # the types that become an entry
_REGULAR_TYPES = frozenset((b"0", b"\0", b"7"))


class TarReader:
    """Entries of an archive, one after another.

        reader = TarReader(buffers)
        for entry in reader:
            for piece in reader.payload():   # may be left out or broken off
                ...
        reader.drain()

    buffers: the uncompressed archive in pieces of any size.  on_raw: sees every byte of the archive
    in order, but for the payloads of entries; what lies between two of its calls is `payload()`.
    Raises InvalidArgument for what is not a well-formed archive or exceeds `limits`, and whatever
    the iteration of `buffers` raises.
    """

    def __init__(
        self,
        buffers: Iterable[Buffer],
        *,
        limits: Limits | None = None,
        on_raw: Callable[[Buffer], None] | None = None,
    ):
        self._source = Source(buffers)
        self._limits = limits or Limits()
        self._on_raw = on_raw
        self._globals: dict[bytes, bytes] = {}
        self._payload_left = 0
        self._padding = 0
        self._headers = 0
        self._total = 0
        self._ended = False

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._source.position

    def next(self) -> Entry | None:
        """The next entry, or None at the end.  What was not read of the last payload is skipped."""
        if self._ended:
            return None
        self._finish_payload()
        start = self._source.position
        try:
            return self._next()
        except InvalidArgument as exc:
            if self._source.ended:
                raise
            hint = "it does not look like a tar archive" if self._headers == 1 else None
            message = f"invalid tar header at byte {start}: {exc}"
            raise InvalidArgument(message, hint=exc.hint or hint) from exc

    def payload(self) -> Iterator[memoryview]:
        """The content of the current entry; of a sparse file without its holes.

        Each view is valid until the next step of the iteration.
        """
        source = self._source
        while self._payload_left:
            piece = source.piece(self._payload_left)
            if not piece:
                raise source.truncated("a file's content")
            self._payload_left -= len(piece)
            yield piece

    def drain(self) -> None:
        """Read to the end of the stream: what follows the archive belongs to its digest too."""
        while self.next() is not None:
            pass
        left = self._limits.max_trailer_bytes
        while piece := self._source.piece(left + 1):
            left -= len(piece)
            if left < 0:
                raise InvalidArgument(
                    f"archive has more than {self._limits.max_trailer_bytes} bytes after its end"
                )
            if self._on_raw is not None:
                self._on_raw(piece)

    # --- headers ---------------------------------------------------------------------------------

    def _finish_payload(self) -> None:
        if self._payload_left:
            left, self._payload_left = self._payload_left, 0
            self._source.pass_over(left, "a file's content", None)
        if self._padding:
            padding, self._padding = self._padding, 0
            self._source.pass_over(padding, "the padding of a file", self._on_raw)

    def _block(self) -> bytes:
        block = self._source.block()
        if not block:
            raise self._source.truncated("a header")
        if self._on_raw is not None:
            self._on_raw(block)
        return block

    def _next(self) -> Entry | None:
        records: dict[bytes, bytes] = {}
        long_name: bytes | None = None
        long_link: bytes | None = None
        special = False
        while True:
            block = self._source.block()
            if self._on_raw is not None and block:
                self._on_raw(block)
            if not block or block == _ZEROS:
                if special:
                    raise InvalidArgument("an extended header belongs to no file")
                self._end(bool(block))
                return None
            self._count()
            header.check_sum(block)
            kind = block[156:157]
            if kind in _NAMES or kind == b"S":
                return self._entry(block, kind, records, long_name, long_link)
            size = number(block[124:136], "size")
            if kind in b"xXg":
                data = self._meta(size)
                if kind == b"g":
                    self._set_globals(pax_records(data))
                    continue
                special = True
                self._merge(records, pax_records(data))
            elif kind in b"LK":
                special = True
                value = self._meta(size).partition(b"\0")[0]
                if kind == b"L":
                    long_name = value
                else:
                    long_link = value
            elif kind == b"V":  # the name of the volume, of no use to anybody
                self._meta(size)
            else:
                raise InvalidArgument(f"unhandled tar header type {kind[0]}")

    def _count(self) -> None:
        self._headers += 1
        if self._headers > self._limits.max_entries:
            raise InvalidArgument(f"archive has more than {self._limits.max_entries} entries")

    def _end(self, zeros: bool) -> None:
        """One zero block was seen, or the end of the stream, which is as good."""
        if zeros:
            block = self._source.block()
            if self._on_raw is not None and block:
                self._on_raw(block)
            if block and block != _ZEROS:
                raise InvalidArgument("a zero block is followed by something else")
        self._ended = True

    def _meta(self, size: int) -> bytes:
        if not 0 <= size <= self._limits.max_header_bytes:
            raise InvalidArgument(
                f"an extended header has {size} bytes, more than {self._limits.max_header_bytes}"
            )
        data = self._source.read(size + -size % 512, "an extended header")
        if self._on_raw is not None:
            self._on_raw(data)
        return data[:size]

    def _set_globals(self, records: list[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            if value:
                self._globals[key] = value
            else:
                self._globals.pop(key, None)
        if sum(len(key) + len(value) for key, value in self._globals.items()) > (
            self._limits.max_header_bytes
        ):
            raise InvalidArgument("the global extended headers are too large")

    @staticmethod
    def _merge(into: dict[bytes, bytes], records: list[tuple[bytes, bytes]]) -> None:
        for key, value in records:
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                # Format 0.0 repeats the pair: collect it the way 0.1 writes it.
                before = into.get(b"GNU.sparse.map")
                into[b"GNU.sparse.map"] = value if before is None else before + b"," + value
            else:
                into[key] = value

    def _entry(
        self,
        block: bytes,
        kind: bytes,
        records: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Entry:
        entry = header.entry(block, kind, long_name, long_link)
        if self._globals:
            records = {**self._globals, **records}
        if records:
            self._apply(entry, records)
        if kind in _REGULAR_TYPES:
            # Before ustar a directory was a regular file whose name ends in a slash.
            entry.kind = DIRECTORY if kind != b"7" and entry.name.endswith(b"/") else REGULAR
        self._set_payload(entry, block, kind, records)
        self._check(entry)
        return entry

    def _apply(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        for key, value in records.items():
            if key.startswith(_XATTR):
                if len(key) > len(_XATTR):
                    entry.xattrs[key[len(_XATTR) :]] = value
            elif not value:
                continue
            elif key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.link = value
            elif key == b"size":
                entry.size = entry.payload_bytes = decimal(value, "size")
            elif key == b"uid":
                entry.uid = decimal(value, "uid")
            elif key == b"gid":
                entry.gid = decimal(value, "gid")
            elif key == b"mtime":
                entry.mtime_ns = time_ns(value, "mtime")

    def _set_payload(
        self, entry: Entry, block: bytes, kind: bytes, records: dict[bytes, bytes]
    ) -> None:
        stored = entry.payload_bytes
        if entry.kind != REGULAR and kind != b"S":
            if stored and kind in _REGULAR_TYPES:
                raise InvalidArgument(f"directory {entry.name[:200]!r} has content")
            stored = entry.size = 0  # whatever the field says: only files have content, as in Go
        if stored < 0 or entry.size < 0:
            raise InvalidArgument("a file has a negative size")
        self._padding = -stored % 512
        if kind == b"S":
            entry.kind = REGULAR
            entry.size, segments = sparse.old_gnu(block, self._block, self._limits)
            entry.segments = sparse.check(segments, entry.size, stored)
        elif records and entry.kind == REGULAR:
            stored = self._pax_sparse(entry, stored, records)
        self._payload_left = entry.payload_bytes = stored

    def _pax_sparse(self, entry: Entry, stored: int, records: dict[bytes, bytes]) -> int:
        """Bytes of payload that are left once the map, if any, is read."""
        map_text = records.get(b"GNU.sparse.map")
        new_format = records.get(b"GNU.sparse.major") == b"1"
        if map_text is None and not new_format:
            return stored
        entry.name = records.get(b"GNU.sparse.name") or entry.name
        size = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if size is None:
            raise InvalidArgument("sparse file without its size")
        entry.size = decimal(size, "size of a sparse file")
        if new_format:
            segments, taken = sparse.pax_10(self._block, self._limits)
            stored -= taken
            if stored < 0:
                raise InvalidArgument("map of a sparse file: it is longer than the file")
        else:
            segments = sparse.pax_01(map_text or b"", self._limits)
        entry.segments = sparse.check(segments, entry.size, stored)
        return stored

    def _check(self, entry: Entry) -> None:
        limits = self._limits
        name, link = entry.name, entry.link
        if not name:
            raise InvalidArgument("an entry has no name")
        if len(name) > limits.max_name_bytes or len(link) > limits.max_name_bytes:
            raise InvalidArgument(
                f"an entry's name has more than {limits.max_name_bytes} bytes: "
                f"{(name if len(name) > limits.max_name_bytes else link)[:60]!r}..."
            )
        if b"\0" in name or b"\0" in link:
            raise InvalidArgument(f"an entry's name holds a zero byte: {name[:60]!r}")
        if entry.kind == HARDLINK and not link:
            raise InvalidArgument(f"hard link {name[:200]!r} has no target")
        self._total += entry.size
        if self._total > limits.max_bytes:
            raise InvalidArgument(f"archive unpacks to more than {limits.max_bytes} bytes")
