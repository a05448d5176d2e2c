"""The systemd unit calls commands that exist."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from jubako.cli import tree

UNIT = Path("contrib/systemd/jubako.service")


def test_its_commands_exist(repository: Path) -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  # keys of units have capitals
    unit.read_string((repository / UNIT).read_text())
    service = unit["Service"]
    for key, expected in (("ExecStart", "system start"), ("ExecStop", "system stop")):
        program, *words = service[key].split()
        path, module, rest = tree.find(words)
        assert (program, path, rest) == ("jubako", expected, []) and module is not None
    assert service["Type"] == "oneshot" and service["RemainAfterExit"] == "yes"


def test_systemd_accepts_it(repository: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    argv = ["systemd-analyze", "verify", str(repository / UNIT)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    problems = [line for line in result.stderr.splitlines() if "Command jubako" not in line]
    assert problems == []
