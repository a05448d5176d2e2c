"""Containers made by the runtime alone: no store, no image, no network."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jubako.linux import cgroups, pidfd
from jubako.runtime import Process, Stdio
from jubako.runtime.builtin import BuiltinRuntime
from jubako.runtime.default_spec import default_spec
from tests.fixtures.leaks import worker_name
from tests.unit.linux.child import in_child

__all__ = ["Box", "Done", "box", "in_child", "rootfs"]

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]


class Done(NamedTuple):
    """How a process of a container ended (128 + signal if it was killed), and what it wrote."""

    status: int
    output: str


@pytest.fixture
def rootfs(busybox_tar: Path, tmp_path: Path) -> Path:
    """An unpacked busybox."""
    path = tmp_path / "rootfs"
    path.mkdir()
    subprocess.run(["tar", "-xf", busybox_tar, "-C", path], check=True)
    return path


class Box:
    """A built-in runtime with its state in `directory`.

    Its methods run in a forked child of the test (`in_child`): the runtime needs a process with a
    single thread, and the containers are that child's children.
    """

    def __init__(self, directory: Path, rootfs: Path):
        self.directory = directory
        self.state_dir = str(directory / "state")
        self.runtime = BuiltinRuntime(self.state_dir)
        self.rootfs = rootfs
        self.parent = f"/jbk-{worker_name()}-runtime"

    def spec(self, *args: str, name: str = "c", **process: Any) -> dict[str, Any]:
        """A configuration much like Docker's default one."""
        spec = copy.deepcopy(default_spec())
        spec["root"] = {"path": str(self.rootfs)}
        spec["linux"]["cgroupsPath"] = f"{self.parent}/{name}"
        sets = {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")}
        spec["process"] |= {
            "terminal": False,
            "args": list(args),
            "noNewPrivileges": False,
            "capabilities": sets,
            **process,
        }
        return spec

    def create(
        self, spec: dict[str, Any], stdio: Stdio | None = None, *, name: str = "c", **how: Any
    ) -> Process:
        """Create a container, which dies with this process."""
        return self.runtime.create(
            name, str(self.directory), stdio or Stdio(), spec=spec, die_with_parent=True, **how
        )

    def start(self, *args: str, name: str = "c", **process: Any) -> Process:
        """Create and start one."""
        made = self.create(self.spec(*args, name=name, **process), name=name)
        self.runtime.start(name)
        return made

    def run(self, *args: str, spec: dict[str, Any] | None = None, **process: Any) -> Done:
        """Run one to its end and delete it."""
        with self.pipe() as (stdio, collect):
            made = self.create(spec or self.spec(*args, **process), stdio)
            try:
                self.runtime.start("c")
                os.close(stdio.stdout)
                output = collect()
                status = pidfd.wait(made.pidfd)
            finally:
                made.close()
                self.runtime.delete("c", force=True)
        assert status is not None
        return Done(status, output)

    def exec(self, *args: str, **process: Any) -> Done:
        """Run a process in the container `c` to its end."""
        spec = self.runtime.record("c")["process"]
        with self.pipe() as (stdio, collect):
            made = self.runtime.exec("c", {**spec, "args": list(args), **process}, stdio)
            os.close(stdio.stdout)
            output = collect()
            status = pidfd.wait(made.pidfd)
            made.close()
        assert status is not None
        return Done(status, output)

    @staticmethod
    @contextmanager
    def pipe() -> Iterator[tuple[Stdio, Any]]:
        """Descriptors for a process, and what reads its stdout and stderr to their end."""
        read, write = os.pipe2(os.O_CLOEXEC)
        with open(read, encoding="utf-8", errors="replace") as file:
            yield Stdio(-1, write, write), file.read

    def clean(self) -> None:
        """Remove all containers and the parent cgroup."""
        for name in self.runtime.states():
            self.runtime.delete(name["id"], force=True)
        parent = cgroups.Cgroup(self.parent)
        if parent.exists():
            parent.remove()


@pytest.fixture
def box(tmp_path: Path, rootfs: Path) -> Iterator[Box]:
    """The runtime under test."""
    made = Box(tmp_path, rootfs)
    yield made
    in_child(made.clean)


def read_terminal(fd: int) -> str:
    output = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            return output.decode()
        output += chunk
