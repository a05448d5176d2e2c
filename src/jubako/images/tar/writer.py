"""The writer: ustar headers, with a pax header before those that do not fit into them.

Equal input gives equal bytes.  No owner names are written: they would be those of another machine.
"""

from __future__ import annotations

from zlib import adler32

from jubako.images.tar.entry import BLOCK_BYTES, DIRECTORY, REGULAR, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Buffer = bytes | memoryview

_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_BLOCKS = bytes(BLOCK_BYTES)
_KIND_PAX = b"x"
_MAX_TAILS = 256
_known_tails: dict[tuple[bytes, bytes, int, int, bytes], tuple[bytes, int]] = {}


class TarWriter:
    """Write entries through `write`, a function that takes every byte it is given.

    writer = TarWriter(out.write)
    writer.add(entry, pieces)   # the pieces together have entry.size bytes
    writer.close()              # end marker; the stream stays open
    """

    def __init__(self, write: Callable[[Buffer], object]):
        self._write = write

    def add(self, entry: Entry, content: Iterable[Buffer] = ()) -> None:
        """Append an entry and its content.

        An entry with `segments` is written as GNU.sparse 1.0, and `content` has their bytes only.
        Raises ValueError, and the archive is broken, unless `content` has the promised size.
        """
        self.add_header(entry)
        left = entry.payload_bytes
        for piece in content:
            left -= len(piece)
            if left < 0:
                break
            self._write(piece)
        if left:
            raise ValueError(f"content of {entry.name!r} is not {entry.payload_bytes} bytes long")
        self.pad(entry.payload_bytes)

    def add_header(self, entry: Entry) -> None:
        """Only the headers; the caller writes the payload and calls `pad` with its size."""
        name = entry.name
        stored = entry.payload_bytes if entry.kind == REGULAR else 0
        seconds, fraction = divmod(entry.mtime_ns, 1_000_000_000)
        if (  # as with nearly all, no pax header would have anything to say
            len(name) <= 100
            and len(entry.link) <= 100
            and entry.segments is None
            and not (entry.xattrs or fraction)
            and entry.uid <= _MAX_OCTAL_7
            and entry.gid <= _MAX_OCTAL_7
            and 0 <= seconds <= _MAX_OCTAL_11
            and stored <= _MAX_OCTAL_11
        ):
            self._write(_header(entry, b"", name, stored, seconds))
            return
        records: list[tuple[bytes, bytes]] = []
        sparse_map = b""
        if entry.segments is not None:
            sparse_map = _sparse_map(entry)
            stored += len(sparse_map)
            records += [
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.name", name),
                (b"GNU.sparse.realsize", b"%d" % entry.size),
            ]
        prefix, short, split = _split(name)
        if not split and entry.segments is None:
            records.append((b"path", name))
        if len(entry.link) > 100:
            records.append((b"linkpath", entry.link))
        for key, value, limit in (
            (b"uid", entry.uid, _MAX_OCTAL_7),
            (b"gid", entry.gid, _MAX_OCTAL_7),
            (b"size", stored, _MAX_OCTAL_11),
        ):
            if value > limit:
                records.append((key, b"%d" % value))
        if fraction or not 0 <= seconds <= _MAX_OCTAL_11:
            records.append((b"mtime", _time(entry.mtime_ns)))
        records += [(b"SCHILY.xattr." + key, entry.xattrs[key]) for key in sorted(entry.xattrs)]
        if records:
            data = b"".join(_record(key, value) for key, value in records)
            meta = Entry(b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2][:80], _KIND_PAX)
            self._write(_header(meta, b"", meta.name, len(data), 0))
            self._write(data)
            self.pad(len(data))
        self._write(_header(entry, prefix, short, stored, min(max(seconds, 0), _MAX_OCTAL_11)))
        if sparse_map:
            self._write(sparse_map)

    def pad(self, size: int) -> None:
        """Fill up to a whole block after `size` bytes."""
        if rest := -size % BLOCK_BYTES:
            self._write(_BLOCKS[:rest])

    def add_file(self, name: bytes, data: bytes, *, mode: int = 0o644, mtime_ns: int = 0) -> None:
        """Append a regular file from memory."""
        self.add(Entry(name, mode=mode, size=len(data), mtime_ns=mtime_ns), (data,))

    def add_directory(self, name: bytes, *, mode: int = 0o755, mtime_ns: int = 0) -> None:
        """Append a directory; `name` ends in a slash."""
        self.add_header(Entry(name, DIRECTORY, mode=mode, mtime_ns=mtime_ns))

    def close(self) -> None:
        """Write the end of the archive: two blocks of zeros, as Go does, no further padding."""
        self._write(_BLOCKS * 2)


def _split(name: bytes) -> tuple[bytes, bytes, bool]:
    """Prefix and name fields; False if the name does not fit and must go to a pax header."""
    if len(name) <= 100:
        return b"", name, True
    if len(name) <= 256:
        # The last slash that leaves a name and a prefix of allowed lengths.
        cut = name.rfind(b"/", 0, 156)
        while cut > 0:
            if 0 < len(name) - cut - 1 <= 100:
                return name[:cut], name[cut + 1 :], True
            if len(name) - cut - 1 > 100:
                break
            cut = name.rfind(b"/", 0, cut)
    return b"", name[:100], False


def _header(entry: Entry, prefix: bytes, name: bytes, size: int, seconds: int) -> bytes:
    uid = entry.uid if entry.uid <= _MAX_OCTAL_7 else 0
    gid = entry.gid if entry.gid <= _MAX_OCTAL_7 else 0
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.ljust(100, b"\0"),
        entry.mode,
        uid,
        gid,
        size if size <= _MAX_OCTAL_11 else 0,
        seconds,
    )
    key = (entry.kind, entry.link, entry.major, entry.minor, prefix)
    tail, tail_sum = _known_tails.get(key) or _tail(key)
    return b"%b%06o\0 %b" % (head, _sum(head) + tail_sum, tail)


def _tail(key: tuple[bytes, bytes, int, int, bytes]) -> tuple[bytes, int]:
    """What follows the checksum, and the sum of it and of the blanks in the checksum's place."""
    kind, link, major, minor, prefix = key
    tail = b"%b%bustar\x0000%b%07o\0%07o\0%b" % (
        kind,
        link[:100].ljust(100, b"\0"),
        bytes(64),  # names of owner and group
        major,
        minor,
        prefix.ljust(167, b"\0"),
    )
    found = tail, _sum(tail[:180]) + _sum(tail[180:]) + 8 * 0x20
    if len(_known_tails) < _MAX_TAILS:
        _known_tails[key] = found
    return found


def _sum(data: bytes) -> int:
    """Of at most 256 bytes: the lower half of an Adler-32 is 1 and that, five times as fast."""
    return (adler32(data) & 0xFFFF) - 1


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where LENGTH counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _time(time_ns: int) -> bytes:
    sign = b"-" if time_ns < 0 else b""
    seconds, fraction = divmod(abs(time_ns), 1_000_000_000)
    text = b"%s%d" % (sign, seconds)
    return text + (b".%09d" % fraction).rstrip(b"0") if fraction else text


def _sparse_map(entry: Entry) -> bytes:
    segments = entry.segments or []
    lines = [b"%d\n" % len(segments), *(b"%d\n%d\n" % segment for segment in segments)]
    data = b"".join(lines)
    return data + bytes(-len(data) % BLOCK_BYTES)
