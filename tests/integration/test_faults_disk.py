"""A full disk and a read-only one: clear errors, nothing half made, and on it goes afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako
from tests.fixtures.leaks import Leaks
from tests.integration.fault_tools import Traces, full, status, wait_for

ENOSPC = "No space left on device"
EROFS = "Read-only file system"
OFF = ("--network", "none")


@pytest.fixture
def small_root(root_dir: Path) -> Iterator[Path]:
    """The engine's root is a tmpfs of 16 MB; the mount exists in the test's namespace alone."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tests", root_dir], check=True)
    try:
        yield root_dir
        command = Jubako(root_dir)
        try:
            command.ok("rm", "-fv", *command.ok("ps", "-aq").split() or ["none"])
        finally:
            command.close()
    finally:
        subprocess.run(["umount", "-l", root_dir], check=True)


@pytest.fixture
def image(small_root: Path, jubako: Jubako, busybox_tar: Path) -> str:
    jubako.ok("import", "-c", 'CMD ["sh"]', str(busybox_tar), "busybox")
    return "busybox"


@pytest.fixture
def traces(root_dir: Path, leaks: Leaks, small_root: Path) -> Traces:
    return Traces(root_dir, leaks)


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", root], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", root], check=True)


@pytest.mark.parametrize("leave_bytes", [0, 100_000, 1_500_000])
def test_import(
    jubako: Jubako, traces: Traces, small_root: Path, busybox_tar: Path, leave_bytes: int
) -> None:
    jubako.ok("images")
    with full(small_root, leave_bytes=leave_bytes):
        found = jubako("import", str(busybox_tar), "busybox")
        assert found.status == 1, found
        assert ENOSPC in found.stderr
        assert jubako.ok("images", "-q") == ""
        traces.assert_none()
    jubako.ok("import", str(busybox_tar), "busybox")
    traces.assert_none()
    jubako.ok("run", "--rm", *OFF, "busybox", "true")


@pytest.mark.parametrize("leave_bytes", [0, 20_000, 60_000])
def test_create_and_start(
    jubako: Jubako, image: str, traces: Traces, small_root: Path, leave_bytes: int
) -> None:
    jubako.ok("create", "--name", "box", "-p", "8080:80", "-v", "/etc", image, "sleep", "100")
    with full(small_root, leave_bytes=leave_bytes):
        found = jubako("create", "--name", "other", "-v", "/anonymous", image, "true")
        if found.status:
            assert ENOSPC in found.stderr, found
        found = jubako("start", "box")
        if found.status:
            assert ENOSPC in found.stderr, found
        else:
            jubako.ok("kill", "box")
        found = jubako("run", "--rm", "-p", "8081:80", image, "echo", "hello")
        if found.status:
            assert ENOSPC in found.stderr, found
            assert found.status == 125
        else:
            assert found.stdout == "hello\n"
        if leave_bytes == 0:
            assert found.status == 125
        jubako.ok("ps", "-a")
    jubako.ok("ps", "-a")
    traces.assert_none()
    jubako.ok("start", "box")
    assert status(jubako, "box") == "running 0"
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


def test_a_running_container(jubako: Jubako, image: str, traces: Traces, small_root: Path) -> None:
    """It goes on, its output reaches who looks at it, and its end is recorded."""
    script = "while [ ! -e /dev/shm/end ]; do echo some words; sleep 0.01; done; exit 3"
    jubako.ok("run", "-d", "--name", "box", image, "sh", "-c", script)
    with full(small_root):
        found = jubako("exec", "box", "sh", "-c", "head -c 8000000 /dev/zero >/file")
        assert found.status == 1
        assert "some words" in jubako.ok("logs", "box")
        process = jubako.start("attach", "--no-stdin", "box")
        assert process.stdout is not None
        assert process.stdout.readline() == "some words\n"
        jubako.ok("exec", "box", "touch", "/dev/shm/end")
        assert process.wait(10) == 3
    assert jubako.ok("wait", "box") == "3"
    assert status(jubako, "box") == "exited 3"
    traces.assert_none()
    records = jubako.ok("logs", "box").splitlines()
    assert set(records) == {"some words"}  # no half record


