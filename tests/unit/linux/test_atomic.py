"""atomic: complete or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.linux import atomic
from tests.unit.linux.child import run_to_end


def test_write_replaces_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")
    path.chmod(0o666)
    old_mask = os.umask(0o077)
    try:
        atomic.write_file(str(path), b"new", 0o644)
    finally:
        os.umask(old_mask)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert os.listdir(tmp_path) == ["state"]


def test_a_link_in_the_place_is_replaced_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    (tmp_path / "state").symlink_to(target)
    atomic.write_file(str(tmp_path / "state"), b"new", durable=False)
    assert target.read_bytes() == b"kept"
    assert not (tmp_path / "state").is_symlink()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "directory/full").mkdir(parents=True)
    with pytest.raises(KernelError) as caught:
        atomic.write_file(str(tmp_path / "directory"), b"new")
    assert caught.value.path == str(tmp_path / "directory")
    assert os.listdir(tmp_path) == ["directory"]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        atomic.write_file(str(tmp_path / "none/state"), b"x")
    assert caught.value.errno == errno.ENOENT
    assert str(caught.value) == f"create {tmp_path}/none/state: No such file or directory"


def test_a_death_before_the_rename_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def die(fd: int) -> None:
        os._exit(9)

    monkeypatch.setattr(os, "fsync", die)
    assert run_to_end(lambda: atomic.write_file(str(path), b"new")) == 9
    assert path.read_bytes() == b"old"
    assert [name.startswith(".state.") for name in os.listdir(tmp_path) if name != "state"] == [
        True
    ]


def test_temporary_names_differ_and_fit(tmp_path: Path) -> None:
    path = str(tmp_path / ("n" * 255))
    first, second = atomic.temporary_name(path), atomic.temporary_name(path)
    assert first != second
    assert len(os.path.basename(first)) <= 255
    atomic.write_file(path, b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_writing_may_start_early(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb", buffering=0) as file:
        file.write(b"x" * 10_000)
        atomic.start_writing(file.fileno(), 0, 10_000)
    assert (tmp_path / "f").read_bytes() == b"x" * 10_000
    reader, writer = os.pipe()
    try:
        atomic.start_writing(writer, 0, 1)  # a hint: where it means nothing, nothing happens
    finally:
        os.close(reader)
        os.close(writer)


def test_rename_flags(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        (tmp_path / "a").write_text("a")
        (tmp_path / "b").write_text("b")
        with pytest.raises(KernelError) as caught:
            atomic.renameat2(directory, "a", directory, "b")
        assert caught.value.errno == errno.EEXIST
        atomic.renameat2(directory, "a", directory, "b", atomic.RENAME_EXCHANGE)
        assert (tmp_path / "a").read_text() == "b"
    finally:
        os.close(directory)
    atomic.rename(str(tmp_path / "a"), str(tmp_path / "c"))
    assert (tmp_path / "c").read_text() == "b"
    with pytest.raises(KernelError) as caught:
        atomic.rename(str(tmp_path / "none"), str(tmp_path / "c"))
    assert caught.value.errno == errno.ENOENT
