"""A layer's blob is made again to the byte, and the recipe for that is found by trying."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
import threading
import zlib
from pathlib import Path
from typing import Protocol

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jubako.errors import Unsupported
from jubako.images.content import recipes
from jubako.images.content.recipe_search import find_recipe, is_plain

RECIPES = [
    recipes.PLAIN,
    recipes.segmented_gzip(),
    recipes.segmented_gzip(2),
    recipes.gzip("isal", 1),
    recipes.gzip("isal", 3),
    recipes.gzip("zlib", 1),
    recipes.gzip("zlib", 6),
    recipes.gzip("zlib", 9, memory=9),
    recipes.gzip("zlib", 1, segment=recipes.SEGMENT_BYTES),
    recipes.zstd(3),
    recipes.zstd(1, checksum=True, size=True),
    recipes.zstd(7, threads=1, checksum=True),
]


def text(size: int, seed: int = 1) -> bytes:
    """Bytes that compress as files do."""
    source = random.Random(seed)
    words = [source.randbytes(source.randint(2, 9)).hex().encode() for _ in range(3000)]
    return b" ".join(source.choices(words, k=size // 12))


TAR = text(3_000_000)


class Finder(Protocol):
    def __call__(self, blob: bytes, budget_s: float = 60) -> str: ...


def made(recipe: str, data: bytes, step: int = 100_000) -> bytes:
    pieces = (memoryview(data)[at : at + step] for at in range(0, len(data), step))
    return b"".join(recipes.compress(recipe, pieces, tar_bytes=len(data)))


def inflated(blob: bytes) -> bytes:
    if blob.startswith(b"\x1f\x8b"):
        return gzip.decompress(blob)
    if blob.startswith(b"\x28\xb5\x2f\xfd"):
        with zstandard.ZstdDecompressor().stream_reader(blob) as reader:
            return reader.read()
    return blob


@pytest.fixture
def found(tmp_path: Path) -> Finder:
    def find(blob: bytes, budget_s: float = 60) -> str:
        path = tmp_path / "blob"
        path.write_bytes(blob)
        with path.open("rb") as file:
            return find_recipe(file.fileno(), budget_s=budget_s)

    return find


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_makes_the_same_bytes_however_the_tar_comes(recipe: str) -> None:
    blob = made(recipe, TAR)
    assert inflated(blob) == TAR
    assert made(recipe, TAR, step=len(TAR)) == made(recipe, TAR, step=8191) == blob


@pytest.mark.parametrize("recipe", RECIPES)
def test_of_nothing(recipe: str) -> None:
    assert inflated(made(recipe, b"")) == b""


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=5000), segment=st.integers(1, 700), step=st.integers(1, 999))
def test_segments_are_one_member(data: bytes, segment: int, step: int) -> None:
    blob = made(recipes.gzip("isal", 1, segment=segment), data, step)
    inflater = zlib.decompressobj(31)
    assert inflater.decompress(blob) == data
    assert inflater.eof and not inflater.unused_data
    assert blob.startswith(recipes.HEADER)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_found(recipe: str, found: Finder) -> None:
    blob = made(recipe, TAR)
    assert made(found(blob), TAR) == blob


@pytest.mark.parametrize("level", [1, 6, 9])
def test_what_python_writes_is_found(level: int, found: Finder) -> None:
    out = io.BytesIO()
    with gzip.GzipFile("layer.tar", "wb", level, out, mtime=1234567) as file:
        file.write(TAR)
    recipe = found(out.getvalue())
    assert f"library=zlib level={level} " in recipe
    assert made(recipe, TAR) == out.getvalue()


def test_headers_of_others_are_kept(found: Finder) -> None:
    """Extra field, name, comment and checksum (RFC 1952, 2.3), as Go and others write them."""
    plain = made(recipes.gzip("zlib", 6), TAR)
    header = bytes((0x1F, 0x8B, 8, 4 | 8 | 16 | 2, 1, 2, 3, 4, 0, 3))
    header += b"\x03\x00abc" + b"name\0" + b"comment\0"
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    blob = header + plain[len(recipes.HEADER) :]
    recipe = found(blob)
    assert recipe.endswith(header.hex())
    assert made(recipe, TAR) == blob


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(made(recipes.gzip("zlib", 6), TAR) + b"\0", id="something behind"),
        pytest.param(made(recipes.gzip("zlib", 6), TAR)[:-9], id="truncated"),
        pytest.param(2 * made(recipes.gzip("zlib", 6), TAR), id="two members"),
        pytest.param(2 * made(recipes.zstd(3), TAR), id="two frames"),
        pytest.param(made(recipes.zstd(3), TAR)[:-9], id="half a frame"),
        pytest.param(b"\x1f\x8b\x08\x08" + b"n" * 2000, id="a name without end"),
        pytest.param(b"\x1f\x8b\x08", id="no header"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="no frame"),
        pytest.param(b"BZh9" + b"x" * 100, id="bzip2"),
    ],
)
def test_what_no_recipe_makes(blob: bytes, found: Finder) -> None:
    assert found(blob) == ""


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=300), start=st.sampled_from((b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd")))
def test_nonsense_is_no_blob(data: bytes, start: bytes) -> None:
    with open(os.memfd_create("blob"), "r+b") as file:
        file.write(start + data)
        file.flush()
        recipe = find_recipe(file.fileno())
        assert recipe == "" or made(recipe, inflated(start + data)) == start + data


def test_a_program_of_the_distribution(tmp_path: Path, found: Finder) -> None:
    """GNU gzip is no zlib: what it writes is refused, and never taken for something else."""
    program = shutil.which("gzip")
    if program is None:
        pytest.skip("needs gzip")
    blob = subprocess.run([program, "-6"], input=TAR, stdout=subprocess.PIPE, check=True).stdout
    recipe = found(blob)
    assert recipe == "" or made(recipe, TAR) == blob


def test_time_is_bounded(found: Finder) -> None:
    assert found(made(recipes.gzip("zlib", 9), TAR), 0) == ""


def test_plain(tmp_path: Path) -> None:
    for recipe in RECIPES:
        (tmp_path / "blob").write_bytes(made(recipe, TAR[:1000]))
        with open(tmp_path / "blob", "rb") as file:
            assert is_plain(file.fileno()) == (recipe == recipes.PLAIN)


@pytest.mark.parametrize(
    "recipe",
    [
        *("", "rar", "gzip", "gzip level=1", "gzip library=pigz level=1 memory=8 header=1f8b"),
        *("gzip library=zlib level=x memory=8 header=1f8b", "zstd", "zstd level=3 threads=0"),
        "gzip library=zlib level=1 memory=8 header=xy",
    ],
)
def test_recipes_of_newer_engines(recipe: str) -> None:
    with pytest.raises(Unsupported):
        recipes.compress(recipe, [b""])


def test_an_iterator_that_is_given_up_leaves_no_thread() -> None:
    before = threading.active_count()
    pieces = recipes.compress(recipes.segmented_gzip(), (TAR for _ in range(100)))
    next(pieces)
    next(pieces)
    close = getattr(pieces, "close", None)
    assert close is not None
    close()
    assert threading.active_count() == before
