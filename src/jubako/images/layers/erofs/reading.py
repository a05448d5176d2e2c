"""Reading an index that `build` made, without mounting it.

An index is our own file, but a disk may damage it: whatever does not fit together raises.
"""

from __future__ import annotations

import mmap
import os

from jubako.images.layers.attributes import IGNORED
from jubako.images.layers.erofs import format
from jubako.images.layers.erofs.format import (
    BLOCK_BITS,
    BLOCK_BYTES,
    CHUNK_INDEX,
    DIRENT,
    INODE,
    INODE_BYTES,
    SLOT_BITS,
)
from jubako.images.layers.erofs.xattrs import read_attributes
from jubako.images.layers.whiteout import OPAQUE_XATTR
from jubako.images.tar import BLOCK, CHARACTER, DIRECTORY, FIFO, REGULAR, SYMLINK, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    Extent = tuple[int, int, int, int]

_KINDS = {
    format.FILE: REGULAR,
    format.DIRECTORY: DIRECTORY,
    format.CHARACTER: CHARACTER,
    format.BLOCK: BLOCK,
    format.FIFO: FIFO,
    format.SYMLINK: SYMLINK,
}
_OPAQUE = OPAQUE_XATTR.encode()


class IndexReader:
    """The index in the open file `fd`, which may be closed afterwards; a context manager.

    Methods raise ValueError, IndexError or struct.error where the index is damaged.
    """

    def __init__(self, fd: int):
        self._data = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        block = self._data[format.SUPER_OFFSET : format.META_OFFSET]
        self.root, xattr_block = format.read_superblock(block)
        self._pool = xattr_block * BLOCK_BYTES
        self._attributes: dict[bytes, dict[bytes, bytes]] = {b"": {}}

    def __enter__(self) -> IndexReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._data.close()

    def names(self, number: int) -> list[tuple[bytes, int, int]]:
        """What is in a directory: name, inode number, file type; without `.` and `..`."""
        at = number << SLOT_BITS
        layout, attributes, _, _, size, block, *_ = INODE.unpack_from(self._data, at)
        if layout == format.FLAT_INLINE:
            at += INODE_BYTES + _body_bytes(attributes)
        else:
            at = block * BLOCK_BYTES
        found: list[tuple[bytes, int, int]] = []
        for start in range(at, at + size, BLOCK_BYTES):
            found += _block(self._data[start : min(start + BLOCK_BYTES, at + size)])
        return found

    def member(self, number: int, file_type: int, name: bytes) -> tuple[Entry, int, list[Extent]]:
        """The inode as a member of an archive, how many names it has, and a file's content.

        The content without its holes: (offset, length, device, position) of each piece; device:
        format.TAR_DEVICE or 0 for the index itself; position: in bytes there.
        """
        at = number << SLOT_BITS
        layout, attributes, mode, _, size, union, _, uid, gid, seconds, fraction, links = (
            INODE.unpack_from(self._data, at)
        )
        entry = Entry(
            name,
            _KINDS[file_type],
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            mtime_ns=seconds * 1_000_000_000 + fraction,
        )
        if attributes:
            entry.xattrs = self._wanted(at, attributes)
        extents: list[Extent] = []
        if file_type == format.FILE:
            entry.size = entry.payload_bytes = size
            if layout == format.CHUNK_BASED:
                body = _body_bytes(attributes)
                extents = self._extents(at + INODE_BYTES + body + -body % 8, size, union)
        elif file_type == format.SYMLINK:
            entry.link = self._link(at)
        elif file_type in (format.CHARACTER, format.BLOCK):
            entry.major, entry.minor = format.of_device_number(union)
        return entry, links, extents

    def is_whiteout(self, number: int, file_type: int) -> bool:
        """Whether it is overlayfs's mark of a name that is gone."""
        if file_type != format.CHARACTER:
            return False
        return not INODE.unpack_from(self._data, number << SLOT_BITS)[5]

    def is_opaque(self, number: int) -> bool:
        """Whether a directory hides what lower layers have in it."""
        at = number << SLOT_BITS
        attributes = INODE.unpack_from(self._data, at)[1]
        return bool(attributes) and self._all(at, attributes).get(_OPAQUE) == b"y"

    def read(self, position: int, size: int) -> bytes:
        """Content that lies in the index itself."""
        return self._data[position : position + size]

    def _extents(self, at: int, size: int, union: int) -> list[Extent]:
        """at: where the indexes of the chunks begin."""
        bits = (union & (format.CHUNK_INDEXES - 1)) + BLOCK_BITS
        if 0 < size <= 1 << bits:
            _, device, block = CHUNK_INDEX.unpack_from(self._data, at)
            return [] if block == format.HOLE else [(0, size, device, block * BLOCK_BYTES)]
        found: list[Extent] = []
        for offset in range(0, size, 1 << bits):
            _, device, block = CHUNK_INDEX.unpack_from(self._data, at)
            at += CHUNK_INDEX.size
            if block != format.HOLE:
                extent = (offset, min(1 << bits, size - offset), device, block * BLOCK_BYTES)
                _append(found, extent)
        return found

    def _link(self, at: int) -> bytes:
        layout, attributes, _, _, size, block, *_ = INODE.unpack_from(self._data, at)
        if layout == format.FLAT_INLINE:
            at += INODE_BYTES + _body_bytes(attributes)
        else:
            at = block * BLOCK_BYTES
        return self._data[at : at + size]

    def _wanted(self, at: int, attributes: int) -> dict[bytes, bytes]:
        found = self._all(at, attributes)
        return {key: value for key, value in found.items() if not key.startswith(IGNORED)}

    def _all(self, at: int, attributes: int) -> dict[bytes, bytes]:
        start = at + INODE_BYTES
        body = self._data[start : start + _body_bytes(attributes)]
        found = self._attributes.get(body)
        if found is None:
            found = read_attributes(body, self._data, self._pool)
            self._attributes[body] = found
        return found


def open_reader(directory: str) -> IndexReader:
    """The index of the layer in `directory`.  Raises OSError, ValueError."""
    fd = os.open(f"{directory}/index", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return IndexReader(fd)
    finally:
        os.close(fd)


def _body_bytes(attributes: int) -> int:
    return 8 + 4 * attributes if attributes else 0


def _append(found: list[Extent], extent: Extent) -> None:
    """Join it with the last one if it goes on there."""
    if found:
        offset, length, device, position = found[-1]
        if (offset + length, device, position + length) == (extent[0], extent[2], extent[3]):
            found[-1] = (offset, length + extent[1], device, position)
            return
    found.append(extent)


def _block(data: bytes) -> list[tuple[bytes, int, int]]:
    """The entries of one block of a directory."""
    count = DIRENT.unpack_from(data)[1] // DIRENT.size
    rows = list(DIRENT.iter_unpack(data[: count * DIRENT.size]))
    ends = [row[1] for row in rows[1:]] + [len(data)]
    found = []
    for (number, start, file_type, _), end in zip(rows, ends, strict=True):
        name = data[start:end]
        if end == len(data):
            name = name.rstrip(b"\0")
        if name not in (b".", b".."):
            found.append((name, number, file_type))
    return found
