"""Layers for tests of pulls."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from typing import Any

import zstandard


def layer_of(files: dict[str, bytes]) -> bytes:
    """A layer of files; directories are made as they come."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no compression makes shorter, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def gzip_bomb(size: int) -> bytes:
    """A gzip of a tar with a file of zeros that inflates to `size` bytes,
    a thousandth of that on the wire."""
    return _bomb(size, lambda out: gzip.GzipFile(fileobj=out, mode="wb", mtime=0))


def zstd_bomb(size: int) -> bytes:
    """The same in zstd, where a ten-thousandth is enough."""
    compressor = zstandard.ZstdCompressor(level=3)
    return _bomb(size, lambda out: compressor.stream_writer(out, closefd=False))


def _bomb(size: int, opened: Callable[[io.BytesIO], Any]) -> bytes:
    out = io.BytesIO()
    entry = tarfile.TarInfo("zeros")
    entry.size = size
    with opened(out) as packed:
        packed.write(entry.tobuf(tarfile.PAX_FORMAT))
        block = bytes(1 << 20)
        for _ in range(size >> 20):
            packed.write(block)
        packed.write(bytes(1024))
    return out.getvalue()
