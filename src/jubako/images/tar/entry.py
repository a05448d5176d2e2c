"""One member of an archive, and what an archive may at most ask for."""

from __future__ import annotations

BLOCK_BYTES = 512

REGULAR = b"0"
HARDLINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK = b"4"
DIRECTORY = b"5"
FIFO = b"6"


class Entry:
    """A member's metadata.

    name, link: bytes, never holding NUL; a directory's trailing slashes are kept as they came.
    kind: REGULAR ... FIFO.  mode: permission bits with setuid, setgid, sticky.  size: bytes of the
    file when it is unpacked.  payload_bytes: what follows in the archive.  segments: of a sparse
    file, (offset, length) of each piece of the payload, in order; None for other files.
    mtime_ns: since 1970.  xattrs: attribute name to value.
    """

    __slots__ = (
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "payload_bytes",
        "segments",
        "size",
        "uid",
        "xattrs",
    )

    def __init__(
        self,
        name: bytes,
        kind: bytes = REGULAR,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: dict[bytes, bytes] | None = None,
    ):
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = self.payload_bytes = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = {} if xattrs is None else xattrs
        self.segments: list[tuple[int, int]] | None = None

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.kind!r}, size={self.size})"


class Limits:
    """What one archive may contain at most; beyond it the reader raises InvalidArgument."""

    __slots__ = (
        "max_bytes",
        "max_entries",
        "max_header_bytes",
        "max_name_bytes",
        "max_segments",
        "max_trailer_bytes",
    )

    def __init__(
        self,
        *,
        max_entries: int = 4_000_000,  # headers; the largest real layers have some 500,000
        max_name_bytes: int = 4095,  # PATH_MAX without its NUL: no longer name can be made
        max_header_bytes: int = 1 << 20,  # one pax or GNU name header, as Go's archive/tar
        max_segments: int = 1 << 18,  # pieces of one sparse file
        max_bytes: int = 8 << 40,  # sum of the sizes of all files, holes included
        max_trailer_bytes: int = 64 << 20,  # after the end marker; tar pads to 10 KiB
    ):
        self.max_entries = max_entries
        self.max_name_bytes = max_name_bytes
        self.max_header_bytes = max_header_bytes
        self.max_segments = max_segments
        self.max_bytes = max_bytes
        self.max_trailer_bytes = max_trailer_bytes
