"""A layer of which all names are there, and of the files' content what was fetched so far.

    <directory>/layer/    as the driver `erofs` has it: `index`, `tree`, marks, and as its `tar` the
                          data: each file's content from a page of its own on, a hole where it is
                          missing
    <directory>/toc       the table of contents as it is in the blob
    <directory>/size      the bytes of its files
    <directory>/filled    a byte for each part: 1 once its content is in the data

It is made of the table of contents alone.  The exact tar takes its place once all has come.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right

from jubako.errors import InvalidArgument, KernelError
from jubako.images.layers.erofs.build import build_placed
from jubako.images.layers.erofs.driver import INDEX, TREE
from jubako.images.layers.members import OPAQUE_MARK, ROOT_MARK
from jubako.images.lazy import toc, zstd_chunked
from jubako.images.lazy.places import LAYER, SIZE
from jubako.linux.atomic import write_all
from jubako.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jubako.images.tar import Entry
    from jubako.oci.manifest import Descriptor

    Inflate = Callable[[bytes, toc.Part], bytes]
    ReadRange = Callable[[int, int], bytes]  # so many bytes of the blob, from one on

_TOC, _FILLED = "toc", "filled"
_PAGE_BYTES = 4096
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# What deflate may add to a part, and what of its member may lie around that.
_EXTRA_BYTES = 64 << 10


class LazyLayer:
    """directory: where it lies.  data: a descriptor of the data, whose use raises no events.

    parts: of all files, in the order of the data.  For one thread; different parts may be filled by
    different threads.
    """

    def __init__(
        self,
        directory: str,
        data: int,
        files: Sequence[toc.File],
        toc_at: int,
        inflate: Inflate,
    ):
        self._data = data
        self._inflate = inflate
        self.parts: list[toc.Part] = []
        self._starts: list[int] = []
        for position, file in _placed(files):
            for part in file.parts:
                self._starts.append(position + part.offset)
                self.parts.append(part)
        self._ends = sorted({part.blob_offset for part in self.parts} | {toc_at})
        self._filled = _map(f"{directory}/{_FILLED}", len(self.parts))

    def overlapping(self, offset: int, size: int) -> Iterator[int]:
        """The parts that have to be there before these bytes of the data are read."""
        number = max(0, bisect_right(self._starts, offset) - 1)
        while number < len(self.parts) and self._starts[number] < offset + size:
            if self._starts[number] + self.parts[number].size > offset:
                yield number
            number += 1

    def is_filled(self, number: int) -> bool:
        """Whether the content of a part is in the data."""
        return bool(self._filled[number])

    def blob_range(self, number: int) -> tuple[int, int]:
        """Where the part's content is in the blob: from one byte to before another."""
        part = self.parts[number]
        end = self._ends[bisect_right(self._ends, part.blob_offset)]
        size = part.inner + part.size
        return part.blob_offset, min(end, part.blob_offset + size + size // 512 + _EXTRA_BYTES)

    def fill(self, number: int, member: bytes) -> None:
        """Put a part in its place, from the bytes of its range of the blob.

        Raises IntegrityError (they are not what the table promised), KernelError.
        """
        content = memoryview(self._inflate(member, self.parts[number]))
        at = self._starts[number]
        try:
            while content:
                written = os.pwrite(self._data, content, at)
                at += written
                content = content[written:]
        except OSError as exc:
            raise KernelError.from_oserror("write layer", exc) from exc
        self._filled[number] = 1


def prepare(directory: str, data: int, descriptor: Descriptor, read: ReadRange) -> LazyLayer:
    """Make a layer of its table of contents.

    directory, data: `layer` is in the one, with an empty data file, whose descriptor is the other.
    read: gives bytes of the blob.  Raises InvalidArgument and IntegrityError (a hostile or damaged
    table), KernelError, and what `read` raises.
    """
    toc_at, size = _find_toc(descriptor, read)
    packed = read(toc_at, size)
    files, table = _files(descriptor, packed, toc_at)
    try:
        _write_new(f"{directory}/{_TOC}", packed)
        size_bytes = _build(f"{directory}/{LAYER}", files)
        _write_new(f"{directory}/{SIZE}", str(size_bytes).encode())
        end = _end(files)
        # The file ends with a page: a block that is only half there, EROFS cannot read.
        os.pwrite(data, b"\0", max(1, -(-end // _PAGE_BYTES)) * _PAGE_BYTES - 1)
        os.pwrite(data, table, end - len(table))
    except OSError as exc:
        if isinstance(exc, KernelError):
            raise
        raise KernelError.from_oserror("prepare layer", exc, path=directory) from exc
    return LazyLayer(directory, data, files, toc_at, _inflater(descriptor))


def reopen(directory: str, data: int, descriptor: Descriptor) -> LazyLayer:
    """A layer that another process had prepared."""
    try:
        with open(f"{directory}/{_TOC}", "rb") as file:
            packed = file.read()
    except OSError as exc:
        raise KernelError.from_oserror("read", exc) from exc
    toc_at = descriptor.size - toc.FOOTER_BYTES - len(packed)
    if _is_zstd(descriptor):
        toc_at, _ = zstd_chunked.toc_range(descriptor.annotations, descriptor.size)
    files, _ = _files(descriptor, packed, toc_at)
    return LazyLayer(directory, data, files, toc_at, _inflater(descriptor))


def _is_zstd(descriptor: Descriptor) -> bool:
    return zstd_chunked.POSITION in descriptor.annotations


def _inflater(descriptor: Descriptor) -> Inflate:
    return zstd_chunked.inflate if _is_zstd(descriptor) else toc.inflate


def _find_toc(descriptor: Descriptor, read: ReadRange) -> tuple[int, int]:
    """Where the table begins in the blob, and its size there."""
    size = descriptor.size
    if _is_zstd(descriptor):
        return zstd_chunked.toc_range(descriptor.annotations, size)
    if size <= toc.FOOTER_BYTES:
        raise InvalidArgument("the layer is too small to have a table of contents")
    end = size - toc.FOOTER_BYTES
    toc_at = toc.toc_offset(read(end, toc.FOOTER_BYTES), size)
    if end - toc_at > toc.MAX_TOC_BYTES:
        raise InvalidArgument(f"the table of contents has more than {toc.MAX_TOC_BYTES} bytes")
    return toc_at, end - toc_at


def _files(descriptor: Descriptor, packed: bytes, toc_at: int) -> tuple[list[toc.File], bytes]:
    """All files of the layer; and the table of contents, where it is the last of them, or b""."""
    if _is_zstd(descriptor):
        table = zstd_chunked.unpack_toc(descriptor.annotations, packed)
        return toc.parse_toc(table, toc_at), b""
    digest = Digest.parse(descriptor.annotations.get(toc.ANNOTATION, ""))
    entry, table = toc.unpack_toc(packed, digest)
    return [*toc.parse_toc(table, toc_at), toc.File(entry, ())], table


def _placed(files: Sequence[toc.File]) -> Iterator[tuple[int, toc.File]]:
    """Each file with the position of its content in the data."""
    position = 0
    for file in files:
        yield position, file
        # No page has bytes of two files: who reads one does not need the other.
        position += -(-file.entry.size // _PAGE_BYTES) * _PAGE_BYTES


def _end(files: Sequence[toc.File]) -> int:
    """The bytes of the data, up to the last one of a file."""
    return max((position + file.entry.size for position, file in _placed(files)), default=0)


def _build(directory: str, files: Sequence[toc.File]) -> int:
    """Write the index; the bytes of all files."""
    index = os.open(f"{directory}/{INDEX}", os.O_RDWR | _NEW, 0o600)
    try:
        shown = build_placed(_entries(files), _end(files), index)
    finally:
        os.close(index)
    os.mkdir(f"{directory}/{TREE}", 0o755)
    for name, is_set in ((ROOT_MARK, shown.has_root), (OPAQUE_MARK, shown.is_opaque)):
        if is_set:
            os.close(os.open(f"{directory}/{name}", os.O_WRONLY | _NEW, 0o600))
    return shown.size_bytes


def _entries(files: Sequence[toc.File]) -> Iterator[tuple[int, Entry]]:
    for position, file in _placed(files):
        yield position, file.entry


def _write_new(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | _NEW, 0o600)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def _map(path: str, size: int) -> mmap.mmap:
    """A file of so many bytes, shared with whoever maps it after this process."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, max(size, 1))
            return mmap.mmap(fd, max(size, 1))
        finally:
            os.close(fd)
    except OSError as exc:
        raise KernelError.from_oserror("map", exc, path=path) from exc
