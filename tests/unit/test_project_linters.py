"""The linters are tests: nothing lands that they reject."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINTERS = [
    ("ruff", "format", "--check"),
    ("ruff", "check"),
    ("mypy",),
    ("lint-imports",),
]


@pytest.mark.parametrize("command", LINTERS, ids=lambda command: "-".join(command).strip("-"))
def test_linter_has_nothing_to_say(command: tuple[str, ...], repository: Path) -> None:
    program = Path(sys.executable).with_name(command[0])
    if not program.exists():
        pytest.skip(f"needs {command[0]} (make setup)")
    done = subprocess.run(
        [program, *command[1:]],
        cwd=repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        pytest.fail(done.stdout, pytrace=False)
