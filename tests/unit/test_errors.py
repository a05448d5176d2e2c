"""The tree of errors: what its constructors make of errors of others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jubako.errors import KernelError


def test_an_os_error_keeps_its_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        os.listdir(tmp_path / "nothing")
    error = KernelError.from_oserror("list", caught.value)
    assert (error.errno, error.path) == (errno.ENOENT, str(tmp_path / "nothing"))


def test_an_os_error_that_names_a_descriptor_says_so(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            os.listdir(fd)
    finally:
        os.close(fd)
    error = KernelError.from_oserror("list", caught.value)
    assert error.path == f"descriptor {fd}"
