"""Storing a layer as its tar and an index."""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.images.layers.erofs.build import build
from jubako.images.layers.members import OPAQUE_MARK, ROOT_MARK
from jubako.linux.atomic import start_writing, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jubako.images.tar import Limits

    Buffer = bytes | memoryview

TAR = "tar"
INDEX = "index"
TREE = "tree"
_NEW = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_BYTES = 1 << 20
_WRITE_BYTES = 8 << 20  # of which the disk is told at once, while more arrives


class ErofsDriver:
    """See `driver.LayerDriver`.  limits: what an archive may contain."""

    name = "erofs"

    def __init__(self, limits: Limits | None = None):
        self._limits = limits

    def unpack(self, buffers: Iterable[Buffer], directory: str) -> int:
        try:
            os.mkdir(f"{directory}/{TREE}", 0o755)
            tar = os.open(f"{directory}/{TAR}", os.O_WRONLY | _NEW, 0o600)
            try:
                index = os.open(f"{directory}/{INDEX}", os.O_RDWR | _NEW, 0o600)
                try:
                    layer = build(_store(buffers, tar), index, self._limits)
                finally:
                    os.close(index)
            finally:
                os.close(tar)
            for name, is_set in ((ROOT_MARK, layer.has_root), (OPAQUE_MARK, layer.is_opaque)):
                if is_set:
                    os.close(os.open(f"{directory}/{name}", os.O_WRONLY | _NEW, 0o600))
        except OSError as exc:
            if isinstance(exc, KernelError):
                raise
            raise _kernel_error(exc, directory) from exc
        return layer.size_bytes

    def archive(self, directory: str) -> Iterator[Buffer]:
        path = f"{directory}/{TAR}"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while piece := os.read(fd, _READ_BYTES):
                    yield piece
            finally:
                os.close(fd)
        except OSError as exc:
            raise KernelError.from_oserror("read layer", exc, path=path) from exc

    def make_durable(self, directories: Sequence[str]) -> None:
        # A few large files for each layer: what else is on the file system need not be waited for.
        for directory in directories:
            for name in (TAR, INDEX, ""):
                path = f"{directory}/{name}"
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    try:
                        os.fsync(fd)
                    finally:
                        os.close(fd)
                except OSError as exc:
                    raise KernelError.from_oserror("fsync", exc, path=path) from exc


def _store(buffers: Iterable[Buffer], fd: int) -> Iterator[Buffer]:
    """The same buffers, each written as a whole before it is read."""
    started = written = 0
    for buffer in buffers:
        write_all(fd, buffer)
        written += len(buffer)
        if written - started >= _WRITE_BYTES:
            start_writing(fd, started, written - started)
            started = written
        yield buffer
    start_writing(fd, started, written - started)


def _kernel_error(exc: OSError, directory: str) -> KernelError:
    hint = None
    if exc.errno == errno.ENOSPC:
        hint = "free some disk space: jubako image prune"
    return KernelError("unpack", exc.errno or 0, path=exc.filename or directory, hint=hint)
