"""Archives that reach into the corners of the format."""

from __future__ import annotations

import struct
from typing import Any

from jubako.images.tar import BLOCK, CHARACTER, DIRECTORY, FIFO, HARDLINK, SYMLINK, Entry

S = 1_000_000_000
Member = Entry | tuple[Entry, bytes]


def file(name: bytes, content: bytes = b"", **metadata: Any) -> tuple[Entry, bytes]:
    return Entry(name, size=len(content), **metadata), content


def directory(name: bytes, **metadata: Any) -> Entry:
    return Entry(name, DIRECTORY, **{"mode": 0o755, **metadata})


def link(name: bytes, target: bytes, **metadata: Any) -> Entry:
    return Entry(name, SYMLINK, link=target, **metadata)


def hard(name: bytes, target: bytes) -> Entry:
    return Entry(name, HARDLINK, link=target)


def sparse(name: bytes, size: int, *segments: tuple[int, int]) -> tuple[Entry, bytes]:
    """A sparse file in GNU's format 1.0; each piece has bytes of its own."""
    entry = Entry(name, size=size)
    entry.segments = list(segments)
    content = b"".join(
        bytes(1 + (number * 37 + at) % 255 for at in range(length))
        for number, (_, length) in enumerate(segments)
    )
    entry.payload_bytes = len(content)
    return entry, content


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


MINIMAL = ((1, 6, -1 & 0xFFFFFFFF), (4, 5, -1 & 0xFFFFFFFF), (32, 0, -1 & 0xFFFFFFFF))
NAMED = (MINIMAL[0], (2, 7, 1000), MINIMAL[1], (8, 1, 50), (16, 7, -1 & 0xFFFFFFFF), MINIMAL[2])
ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

