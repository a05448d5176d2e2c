"""What a tmpfs with `tmpcopyup` starts with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.runtime.copyup import copy_tree


def copy(source: Path, destination: Path) -> None:
    read = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    write = os.open(destination, os.O_PATH | os.O_DIRECTORY)
    try:
        copy_tree(read, write)
    finally:
        os.close(read)
        os.close(write)


def test_files_links_modes_and_times_are_kept(tmp_path: Path) -> None:
    source, destination = tmp_path / "s", tmp_path / "d"
    (source / "sub").mkdir(parents=True)
    destination.mkdir()
    (source / "sub/file").write_bytes(b"x" * 3_000_000)
    (source / "sub/file").chmod(0o4750)
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    os.utime(source / "sub/file", ns=(1, 2_000_000_000))
    os.utime(source / "sub", ns=(1, 3_000_000_000))
    source.chmod(0o711)
    copy(source, destination)
    copied = (destination / "sub/file").stat()
    assert (destination / "sub/file").read_bytes() == b"x" * 3_000_000
    assert copied.st_mode & 0o7777 == 0o4750
    assert copied.st_mtime_ns == 2_000_000_000
    assert (destination / "sub").stat().st_mtime_ns == 3_000_000_000
    assert os.readlink(destination / "link") == "/etc/passwd"
    assert (destination / "pipe").is_fifo()
    assert destination.stat().st_mode & 0o777 == 0o711


def test_a_bottomless_tree_is_refused(tmp_path: Path) -> None:
    destination = tmp_path / "d"
    destination.mkdir()
    top = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("s", dir_fd=top)
    inner = os.open("s", os.O_RDONLY, dir_fd=top)
    for _ in range(300):
        os.mkdir("x", dir_fd=inner)
        deeper = os.open("x", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)
    os.close(top)
    with pytest.raises(KernelError, match="directories deep"):
        copy(tmp_path / "s", destination)
