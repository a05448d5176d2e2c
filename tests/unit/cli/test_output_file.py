"""Where `export` and `save` write."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from jubako.cli.output_file import Output
from jubako.errors import JubakoError


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with Output(str(path), "save image") as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), Output(str(path), "save image") as stream:
        raise ZeroDivisionError
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("kind", "word"),
    [("directory", "directory"), ("pipe", "named pipe (FIFO)"), ("socket", "socket"),
     ("link", "symbolic link directly"), ("dangling", "symbolic link directly")],
)  # fmt: skip
def test_what_is_no_file_is_not_replaced(kind: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as handle:
            handle.bind(str(path))
    else:
        path.symlink_to("/dev/null" if kind == "link" else "nowhere")
    before = stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(JubakoError) as caught:
        Output(str(path), "save image")
    assert str(caught.value) == f"failed to save image: cannot write to a {word}"
    assert stat.S_IFMT(path.lstat().st_mode) == before


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(JubakoError, match="^failed to export container: cannot write to a char"):
        Output("/dev/null", "export container")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(JubakoError, match="invalid output path: stat .*/no: no such file"):
        Output(str(tmp_path / "no/out"), "save image")