def test_an_end_that_nobody_sees(
    jubako: Jubako, image: str, traces: Traces, small_root: Path
) -> None:
    jubako.ok("run", "-d", "--name", "box", "-p", "80", image, "sh", "-c", "sleep 0.3; exit 3")
    jubako.ok("run", "-d", "--rm", "-p", "80", image, "sh", "-c", "sleep 0.3; exit 3")
    with full(small_root):
        time.sleep(0.6)
        jubako.ok("ps", "-a")
    wait_for(lambda: "Up" not in jubako.ok("ps", "-a", "--format", "{{.Status}}"))
    assert jubako.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (3)")
    wait_for(lambda: len(jubako.ok("ps", "-aq").split()) == 1)  # the other goes, with its port
    wait_for(lambda: jubako("system", "recover").status == 0 and _is_clean(traces))


def _is_clean(traces: Traces) -> bool:
    try:
        traces.assert_none()
    except AssertionError:
        return False
    return True


def test_commit_and_load(
    jubako: Jubako, image: str, traces: Traces, small_root: Path, tmp_path: Path
) -> None:
    archive = str(tmp_path / "saved.tar")
    jubako.ok("save", "-o", archive, image)
    script = "dd if=/dev/zero of=/data bs=1000 count=2000"
    jubako.ok("run", "-d", "--name", "box", image, "sh", "-c", f"{script}; sleep 100")
    wait_for(lambda: status(jubako, "box") == "running 0")
    with full(small_root, leave_bytes=1_000_000):
        found = jubako("commit", "box", "made")
        assert found.status == 1
        assert ENOSPC in found.stderr
        assert status(jubako, "box") == "running 0"
    jubako.ok("commit", "box", "made")
    jubako.ok("rm", "-f", "box")
    traces.assert_none()
    jubako.ok("rmi", "made", image)
    with full(small_root, leave_bytes=1_000_000):
        found = jubako("load", "-i", archive)
        assert found.status == 1
        assert ENOSPC in found.stderr
        assert jubako.ok("images", "-aq") == ""
        traces.assert_none()
    jubako.ok("load", "-i", archive)
    traces.assert_none()


def test_space_comes_free_on_a_full_disk(
    jubako: Jubako, image: str, traces: Traces, small_root: Path
) -> None:
    """Removing is what one does then: it works."""
    jubako.ok("run", "--name", "box", *OFF, image, "dd", "if=/dev/zero", "of=/data", "count=9999")
    jubako.ok("create", "--name", "other", image)
    with full(small_root):
        jubako.ok("rm", "box")
        jubako.ok("rm", "other")
        jubako.ok("rmi", image)
        traces.assert_none()


def test_a_read_only_root(jubako: Jubako, image: str, traces: Traces, small_root: Path) -> None:
    jubako.ok("create", "--name", "box", "-p", "8080:80", image, "sleep", "100")
    with read_only(small_root):
        assert jubako.ok("ps", "-a", "--format", "{{.Names}}") == "box"
        assert jubako.ok("images", "--format", "{{.Repository}}") == "busybox"
        for argv in (
            ("create", image),
            ("start", "box"),
            ("rm", "box"),
            ("commit", "box", "made"),
            ("rmi", "-f", image),
            ("tag", image, "other"),
            ("volume", "create", "data"),
        ):
            found = jubako(*argv)
            assert found.status == 1, (argv, found)
            assert EROFS in found.stderr, (argv, found)
        assert jubako("run", "--rm", image, "true").status == 125
    jubako.ok("start", "box")
    jubako.ok("rm", "-f", "box")
    traces.assert_none()
