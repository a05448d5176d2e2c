"""Trees to compare: what an EROFS layer shows, and what it should show."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jubako.images.layers.erofs import ErofsDriver
from jubako.images.layers.overlay import OverlayDriver
from jubako.images.layers.paths import DIRECTORY_FLAGS, walk
from jubako.images.tar import Entry, TarWriter
from jubako.linux import erofs

Tree = dict[bytes, dict[str, object]]


@contextmanager
def mounted(layer: Path, tar: Path | None = None) -> Iterator[Path]:
    """The tree that the index in `layer` shows, as a path; nothing of it is in any namespace."""
    fd = erofs.mount(str(layer / "index"), str(tar or layer / "tar"), why="test")
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def unpack(data: bytes | Iterable[bytes], layer: Path) -> int:
    """Make an EROFS layer of an archive."""
    layer.mkdir()
    return ErofsDriver().unpack([data] if isinstance(data, bytes) else data, str(layer))


def unpack_plainly(data: bytes | Iterable[bytes], layer: Path) -> int:
    """Make a directory of it, `layer/diff`."""
    layer.mkdir()
    return OverlayDriver().unpack([data] if isinstance(data, bytes) else data, str(layer))


def describe(top: Path, *, content: bool = True) -> Tree:
    """All that can be seen of each file below `top`, which is b""."""
    root = os.open(top, DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
    try:
        found = {b"": _describe(root, b".", os.fstat(root), content)}
        for path, status in walk(root):
            found[path] = _describe(root, path, status, content)
        return found
    finally:
        os.close(root)


def _describe(root: int, path: bytes, status: os.stat_result, content: bool) -> dict[str, object]:
    parent, _, base = path.rpartition(b"/")
    directory = os.open(parent or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        name = b"/proc/self/fd/%d/%s" % (directory, base)
        found: dict[str, object] = {
            "mode": oct(status.st_mode),
            "owner": (status.st_uid, status.st_gid),
            "links": status.st_nlink,
            "mtime": status.st_mtime_ns,
            "xattrs": {
                key: os.getxattr(name, key, follow_symlinks=False)
                for key in sorted(os.listxattr(name, follow_symlinks=False))
            },
        }
        if stat.S_ISREG(status.st_mode):
            found["size"] = status.st_size
            if content:
                with open(name, "rb") as file:
                    found["content"] = hashlib.file_digest(file, "sha256").hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            found["target"] = os.readlink(name)
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            found["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
        return found
    finally:
        os.close(directory)


def differences(one: Tree, other: Tree) -> list[str]:
    """One line for each fact in which the trees differ."""
    lines = [f"{path!r} is only in one" for path in sorted(one.keys() ^ other.keys())]
    for path in sorted(one.keys() & other.keys()):
        for key in sorted(one[path].keys() | other[path].keys()):
            first, second = one[path].get(key), other[path].get(key)
            if first != second:
                lines.append(f"{path!r}: {key}: {first!r} != {second!r}")
    return lines


def tar(*members: Entry | tuple[Entry, bytes]) -> bytes:
    """An archive of entries, with the content of those that have any."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for member in members:
        entry, content = member if isinstance(member, tuple) else (member, b"")
        writer.add(entry, [content] if content else [])
    writer.close()
    return out.getvalue()
