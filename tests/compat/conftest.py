"""Other people's programs, each named by the Debian package that has it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., str]


@pytest.fixture(scope="session")
def program() -> Callable[[str], Program]:
    """`program("skopeo")` is a function that runs skopeo and returns its output.

    It fails the test with what the program printed when that does not succeed.  The test is skipped
    where the program is missing; scripts/packages installs them all.
    """

    def find(name: str) -> Program:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs {name} (Debian package {name})")

        def run(*args: str | Path, timeout_s: float = 60) -> str:
            done = subprocess.run(
                [path, *args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
            line = " ".join(map(str, [name, *args]))
            assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
            return done.stdout.strip()

        return run

    return find
