"""What several tests of the engine watch: its traces, and a directory that nobody may touch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.leaks import Leaks
from tests.integration.fault_tools import Traces


@pytest.fixture
def traces(root_dir: Path, leaks: Leaks) -> Traces:
    return Traces(root_dir, leaks)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that must stay as it is, and whose content must not get inside."""
    path = tmp_path / "canary"
    path.mkdir()
    (path / "file").write_text("untouched")
    (path / "passwd").write_text("evil:x:0:0::/evil:/bin/sh\n")
    yield path
    assert sorted(os.listdir(path)) == ["file", "passwd"]
    assert (path / "file").read_text() == "untouched"
