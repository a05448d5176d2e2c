"""Deleting trees, with one thread and with several: everything in them goes, nothing else."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.linux.removal import remove_large_tree, remove_tree

Remove = Callable[[str], None]
BOTH = pytest.mark.parametrize("remove", [remove_tree, remove_large_tree])


def grow(top: Path, seed: int, amount: int) -> None:
    """A tree of directories, files and links, some of which lead out of it."""
    source = random.Random(seed)
    directories = [top]
    top.mkdir()
    for number in range(amount):
        here = source.choice(directories) / f"{source.choice('abc')}{number}"
        kind = source.random()
        if kind < 0.3:
            here.mkdir()
            directories.append(here)
        elif kind < 0.9:
            here.write_bytes(b"x")
        else:
            here.symlink_to(source.choice((top.parent / "outside", top, "nothing")))


@BOTH
@pytest.mark.parametrize(("seed", "amount"), [(1, 0), (2, 1), (3, 30), (4, 4000)])
def test_everything_goes_and_nothing_else(
    tmp_path: Path, remove: Remove, seed: int, amount: int
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    grow(tmp_path / "tree", seed, amount)
    remove(str(tmp_path / "tree"))
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").exists()
    remove(str(tmp_path / "tree"))  # once more


@BOTH
def test_deeper_than_any_path(tmp_path: Path, remove: Remove) -> None:
    name = "d" * 200
    top = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("tree", dir_fd=top)
    fd = os.open("tree", os.O_RDONLY | os.O_DIRECTORY, dir_fd=top)
    for _ in range(40):
        os.mkdir(name, dir_fd=fd)
        os.mkdir("beside", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    os.close(top)
    remove(str(tmp_path / "tree"))
    assert not list(tmp_path.iterdir())


@BOTH
def test_a_link_is_not_followed(tmp_path: Path, remove: Remove) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(KernelError):
        remove(str(tmp_path / "link"))
    assert (tmp_path / "real").exists()
