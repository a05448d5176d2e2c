"""Our runtime and runc understand each other's bundles, and we drive runc as a runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import NotFound, StartError, Unavailable, WrongState
from jubako.linux import cgroups, pidfd
from jubako.runtime import Runtime, Stdio, open_runtime
from jubako.runtime.default_spec import default_spec
from tests.compat.conftest import Program
from tests.fixtures.leaks import worker_name
from tests.integration.runtime_tools import in_child, rootfs

__all__ = ["rootfs"]

OURS = Path(sys.executable).with_name("jubako-runtime")


@pytest.fixture
def cgroup() -> Iterator[str]:
    """The path of a parent group, removed afterwards."""
    path = f"/jbk-{worker_name()}-runc"
    yield path
    group = cgroups.Cgroup(path)
    if group.exists():
        group.remove()


def adapt(spec: dict[str, Any], rootfs: Path, cgroup: str, *args: str) -> dict[str, Any]:
    """A printed default configuration with a program, and limits that this machine can set."""
    spec["process"] |= {"terminal": False, "args": list(args), "rlimits": []}
    spec["root"] = {"path": str(rootfs), "readonly": True}
    spec["linux"]["cgroupsPath"] = f"{cgroup}/c"
    # A cgroup namespace moves the mounts of each program elsewhere; both can do without.
    kinds = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "cgroup"]
    return spec


def test_both_run_both_default_bundles_alike(
    tmp_path: Path, rootfs: Path, cgroup: str, program: Callable[[str], Program]
) -> None:
    """The same configuration gives the same view: mounts, capabilities, limits, devices."""
    program("runc")
    script = """
    cut -d' ' -f5,6 /proc/self/mountinfo | sed 's/,relatime//' | grep -v ' /sys/fs/cgroup' | sort
    grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid)' /proc/self/status
    ls /dev; hostname; pwd; umask; env | grep -v SHLVL | sort
    """
    for writer in (["runc"], [OURS]):
        bundle = tmp_path / f"bundle-{Path(writer[0]).name}"
        bundle.mkdir()
        subprocess.run([*writer, "spec", "--bundle", bundle], check=True)
        config = bundle / "config.json"
        spec = adapt(json.loads(config.read_text()), rootfs, cgroup, "sh", "-c", script)
        config.write_text(json.dumps(spec))
        outputs = []
        for name in ("runc", OURS):
            argv = [name, "--root", tmp_path / "state", "run", "--bundle", bundle, "c"]
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
            )
            assert done.returncode == 0, done
            # runc drops nosuid and nodev of the file system that holds the root; we keep them.
            lines = done.stdout.splitlines()
            outputs.append([line for line in lines if "cgroup" not in line and line[:2] != "/ "])
        assert outputs[0] == outputs[1]


class Driver:
    """runc as a `Runtime` of ours; used in a forked child, whose children the containers are."""

    def __init__(self, directory: Path, rootfs: Path, cgroup: str):
        self.runtime: Runtime = open_runtime("runc", str(directory / "state"))
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        self.rootfs = rootfs
        self.cgroup = cgroup

    def spec(self, *args: str) -> dict[str, Any]:
        return {**adapt(default_spec(), self.rootfs, self.cgroup, *args), "ociVersion": "1.0.2"}


@pytest.fixture
def runc(
    tmp_path: Path, rootfs: Path, cgroup: str, program: Callable[[str], Program]
) -> Iterator[Driver]:
    """The driver; its container is removed."""
    program("runc")
    driver = Driver(tmp_path, rootfs, cgroup)
    yield driver
    in_child(lambda: driver.runtime.delete("c", force=True))


def test_runc_as_our_runtime(runc: Driver) -> None:
    def scenario() -> None:
        runtime = runc.runtime
        read, write = os.pipe2(os.O_CLOEXEC)
        spec = runc.spec("sh", "-c", "echo hello; sleep 1000")
        made = runtime.create("c", str(runc.bundle), Stdio(-1, write, write), spec=spec)
        assert runtime.state("c")["status"] == "created"
        runtime.start("c")
        assert os.read(read, 100) == b"hello\n"
        assert made.pid in runtime.pids("c")
        process = {**spec["process"], "args": ["sh", "-c", "echo inside; exit 3"]}
        entered = runtime.exec("c", process, Stdio(-1, write, write))
        assert os.read(read, 100) == b"inside\n"
        assert pidfd.wait(entered.pidfd) == 3
        runtime.pause("c")
        assert runtime.state("c")["status"] == "paused"
        runtime.resume("c")
        runtime.update("c", {"pids": {"limit": 33}})
        directory = cgroups.Cgroup(f"{runc.cgroup}/c").directory("pids")
        assert Path(f"{directory}/pids.max").read_text() == "33\n"
        with pytest.raises(WrongState, match="that is not stopped"):
            runtime.delete("c")
        runtime.kill("c", 9)
        assert pidfd.wait(made.pidfd) == 137
        runtime.delete("c")
        with pytest.raises(NotFound, match="container c does not exist"):
            runtime.state("c")
        runtime.delete("c", force=True)

    in_child(scenario)


def test_a_terminal_of_runc(runc: Driver) -> None:
    def scenario() -> str:
        spec = runc.spec("tty")
        spec["process"]["terminal"] = True
        made = runc.runtime.create("c", str(runc.bundle), Stdio(), spec=spec)
        assert made.console is not None
        runc.runtime.start("c")
        output = os.read(made.console, 100).decode()
        pidfd.wait(made.pidfd)
        made.close()
        return output

    assert in_child(scenario) == "/dev/pts/0\r\n"


def test_what_runc_says_when_it_fails(runc: Driver) -> None:
    def scenario() -> tuple[str, int]:
        with pytest.raises(StartError) as caught:
            runc.runtime.create("c", str(runc.bundle), Stdio(), spec=runc.spec("nope"))
        return caught.value.message, caught.value.exit_code

    message, code = in_child(scenario)
    assert code == 127
    assert message.startswith("failed to create task for container: failed to create shim task: ")
    assert message.endswith('exec: "nope": executable file not found in $PATH: unknown')


def test_a_runtime_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no-such-runtime is not installed"):
        open_runtime("no-such-runtime", str(tmp_path))
    with pytest.raises(Unavailable):
        open_runtime("/no/such/runtime", str(tmp_path))
