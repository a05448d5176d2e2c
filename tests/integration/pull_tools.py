"""Layers for tests of pulls, and what a pull may leave behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard

from jubako.images import ImageService
from jubako.images.pulling import Pulled
from jubako.store import Store
from tests.fixtures.bad_registry import BadRegistry


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


class Root:
    """One root and the registry that its pulls go to."""

    def __init__(self, path: Path, bad: BadRegistry):
        self.path = path
        self.bad = bad
        self.store = Store(str(path))
        self.images = ImageService(self.store)

    def pull(self, name: str = "app", **options: Any) -> Pulled:
        [found] = self.images.pull(f"{self.bad.host}/{name}", **options)
        return found

    def partial(self) -> dict[str, int]:
        """Digest and size of what interrupted pulls have left to go on from."""
        directory = self.path / "content" / ".partial"
        files = directory.iterdir() if directory.exists() else ()
        return {file.name.replace("-", ":", 1): file.stat().st_size for file in files}

    def check(self, *expected: str) -> None:
        """Rows and files agree, all of it is whole, and there are the images `expected`."""
        db = self.store.db
        layers = {row[0] for row in db.execute("SELECT diff_id FROM layers")}
        on_disk = {f"sha256:{name}" for name in _names(self.path / "layers")}
        assert on_disk == layers
        for directory in ("layers", "content"):
            ingest = self.path / directory / ".ingest"
            assert set(_names(ingest)) <= {"empty"}, list(_names(ingest))
        for diff_id in layers:
            hasher = hashlib.sha256()
            for piece in self.images.layers.archive(diff_id):
                hasher.update(piece)
            assert f"sha256:{hasher.hexdigest()}" == diff_id
        query = "SELECT id FROM images UNION SELECT digest FROM blobs"
        query += " UNION SELECT digest FROM manifests"
        named = {row[0] for row in db.execute(query)}
        for name in _names(self.path / "content" / "sha256"):
            assert f"sha256:{name}" in named, "a blob that nothing names"
            content = (self.path / "content" / "sha256" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == name
        tags = dict(
            db.execute("SELECT name, image_id FROM tags WHERE name NOT LIKE '%@%'").fetchall()
        )
        assert set(tags) == {f"{self.bad.host}/{name}:latest" for name in expected}
        query = (
            "SELECT id FROM images WHERE id NOT IN (SELECT parent FROM images WHERE parent <> '')"
        )
        assert {row[0] for row in db.execute(query)} == set(tags.values())
        used = {row[0] for row in db.execute("SELECT diff_id FROM image_layers")}
        assert used <= layers

    def close(self) -> None:
        self.store.close()


def _names(path: Path) -> Iterator[str]:
    """What is in a directory, if it is there; without what starts with a dot."""
    for name in os.listdir(path) if path.exists() else ():
        if not name.startswith("."):
            yield name
