"""The package is replaced while containers run: the end is the work of one version."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jubako
from tests.fixtures.leaks import Leaks
from tests.integration.fault_tools import Traces, wait_for

RUN = ("run", "--network", "none", "--name", "box")


class Installed:
    """A copy of the package, that a test may replace."""

    def __init__(self, root: Path, place: Path):
        self.package = place / "jubako"
        shutil.copytree(Path(jubako.__file__).parent, self.package)
        self.environment = {**os.environ, "JUBAKO_ROOT": str(root), "PYTHONPATH": str(place)}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "jubako", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def ok(self, *words: str) -> str:
        process = self.start(*words)
        stdout, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
        return stdout.strip()

    def upgrade(self) -> None:
        """A version in which what the end uses has other names than in what is in memory."""
        modules = "monitor/ending monitor/process monitor/supervisor repair takedown"
        for name in modules.split():
            path = self.package / "containers" / f"{name}.py"
            text = re.sub(r"\bfree\b", "set_free", path.read_text())
            text = re.sub(r"(def |ending\.)record\(", r"\1write_down(", text)
            path.unlink()
            path.write_text(text)
        version = self.package / "version.py"
        text = version.read_text()
        version.unlink()
        version.write_text(text + "\n")

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def installed(root_dir: Path, tmp_path: Path, busybox: str) -> Iterator[Installed]:
    copy = Installed(root_dir, tmp_path / "site")
    yield copy
    copy.close()


def _end(installed: Installed, traces: Traces) -> None:
    state = json.loads(installed.ok("inspect", "-f", "{{json .State}}", "box"))
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 9, "")
    traces.assert_none()


TRAP = ("busybox", "sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")


def _monitor(installed: Installed) -> int:
    pid = int(installed.ok("inspect", "-f", "{{.State.Pid}}", "box"))
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("replaced", [False, True], ids=["young", "replaced"])
def test_a_container_that_outlives_its_version(
    installed: Installed, root_dir: Path, leaks: Leaks, replaced: bool
) -> None:
    installed.ok(*RUN[:1], "-d", *RUN[1:], *TRAP)
    wait_for(lambda: installed.ok("logs", "box") == "ready")
    monitor = _monitor(installed)
    if replaced:
        wait_for(lambda: b"slim" in Path(f"/proc/{monitor}/cmdline").read_bytes())
        wait_for(lambda: Path(f"/proc/{monitor}/comm").read_text() == "jubako-monitor\n")
    installed.upgrade()
    installed.ok("stop", "box")
    _end(installed, Traces(root_dir, leaks))


def test_who_is_attached_is_told(installed: Installed, root_dir: Path, leaks: Leaks) -> None:
    client = installed.start(*RUN, *TRAP)
    wait_for(lambda: installed.ok("ps", "-q") != "")
    wait_for(lambda: installed.ok("logs", "box") == "ready")
    installed.upgrade()
    installed.ok("stop", "box")
    stdout, stderr = client.communicate(timeout=10)
    assert (client.returncode, stdout, stderr) == (9, "ready\n", "")
    _end(installed, Traces(root_dir, leaks))


def test_a_restart_is_the_new_versions(installed: Installed, root_dir: Path, leaks: Leaks) -> None:
    installed.ok(*RUN[:1], "-d", *RUN[1:], "--restart", "always", "busybox", "sleep", "100")
    pid = int(installed.ok("inspect", "-f", "{{.State.Pid}}", "box"))
    installed.upgrade()
    os.kill(pid, signal.SIGKILL)
    form = "{{.State.Status}} {{.RestartCount}}"
    wait_for(lambda: installed.ok("inspect", "-f", form, "box") == "running 1")
    installed.ok("rm", "-f", "box")
    Traces(root_dir, leaks).assert_none()
