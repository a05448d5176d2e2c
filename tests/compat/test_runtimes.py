"""Our engine on other runtimes, and our runtime under another engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.compat.conftest import Program
from tests.fixtures.engine import Jubako
from tests.fixtures.leaks import worker_name

OUR_RUNTIME = Path(sys.executable).with_name("jubako-runtime")


def cgroups_are_hybrid() -> bool:
    """Version 1 controllers beside a version 2 hierarchy, which crun refuses."""
    return Path("/sys/fs/cgroup/unified").exists()


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_external_runtime(
    runtime: str, jubako: Jubako, busybox: str, program: Callable[[str], Program]
) -> None:
    program(runtime)
    options = ("--rm", "--runtime", runtime, "--network", "none", "--hostname", "box")
    done = jubako("run", *options, busybox, "sh", "-c", "hostname; exit 7")
    if runtime == "crun" and cgroups_are_hybrid():
        assert done.status in (125, 126, 127), done
        assert "hybrid" in done.stderr
        assert jubako.ok("ps", "-aq") == ""
        return
    assert (done.status, done.stdout) == (7, "box\n"), done.stderr


def test_external_runtime_runs_detached(
    jubako: Jubako, busybox: str, program: Callable[[str], Program]
) -> None:
    program("runc")
    options = ("--runtime", "runc", "--network", "none", "--name", "box")
    jubako.ok("run", "-d", *options, busybox, "sh", "-c", "echo up; exec sleep 1000")
    assert jubako.ok("exec", "box", "echo", "inside") == "inside"
    assert jubako.ok("logs", "box") == "up"
    jubako.ok("stop", "-t", "0", "box")
    assert jubako.ok("inspect", "--format", "{{.State.ExitCode}}", "box") == "137"


class Podman:
    """Podman with everything that it keeps below one directory, and our runtime.

    directory: a short path, since Podman limits the length of its run directory.
    """

    def __init__(self, path: str, directory: Path):
        self.cgroup = f"jbk-{worker_name()}-podman"
        inherited = {key: value for key, value in os.environ.items() if key != "DOCKER_CONFIG"}
        self._env = {
            **inherited,  # it wants to find the file that the variable names
            "CONTAINERS_CONF": os.devnull,
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }
        places = ("root", "runroot", "tmpdir")
        self._command = [
            path,
            *(f"--{place}={directory / place}" for place in places),
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            f"--runtime={OUR_RUNTIME}",
        ]

    def __call__(self, *args: str | Path) -> str:
        done = subprocess.run(
            [*self._command, *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._env,
            timeout=60,
        )
        line = " ".join(map(str, args))
        assert done.returncode == 0, f"podman {line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(self, *args: str) -> str:
        """`podman run` with what this test machine needs."""
        return self(
            "run",
            "--network=none",
            f"--cgroup-parent=/{self.cgroup}",
            # Podman asks for a million of each, which only CAP_SYS_RESOURCE can give.
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=1024:1024",
            *args,
        )


@pytest.fixture
def podman(busybox_tar: Path, program: Callable[[str], Program]) -> Iterator[Podman]:
    """Podman with the image `busybox`; its containers and cgroups are removed."""
    program("podman")
    directory = Path(tempfile.mkdtemp(prefix="podman-"))
    engine = Podman("podman", directory)
    engine("import", busybox_tar, "busybox")
    yield engine
    engine("rm", "--all", "--force", "--time=0")
    subprocess.run(["umount", "--lazy", directory / "root"], stderr=subprocess.DEVNULL)
    shutil.rmtree(directory)
    # Podman leaves the parents it made; one of them it shares with every Podman of the machine.
    for path in Path("/sys/fs/cgroup").glob("*/libpod_parent"):
        with suppress(OSError):
            path.rmdir()
    for path in Path("/sys/fs/cgroup").glob(f"*/{engine.cgroup}"):
        for cgroup, _, _ in os.walk(path, topdown=False):
            os.rmdir(cgroup)


def test_podman_runs_containers_with_our_runtime(podman: Podman) -> None:
    assert podman.run("--rm", "busybox", "echo", "hello") == "hello"
    podman.run("-d", "--name=box", "--hostname=here", "busybox", "sleep", "1000")
    assert podman("exec", "box", "hostname") == "here"
    (state,) = json.loads(podman("inspect", "box"))
    assert state["State"]["Status"] == "running"
    assert state["OCIRuntime"] == str(OUR_RUNTIME)
    podman("stop", "--time=0", "box")
    (state,) = json.loads(podman("inspect", "box"))
    assert state["State"]["ExitCode"] == 137


def test_podman_sees_exit_codes_and_limits_of_our_runtime(podman: Podman) -> None:
    with pytest.raises(AssertionError, match=": 3\n"):
        podman.run("--rm", "busybox", "sh", "-c", "exit 3")
    with pytest.raises(AssertionError, match=": 127\n"):
        podman.run("--rm", "busybox", "no-such-program")
    limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    if cgroups_are_hybrid():
        assert podman.run("--rm", "--memory=64m", "busybox", "cat", limit) == str(64 << 20)
    assert podman.run("--rm", "--user=1000:100", "busybox", "id", "-u") == "1000"


def test_podman_pauses_with_our_runtime(podman: Podman) -> None:
    podman.run("-d", "--name=box", "busybox", "sleep", "1000")
    podman("pause", "box")
    assert podman("inspect", "--format={{.State.Status}}", "box") == "paused"
    podman("unpause", "box")
    assert podman("inspect", "--format={{.State.Status}}", "box") == "running"