CASES: dict[str, list[Member]] = {
    "nothing": [],
    "empty files and directories": [
        file(b"empty"), directory(b"d"), directory(b"d/e"), file(b"d/e/f"),
    ],
    "the root": [directory(b"./", mode=0o1711, uid=3, gid=4, mtime_ns=77 * S)],
    "modes and owners": [
        file(b"setuid", b"x", mode=0o6755, uid=(1 << 32) - 2, gid=(1 << 32) - 2),
        file(b"none", b"x", mode=0, uid=65536, gid=65535),
        directory(b"sticky", mode=0o3777, uid=1 << 31),
        link(b"link", b"none", uid=7, gid=8),
        Entry(b"pipe", FIFO, mode=0o4622, uid=9),
    ],
    "times": [
        file(b"negative", mtime_ns=-1), file(b"before", mtime_ns=-1_500_000_001),
        file(b"first", mtime_ns=-(1 << 31) * S), file(b"late", mtime_ns=(1 << 33) * S),
        file(b"nanoseconds", b"x", mtime_ns=1_600_000_000 * S + 999_999_999),
        directory(b"d", mtime_ns=-7), link(b"l", b"x", mtime_ns=5 * S + 1),
        Entry(b"null", CHARACTER, major=1, minor=3, mtime_ns=3),
    ],
    "devices": [
        Entry(b"last", BLOCK, mode=0o660, major=4095, minor=(1 << 20) - 1),
        Entry(b"low", CHARACTER, mode=0o666, major=1, minor=256),
        Entry(b"disk", BLOCK, major=259, minor=0), Entry(b"zero", BLOCK),
    ],
    "names": [
        *(file(bytes([byte]), b"%d" % byte) for byte in range(1, 256) if byte not in b"./"),
        *(file(bytes([byte]) * 255) for byte in b"!-0a~\xff"),
        file(b"..."), file(b".a"), file(b"-"), file(b"a"), file(b"ab"), file(b"abc"),
        file(b"new\nline"), file("ö".encode("latin-1")), file("日本".encode()),
    ],
    "blocks of names": [
        *(directory(b"d%d" % size) for size in (1, 13, 100, 229, 252)),
        *(file(b"d%d/" % size + b"n" * size + b"%03d" % at)
          for size in (1, 13, 100, 229, 252) for at in range(50)),
    ],
    "a deep path": [file(b"/".join([b"d"] * 2000), b"x")],
    "a path as long as they get": [file(b"/".join([b"x" * 254] * 16), b"y")],
    "links of all lengths": [
        link(b"l%d" % size, b"t" * size) for size in (*range(1, 600, 7), 447, 448, 449, 4095)
    ],
    "links with attributes": [
        link(b"l%d" % size, b"t" * size, xattrs={b"trusted.x": b"v" * size})
        for size in (1, 200, 210, 220, 230, 300, 500, 4000 // 4)
    ],
    "hard links": [
        file(b"a", b"text", xattrs={b"user.a": b"1"}), hard(b"b", b"a"), hard(b"d/c", b"./b"),
        link(b"s", b"nowhere"), hard(b"s2", b"s"), Entry(b"p", FIFO), hard(b"p2", b"p"),
        Entry(b"n", CHARACTER, major=1, minor=3), hard(b"n2", b"n"), hard(b"a", b"a"),
        file(b"usr/lib/x", b"x"), link(b"lib", b"usr/lib"), hard(b"y", b"lib/x"),
        hard(b"lib/z", b"y"), file(b"both"), hard(b"names", b"both"), hard(b"names", b"both"),
    ],
    "the same name twice": [
        file(b"a", b"first"), file(b"a", b"second"), link(b"a2", b"x"),
        link(b"a2", b"yy"), file(b"f"), directory(b"f"), file(b"f/x", b"in it"),
        directory(b"d", mode=0o700), file(b"d/x", b"1"), directory(b"d", mode=0o711, uid=5),
        Entry(b"dev", CHARACTER, major=1, minor=5), file(b"dev", b"file"), file(b"p"),
        Entry(b"p", FIFO), link(b"l", b"d"), directory(b"l"), file(b"l/own", b"own"),
    ],
    "paths through links": [
        directory(b"usr/bin"), link(b"bin", b"usr/bin"), file(b"bin/tool", b"t"),
        link(b"abs", b"/usr"), file(b"abs/lib/x", b"x"), link(b"up", b"../../.."),
        file(b"up/top", b"y"), link(b"usr/here", b"."), file(b"usr/here/here/z", b"z"),
        link(b"chain", b"abs/here"), file(b"chain/new/file", b"n"), link(b"d/back", b"../usr"),
        file(b"d/back/q", b"q"), file(b"/absolute//path/./file", b"p"), file(b"d/../usr/r"),
    ],
    "attributes": [
        file(b"f", b"x", xattrs={b"user.a": b"1", b"user.empty": b"", b"trusted.t": b"\0\xff",
                                 b"security.capability": b"\1\0\0\2" + bytes(16)}),
        directory(b"d", xattrs={b"user.d": b"d" * 1000, b"trusted.d": b"2"}),
        link(b"l", b"f", xattrs={b"user.no": b"x", b"trusted.yes": b"x", b"security.y": b"y"}),
        Entry(b"p", FIFO, xattrs={b"user.no": b"x", b"trusted.yes": b"x"}),
        file(b"left out", xattrs={b"security.selinux": b"x", b"trusted.overlay.opaque": b"y",
                                  b"user.overlay.whiteout": b"", b"system.other": b"z",
                                  b"other.x": b"z", b"nodot": b"n", b"lustre.lov": b"l"}),
        *(file(b"same%d" % at, b"x", xattrs={b"user.same": b"same" * 50, b"user.n": b"%d" % at})
          for at in range(100)),
        file(b"many", xattrs={b"user.%d" % number: b"v" for number in range(40)}),
        file(b"long", xattrs={b"user." + b"n" * 250: b"v" * 2000}),
        directory(b"./", xattrs={b"user.root": b"r", b"trusted.root": b"t" * 500}),
    ],
    "access lists": [
        file(b"named", b"x", mode=0o4640, xattrs={ACCESS: acl(*NAMED)}),
        file(b"minimal", b"x", mode=0o777, xattrs={ACCESS: acl(*MINIMAL)}),
        directory(b"d", mode=0o750, xattrs={ACCESS: acl(*NAMED), DEFAULT: acl(*MINIMAL)}),
        directory(b"none", xattrs={ACCESS: acl(), DEFAULT: acl()}),
        link(b"l", b"d", xattrs={ACCESS: acl(*NAMED)}),
        file(b"d/inherits nothing", mode=0o644),
    ],
    "sparse files": [
        sparse(b"hole", 1 << 20), sparse(b"one", 1 << 20, (4096, 512)),
        sparse(b"aligned", 200_000, (0, 4096), (65536, 8192), (196_608, 3392)),
        sparse(b"odd", 10_000, (1, 1), (3, 2), (513, 100), (1024, 511), (9_999, 1)),
        sparse(b"touching", 4096, (0, 100), (100, 412), (512, 1000), (1512, 2584)),
        sparse(b"begins late", 3000, (2048, 952)), sparse(b"ends early", 3000, (0, 700)),
        sparse(b"full", 1500, (0, 1500)), sparse(b"empty", 0), sparse(b"tiny", 1, (0, 1)),
        sparse(b"shifted", 1 << 16, (0, 5), (512, 4096), (8192, 9000), (40_000, 25_536)),
        sparse(b"giga", 1 << 30, (0, 10), (300_000_001, 70_000), ((1 << 30) - 5000, 5000)),
        sparse(b"many", 1 << 24, *((at * 8192, 512) for at in range(1500))),
        file(b"with attributes", b"", xattrs={b"user.x": b"y"}),
    ],
    "whiteouts": [
        file(b".wh.gone"), file(b".wh.kept"), file(b"kept", b"k"), file(b"d/.wh.x"),
        file(b"d/new", b"n"), file(b".wh.tree"), file(b"tree/file", b"t"),
        file(b"opaque/.wh..wh..opq"), file(b"opaque/sub/f", b"o"), file(b"implied/deep/.wh.y"),
        file(b".wh..wh.plnk/1.2", b"of AUFS"), file(b".wh..wh.aufs"), file(b"f/.wh.z"),
        file(b"f", b"hides it"), directory(b"real"), link(b"l", b"/real"), file(b"l/.wh.q"),
        file(b"l/.wh..wh..opq"), directory(b"both", xattrs={b"user.a": b"b"}),
        file(b"both/.wh..wh..opq"), file(b"both/.wh..wh..opq"), file(b".wh.both"),
        file(b".wh." + b"n" * 251), file(b"only/.wh..wh..opq"),
    ],
}  # fmt: skip
