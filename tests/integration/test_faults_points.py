"""SIGKILL at each named step: the next command puts state and kernel back in step.

The step is named in JUBAKO_FAULT of one command, whose monitor inherits it: the kill hits whichever
of the two gets there.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako
from tests.integration import fault_tools
from tests.integration.fault_tools import Traces, inspect, status, wait_for

CREATE = [
    "containers.create.directories",
    "volumes.create.directory",
    "containers.create.inserted",
]
START_BY_COMMAND = ["containers.start.marked"]
UNREPORTED = "containers.start.unreported"  # the command, when the monitor was killed
START = [
    "networks.attach.reserved",
    "networks.ground.table",
    "networks.ground.bridge",
    "networks.attach.leased",
    "networks.attach.plugged",
    "networks.attach.published",
    "containers.start.network",
    "containers.start.rootfs",
    "volumes.fill.marked",
    "containers.start.created",
    "containers.start.started",
]
TAKE_DOWN = [
    "containers.takedown.runtime",
    "networks.detach.kernel",
    "networks.detach.rows",
    "containers.takedown.network",
]
REPAIR = [*TAKE_DOWN, "containers.repair.recorded"]
EXIT = ["containers.exit.drained", *TAKE_DOWN, "containers.exit.recorded"]
STOP = ["containers.stop.signalled", "containers.stop.killed"]
REMOVE = ["containers.remove.marked", "containers.remove.files", "volumes.remove.moved"]
COMMIT = ["containers.commit.begin"]
UPDATE = ["containers.update.applied", "containers.edit.limits"]
EDIT = [  # tests/integration/test_edit.py
    "containers.edit.mounts",
    "containers.edit.written",
    "containers.edit.stopped",
]
PAUSE = ["containers.pause.marked", "containers.unpause.resumed"]
MAKE_IMAGE = [
    "images.layer.begin",
    "images.layer.extracted",
    "images.layer.synced",
    "images.layer.renamed",
    "images.blob.synced",
    "images.blob.committed",
]
IMPORT = [*MAKE_IMAGE, "images.import.published", "images.import.recorded", "images.import.done"]
LOAD = [
    "images.load.read",
    *MAKE_IMAGE,
    "images.load.published",
    "images.load.recorded",
    "images.load.done",
]
REMOVE_IMAGE = ["images.remove.recorded", "images.collect.forgotten", "images.collect.renamed"]
PRUNE_IMAGES = ["images.prune.recorded"]

PORT = "127.0.0.1:8080:80"
ARGUMENTS = ("-p", PORT, "-v", "/etc", "-v", "data:/data")


# Their cases are where a registry is: test_pull_kills, test_lazy_faults, test_image_verify.
_ELSEWHERE = ("images.pull.", "images.push.", "images.lazy.", "images.verify.")


def test_every_step_has_a_case(repository: Path) -> None:
    named: set[str] = set()
    for path in (repository / "src/jubako").rglob("*.py"):
        named |= set(re.findall(r'\bpoint\("(.+?)"\)', path.read_text()))
    cases = {
        *CREATE,
        *START_BY_COMMAND,
        UNREPORTED,
        *START,
        *EXIT,
        *REPAIR,
        *STOP,
        *REMOVE,
        *COMMIT,
        *UPDATE,
        *EDIT,
        *IMPORT,
        *LOAD,
        *REMOVE_IMAGE,
    }
    here = {name for name in named if not name.startswith(_ELSEWHERE)}
    assert here == {*cases, *PAUSE, *PRUNE_IMAGES}


def killed(jubako: Jubako, point: str, *args: str) -> None:
    """Run a command that must die at a step of its own."""
    found = jubako(*args, env={"JUBAKO_FAULT": point})
    assert found.status == -signal.SIGKILL, (point, found)


def start_killed(jubako: Jubako, point: str, *args: str, code: int = 1) -> None:
    """Run a command whose monitor must die at a step."""
    found = jubako(*args, env={"JUBAKO_FAULT": point})
    assert found.status == code, (point, found)
    assert "the monitor died" in found.stderr


@pytest.mark.parametrize("point", CREATE)
def test_create(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    command = ("create", "--name", "box", "-v", "/anonymous", "-v", "data:/data", busybox, "true")
    killed(jubako, point, *command)
    made = point == "containers.create.inserted"
    assert jubako.ok("ps", "-a", "--format", "{{.Names}}") == ("box" if made else "")
    if made:
        jubako.ok("rm", "-v", "box")
    jubako.ok(*command)
    traces.assert_none()
    jubako.ok("start", "-a", "box")
    jubako.ok("rm", "-v", "box")
    jubako.ok("volume", "rm", "data")
    assert jubako.ok("volume", "ls", "-q") == ""
    traces.assert_none()


@pytest.mark.parametrize("point", START)
def test_start(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    """Whatever comes next, a look, a removal or a second attempt, repairs first."""
    jubako.ok("create", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    start_killed(jubako, point, "start", "box")
    traces.assert_none()  # the command cleared it away
    if not point.startswith("networks.ground"):  # these were passed the first time
        killed(jubako, f"{point},{UNREPORTED}", "start", "box")
    assert jubako.ok("ps", "-a", "--format", "{{.Names}} {{.State}}") == "box created"
    traces.assert_none()
    if not point.startswith("networks.ground"):
        killed(jubako, f"{point},{UNREPORTED}", "start", "box")
    jubako.ok("start", "box")
    assert status(jubako, "box") == "running 0"
    assert jubako.ok("port", "box") == "80/tcp -> 127.0.0.1:8080"
    assert "passwd" in jubako.ok("exec", "box", "ls", "/etc")
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", START)
def test_run_rm(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    command = ("run", "-d", "--rm", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    killed(jubako, f"{point},{UNREPORTED}", *command)
    jubako.ok(*command)
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", START_BY_COMMAND)
def test_start_command(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    command = ("run", "-d", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    killed(jubako, point, *command)
    assert status(jubako, "box") == "created 0"
    traces.assert_none()
    jubako.ok("start", "box")
    jubako.ok("rm", "-fv", "box")
    killed(jubako, point, "run", "--rm", *command[1:])
    assert jubako.ok("ps", "-aq") == ""
    traces.assert_none()


@pytest.mark.parametrize("point", EXIT)
def test_exit(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    """The monitor dies while it takes the container down."""
    script = "sleep 0.1; exit 3"
    command = ("run", "-d", "--name", "box", *ARGUMENTS, busybox, "sh", "-c", script)
    jubako.ok(*command, env={"JUBAKO_FAULT": point})
    code = jubako.ok("wait", "box")
    assert code == ("3" if point == "containers.exit.recorded" else "137")
    assert f"Exited ({code})" in jubako.ok("ps", "-a", "--format", "{{.Status}}")
    traces.assert_none()
    jubako.ok("start", "box")
    assert jubako.ok("wait", "box") == "3"
    jubako.ok("rm", "-v", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", [*EXIT, *REMOVE])
def test_exit_of_run_rm(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    command = ("run", "-d", "--rm", "--name", "box", *ARGUMENTS, busybox, "sleep", "0.1")
    identity = jubako.ok(*command, env={"JUBAKO_FAULT": point})
    lock = f"{traces.run_dir}/locks/{identity}.monitor"
    wait_for(lambda: not fault_tools.held(lock))
    assert jubako.ok("ps", "-aq") == ""
    traces.assert_none()
    assert jubako.ok("volume", "ls", "-q") == "data"


def test_exit_with_a_client_that_waits(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """A command in the foreground learns of its monitor's death, and does not hang."""
    argv = ("run", "--rm", *ARGUMENTS, busybox, "echo", "hello")
    found = jubako(*argv, env={"JUBAKO_FAULT": "containers.takedown.runtime"})
    assert found.status == 125
    assert found.stdout == "hello\n"
    assert "the container's monitor has died" in found.stderr
    assert jubako.ok("ps", "-aq") == ""
    traces.assert_none()


