"""The examples of the documentation do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def run_example(document: Path, root: Path, busybox_tar: Path, directory: Path) -> list[str]:
    """The lines that the only Python example of a document prints."""
    (code,) = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.S | re.M)
    (directory / "rootfs.tar").symlink_to(busybox_tar)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("/etc/os-release", "/etc/passwd")],
        cwd=directory,
        env={**os.environ, "JUBAKO_ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_readme(root_dir: Path, busybox_tar: Path, tmp_path: Path, repository: Path) -> None:
    passwd, pid, error = run_example(repository / "README.md", root_dir, busybox_tar, tmp_path)
    assert "root:x:0:0" in passwd
    assert int(pid) > 1
    assert error == "No such container: no-such-container"


def test_python(root_dir: Path, busybox_tar: Path, tmp_path: Path, repository: Path) -> None:
    document = repository / "docs" / "python.md"
    assert run_example(document, root_dir, busybox_tar, tmp_path) == [
        "b'hello world\\n'",
        "b'5\\n'",
        "3 b'oh\\n'",
        "running ['80/tcp']",
        "True",
        "web",
        "True",
        "['base:later', 'base:latest']",
        "True ['Config.Hostname', 'Config.Env.WHO']",
        "    image: base",
    ]
