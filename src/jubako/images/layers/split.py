"""The recipe by which the exact tar of an unpacked layer is put together again.

A layer's identity is the digest of its tar, and `save` and a push must reproduce that tar to the
byte.  Keeping it beside the unpacked files would double the disk space, so only what the files do
not hold is kept: headers, padding, the end.  File `split`, zlib-compressed as a whole:

    magic    b"jubako-split-1\\n"
    records  kind (1 byte) and a length (8 bytes, little endian), then
      R  `length` bytes of the archive, as they are
      F  a payload of `length` bytes from a file of the layer:
           u32 + bytes   path, below the layer's `diff` directory as it was named in the archive;
                         or, after a NUL, below its `shadowed` directory
           u32           number of pieces (0: the whole file), each u64 offset and u64 length

The archive is checked against the diff ID while it is put together, like any other input.
"""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO

from jubako.errors import IntegrityError, KernelError
from jubako.linux.atomic import write_all
from jubako.linux.openat2 import open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Buffer = bytes | memoryview
    Segments = list[tuple[int, int]]

MAGIC = b"jubako-split-1\n"
FILE_NAME = "split"
_RECORD = struct.Struct("<cQ")
_LENGTH = struct.Struct("<I")
_PIECE = struct.Struct("<QQ")
_FLUSH_BYTES = 1 << 18
_READ_BYTES = 1 << 20
_FILE = os.O_RDONLY | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class SplitWriter:
    """Collects records into the file `path`; a context manager that closes it."""

    def __init__(self, path: str):
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._compressor = _compressor()
        self._buffer = bytearray(MAGIC)
        self._raw = bytearray()

    def raw(self, data: Buffer) -> None:
        """Bytes of the archive."""
        self._raw += data
        if len(self._raw) > _FLUSH_BYTES:
            self._end_raw()

    def payload(self, path: bytes, size: int, segments: Segments | None) -> None:
        """A payload that is now in a file of the layer."""
        self._end_raw()
        pieces = segments or ()
        self._buffer += _RECORD.pack(b"F", size) + _LENGTH.pack(len(path)) + path
        self._buffer += _LENGTH.pack(len(pieces))
        for piece in pieces:
            self._buffer += _PIECE.pack(*piece)
        if len(self._buffer) > _FLUSH_BYTES:
            self._flush()

    def _end_raw(self) -> None:
        if self._raw:
            self._buffer += _RECORD.pack(b"R", len(self._raw))
            self._buffer += self._raw
            self._raw.clear()

    def _flush(self) -> None:
        write_all(self._fd, self._compressor.compress(bytes(self._buffer)))
        self._buffer.clear()

    def finish(self) -> None:
        """Write what is left."""
        self._end_raw()
        self._flush()
        write_all(self._fd, self._compressor.flush())

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)


def _compressor() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1)
    return isal_zlib.compressobj(1)


class _Records:
    """Reads the file sequentially."""

    def __init__(self, fd: int, what: str):
        self._fd = fd
        self._what = what
        self._inflater = zlib.decompressobj()
        self._buffer = bytearray()
        self._at = 0

    def read(self, size: int) -> bytes:
        while len(self._buffer) - self._at < size:
            del self._buffer[: self._at]
            self._at = 0
            data = self._inflater.unconsumed_tail or os.read(self._fd, 1 << 16)
            piece = self._inflater.decompress(data, _READ_BYTES)
            if not piece and not data:
                raise IntegrityError(f"{self._what}: the file ends too early")
            self._buffer += piece
        start = self._at
        self._at = start + size
        return bytes(self._buffer[start : self._at])

    def at_end(self) -> bool:
        if len(self._buffer) > self._at:
            return False
        while not self._inflater.eof:
            data = self._inflater.unconsumed_tail or os.read(self._fd, 1 << 16)
            piece = self._inflater.decompress(data, _READ_BYTES)
            if piece:
                self._buffer[:] = piece
                self._at = 0
                return False
            if not data:
                raise IntegrityError(f"{self._what}: the file ends too early")
        return True


