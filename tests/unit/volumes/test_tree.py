"""Trees that others may be changing: walk, measure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jubako.errors import KernelError
from jubako.linux import openat2
from jubako.volumes import tree


def test_size_counts_a_file_once_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to("/")
    assert tree.size_bytes(str(tmp_path)) == 10 + len("/")


def test_open_below_refuses_links_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        os.close(tree.open_below(fd, "in", os.O_RDONLY))
        os.close(tree.open_below(fd, "", os.O_RDONLY))
        for path, number in (("link", errno.ELOOP), ("link/x", errno.ELOOP), ("..", errno.EXDEV)):
            with pytest.raises(KernelError) as caught:
                tree.open_below(fd, path, os.O_RDONLY)
            assert caught.value.errno == number
    finally:
        os.close(fd)


def test_open_below_without_openat2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> int:
        raise KernelError("open", errno.ENOSYS)

    (tmp_path / "in/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("in")
    monkeypatch.setattr(openat2, "openat2", missing)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for path in ("", "in", "in/er"):
            os.close(tree.open_below(fd, path, os.O_RDONLY))
        for path in ("link", "link/er", "..", "in/../in"):
            with pytest.raises(KernelError):
                tree.open_below(fd, path, os.O_RDONLY)
    finally:
        os.close(fd)
