"""The example of the README does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_python_example_runs(
    root_dir: Path, busybox_tar: Path, tmp_path: Path, repository: Path
) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (repository / "README.md").read_text(), re.S | re.M
    )
    (tmp_path / "rootfs.tar").symlink_to(busybox_tar)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("/etc/os-release", "/etc/passwd")],
        cwd=tmp_path,
        env={**os.environ, "JUBAKO_ROOT": str(root_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    passwd, pid, error = done.stdout.splitlines()
    assert "root:x:0:0" in passwd
    assert int(pid) > 1
    assert error == "No such container: no-such-container"