def records(path: str) -> Iterator[tuple[bytes, int, bytes, Segments]]:
    """Each record: (b"R", length, bytes, []) or (b"F", length, path, pieces).

    Raises KernelError, IntegrityError (damaged file).
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=path) from exc
    try:
        source = _Records(fd, path)
        if source.read(len(MAGIC)) != MAGIC:
            raise IntegrityError(f"{path}: not a recipe of a layer")
        while not source.at_end():
            kind, length = _RECORD.unpack(source.read(_RECORD.size))
            if kind == b"R":
                yield kind, length, source.read(length), []
            elif kind == b"F":
                name = source.read(_LENGTH.unpack(source.read(_LENGTH.size))[0])
                count = _LENGTH.unpack(source.read(_LENGTH.size))[0]
                pieces = [_PIECE.unpack(source.read(_PIECE.size)) for _ in range(count)]
                yield kind, length, name, pieces
            else:
                raise IntegrityError(f"{path}: unknown record {kind!r}")
    except zlib.error as exc:
        raise IntegrityError(f"{path}: {exc}") from exc
    finally:
        os.close(fd)


def rewrite(path: str, rename: Callable[[int, bytes], bytes]) -> None:
    """Change paths of payloads: `rename` gets the number of the F record and its path."""
    new = path + ".new"
    with SplitWriter(new) as writer:
        number = 0
        for kind, length, data, pieces in records(path):
            if kind == b"R":
                writer.raw(data)
            else:
                writer.payload(rename(number, data), length, pieces or None)
                number += 1
        writer.finish()
    os.rename(new, path)


def assemble(directory: str) -> Iterator[memoryview]:
    """The archive of the layer in `directory`, in pieces of 1 MiB; the last may be shorter.

    Nobody changes a piece any more.  Raises IntegrityError if a file is missing or has another
    size; whether the bytes are right is for the caller to check with the diff ID.
    """
    try:
        with _Files(directory) as files:
            piece, at = memoryview(bytearray(_READ_BYTES)), 0
            for read, size in _parts(directory, files):
                while size:
                    count = read(piece[at : at + size])
                    size -= count
                    at += count
                    if at == _READ_BYTES:
                        yield piece
                        piece, at = memoryview(bytearray(_READ_BYTES)), 0
            if at:
                yield piece[:at]
    except KernelError:
        raise
    except OSError as exc:
        raise KernelError.from_oserror("read layer", exc, path=directory) from exc


def _parts(directory: str, files: _Files) -> Iterator[tuple[Callable[[memoryview], int], int]]:
    """What the archive consists of, each with its size; the function reads some of it."""
    for kind, length, data, pieces in records(f"{directory}/{FILE_NAME}"):
        if kind == b"R":
            yield BytesIO(data).readinto, length
            continue
        files.open(data)
        for offset, size in pieces or ((0, length),):
            files.seek(offset)
            yield files.read, size


class _Files:
    """The files of an unpacked layer, one at a time, as the recipe names them."""

    def __init__(self, directory: str):
        self._directory = directory
        self._name = b""
        self._fd = -1
        self._parent_name: bytes | None = None
        self._parent = -1  # neighbours in an archive are mostly neighbours on the disk

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
        self._leave()

    def open(self, name: bytes) -> None:
        """Go on to another file.  Raises OSError."""
        self._close()
        parent, _, base = name.rpartition(b"/")
        if not parent and name[:1] == b"\0":
            parent, base = b"\0", name[1:]
        if parent != self._parent_name:
            self._enter(parent)
        self._fd = os.open(base, _FILE, dir_fd=self._parent)
        self._name = name

    def seek(self, offset: int) -> None:
        os.lseek(self._fd, offset, os.SEEK_SET)

    def read(self, view: memoryview) -> int:
        count = os.readv(self._fd, [view])
        if not count:
            name = os.fsdecode(self._name.lstrip(b"\0"))
            raise IntegrityError(f"layer {self._directory}: {name} is too short")
        return count

    def _enter(self, name: bytes) -> None:
        self._leave()
        shadowed = name[:1] == b"\0"
        top = os.open(f"{self._directory}/{'shadowed' if shadowed else 'diff'}", _DIRECTORY)
        try:
            below = os.fsdecode(name[1:] if shadowed else name)
            self._parent = open_in_root(top, below or ".", _DIRECTORY)
            self._parent_name = name
        finally:
            os.close(top)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _leave(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
            self._parent, self._parent_name = -1, None