def test_exit_of_a_monitor_that_replaced_itself(
    jubako: Jubako, busybox: str, traces: Traces
) -> None:
    command = ("run", "-d", "--name", "box", *ARGUMENTS, busybox, "sleep", "1.5")
    jubako.ok(*command, env={"JUBAKO_FAULT": "containers.takedown.runtime"})
    assert jubako.ok("wait", "box") == "137"
    traces.assert_none()


@pytest.mark.parametrize("point", REPAIR)
def test_repair(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    """The command that repairs is killed itself."""
    jubako.ok("run", "-d", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    fault_tools.kill(fault_tools.parent(fault_tools.init_pid(jubako, "box")))
    killed(jubako, point, "ps", "-a")
    assert jubako.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    traces.assert_none()


@pytest.mark.parametrize("point", STOP)
def test_stop(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    killed(jubako, point, "stop", "-t", "0", "box")
    jubako.ok("stop", "-t", "0", "box")
    assert status(jubako, "box") == "exited 137"
    traces.assert_none()
    jubako.ok("start", "box")
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", REMOVE)
def test_remove(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    create = ("create", "--name", "box", *ARGUMENTS, busybox, "true")
    jubako.ok(*create)
    killed(jubako, point, "rm", "-v", "box")
    assert jubako.ok("ps", "-aq") == ""
    assert jubako.ok("volume", "ls", "-q") == "data"
    traces.assert_none()
    jubako.ok(*create)
    jubako.ok("rm", "-v", "box")
    traces.assert_none()


def test_an_interrupted_removal_keeps_the_volumes_that_were_not_to_go(
    jubako: Jubako, busybox: str
) -> None:
    jubako.ok("create", "--name", "box", "-v", "/anonymous", busybox, "true")
    killed(jubako, "containers.remove.files", "rm", "box")
    assert jubako.ok("ps", "-aq") == ""
    assert len(jubako.ok("volume", "ls", "-q")) == 64


@pytest.mark.parametrize("point", ["volumes.create.directory", "volumes.remove.moved"])
def test_volumes(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    if point == "volumes.create.directory":
        killed(jubako, point, "volume", "create", "data")
    else:
        jubako.ok("volume", "create", "data")
        killed(jubako, point, "volume", "rm", "data")
    jubako.ok("volume", "create", "data")
    jubako.ok("volume", "rm", "data")
    jubako.ok("system", "recover")
    traces.assert_none()


def test_commit_of_a_running_container(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """What the commit froze goes on."""
    script = "i=0; while :; do echo $((i += 1)) >/now; sleep 0.01; done"
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sh", "-c", script)
    killed(jubako, "containers.commit.begin", "commit", "box", "made")
    assert jubako.ok("ps", "--format", "{{.State}}") == "running"
    now = Path(inspect(jubako, "box", "{{.HostnamePath}}")).parent / "upper" / "now"
    first = now.read_text()
    wait_for(lambda: now.read_text() != first)
    jubako.ok("commit", "box", "made")
    assert jubako.ok("ps", "--format", "{{.State}}") == "running"
    jubako.ok("pause", "box")
    jubako.ok("commit", "box", "made")
    assert jubako.ok("ps", "--format", "{{.State}}") == "paused"  # by the user, and stays so
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", PAUSE)
def test_pause(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    """Whatever the row and the freezer say, the next command brings them together."""
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "100")
    for verbs in (("unpause", "pause", "unpause"), ("stop", "start"), ("kill", "start")):
        if point == "containers.pause.marked":
            killed(jubako, point, "pause", "box")
        else:
            jubako.ok("pause", "box")
            killed(jubako, point, "unpause", "box")
        for verb in verbs:
            jubako.ok(verb, *(["-t", "0"] if verb == "stop" else []), "box")
        assert jubako.ok("exec", "box", "echo", "alive") == "alive"
    killed(jubako, "containers.pause.marked", "commit", "box")
    assert jubako.ok("ps", "--format", "{{.State}}") == "running"
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


@pytest.mark.parametrize("point", UPDATE)
def test_update(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    """It was not done: the record says what it said, and doing it again does it."""
    limits = ("--memory", "64m", "--memory-swap", "64m")
    verb = ("update",) if point == "containers.update.applied" else ("container", "edit")
    jubako.ok("run", "-d", "--name", "box", "-m", "32m", busybox, "sleep", "100")
    killed(jubako, point, *verb, *limits, "box")
    assert inspect(jubako, "box", "{{.HostConfig.Memory}}") == str(32 << 20)
    jubako.ok(*verb, *limits, "box")
    assert inspect(jubako, "box", "{{.HostConfig.Memory}}") == str(64 << 20)
    assert memory_limit(jubako, "box") == 64 << 20
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def memory_limit(jubako: Jubako, name: str) -> int:
    """What the kernel holds the container to."""
    files = "memory.limit_in_bytes memory/memory.limit_in_bytes memory.max"
    script = f"cd /sys/fs/cgroup; for file in {files}; do test -e $file && cat $file; done"
    return int(jubako.ok("exec", name, "sh", "-c", f"{script}; true"))


@pytest.mark.parametrize("point", IMPORT)
def test_commit(jubako: Jubako, busybox: str, traces: Traces, point: str) -> None:
    argv = ("--network", "none", busybox, "sh", "-c", "echo kept >/note")
    jubako.ok("run", "--name", "box", *argv)
    killed(jubako, point, "commit", "box", "made")
    assert status(jubako, "box") == "exited 0"
    jubako.ok("commit", "box", "made")
    traces.assert_none()
    output = jubako.ok("run", "--rm", "--network", "none", "made", "cat", "/note")
    assert output == "kept"


@pytest.mark.parametrize("point", IMPORT)
def test_import(jubako: Jubako, traces: Traces, busybox_tar: Path, point: str) -> None:
    command = ("import", str(busybox_tar), "made")
    killed(jubako, point, *command)
    jubako.ok(*command)
    jubako.ok("image", "prune", "-f")  # what was recorded before the kill has no name any more
    assert len(jubako.ok("images", "-aq").split()) == 1
    traces.assert_none()
    jubako.ok("run", "--rm", "--network", "none", "made", "true")
    jubako.ok("rmi", "made")
    traces.assert_none()


@pytest.mark.parametrize("point", LOAD)
def test_load(jubako: Jubako, busybox: str, traces: Traces, tmp_path: Path, point: str) -> None:
    archive = str(tmp_path / "archive.tar")
    jubako.ok("save", "-o", archive, busybox)
    jubako.ok("rmi", busybox)
    killed(jubako, point, "load", "-i", archive)
    assert jubako.ok("load", "-i", archive) == "Loaded image: busybox:latest"
    traces.assert_none()
    jubako.ok("run", "--rm", "--network", "none", busybox, "true")


@pytest.mark.parametrize("point", [*REMOVE_IMAGE, *PRUNE_IMAGES])
def test_remove_image(
    jubako: Jubako, busybox: str, traces: Traces, busybox_tar: Path, point: str
) -> None:
    argv = ("image", "prune", "-af") if point in PRUNE_IMAGES else ("rmi", busybox)
    killed(jubako, point, *argv)
    jubako.ok("system", "recover")
    traces.assert_none()
    jubako.ok("import", str(busybox_tar), busybox)
    jubako.ok("run", "--rm", "--network", "none", busybox, "true")
    jubako.ok("rmi", busybox, "-f")
    traces.assert_none()
