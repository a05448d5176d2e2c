"""`jubako-runtime` as conmon and containerd's shim call it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.linux import cgroups, prctl
from jubako.runtime.default_spec import default_spec
from tests.fixtures.leaks import worker_name
from tests.integration.runtime_tools import rootfs

__all__ = ["rootfs"]

COMMAND = Path(sys.executable).with_name("jubako-runtime")


class Command:
    """The command with a bundle of its own."""

    def __init__(self, directory: Path, rootfs: Path):
        self.directory = directory
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        self.log = directory / "log.json"
        self.cgroup = f"/jbk-{worker_name()}-command"
        self.spec = default_spec()
        self.spec["process"]["terminal"] = False
        self.spec["root"] = {"path": str(rootfs)}
        self.spec["linux"]["cgroupsPath"] = f"{self.cgroup}/c"

    def write(self, *args: str, **process: Any) -> None:
        self.spec["process"] |= {"args": list(args), **process}
        (self.bundle / "config.json").write_text(json.dumps(self.spec))

    def __call__(self, *args: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "--root", self.directory / "state", *args],
            stdin=how.pop("stdin", subprocess.DEVNULL),
            stdout=how.pop("stdout", subprocess.PIPE),
            stderr=how.pop("stderr", subprocess.PIPE),
            text=True,
            timeout=30,
            **how,
        )

    def ok(self, *args: str | Path, **how: Any) -> str:
        done = self(*args, **how)
        assert done.returncode == 0, (args, done)
        return str(done.stdout)

    def create(self, *options: str | Path) -> None:
        """As conmon does: the output goes to descriptors that outlive the command."""
        with open(self.directory / "output", "ab") as output:
            done = self(
                "create", "--bundle", self.bundle, *options, "c", stdout=output, stderr=output
            )
        assert done.returncode == 0, self.output()

    def output(self) -> str:
        return (self.directory / "output").read_text()

    def status(self) -> str:
        return str(json.loads(self.ok("state", "c"))["status"])

    def wait_for(self, status: str) -> None:
        deadline = time.monotonic() + 10
        while self.status() != status:
            assert time.monotonic() < deadline, f"still {self.status()}"
            time.sleep(0.02)


def children() -> set[int]:
    """The processes whose parent this one is."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for path in lists for pid in path.read_text().split()}


@pytest.fixture
def command(tmp_path: Path, rootfs: Path) -> Iterator[Command]:
    """The command; this process adopts the containers and reaps them."""
    before = children()  # a registry of other tests, say
    prctl.set_child_subreaper(True)
    made = Command(tmp_path, rootfs)
    yield made
    made("delete", "--force", "c")
    while adopted := children() - before:
        os.waitpid(adopted.pop(), 0)
    prctl.set_child_subreaper(False)
    parent = cgroups.Cgroup(made.cgroup)
    if parent.exists():
        parent.remove()


def reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_steps_of_an_engine(command: Command) -> None:
    command.write("sh", "-c", "echo hello; echo oops >&2; exit 3")
    pid_file = command.directory / "pid"
    command.create("--pid-file", pid_file)
    assert command.status() == "created"
    pid = int(pid_file.read_text())
    assert json.loads(command.ok("state", "c"))["pid"] == pid
    assert json.loads(command.ok("ps", "--format", "json", "c")) == [pid]
    command.ok("start", "c")
    assert reap(pid) == 3
    assert command.status() == "stopped"
    assert command.output() == "hello\noops\n"
    command.ok("delete", "c")
    assert command("state", "c").returncode == 1


def test_run_in_the_foreground(command: Command) -> None:
    command.write("sh", "-c", "cat; exit 9")
    done = command("run", "--bundle", command.bundle, "c", stdin=None, input="through")
    assert (done.returncode, done.stdout) == (9, "through")
    assert command("state", "c").returncode == 1


def test_run_forwards_signals(command: Command) -> None:
    command.write(
        "sh", "-c", "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    )
    running = subprocess.Popen(
        [COMMAND, "--root", command.directory / "state", "run", "--bundle", command.bundle, "c"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.terminate()
    assert running.stdout.readline() == "got\n"
    assert running.wait(10) == 5
    running.stdout.close()


def test_exec_with_a_process_file_and_options(command: Command) -> None:
    command.write("sleep", "1000")
    command.create()
    command.ok("start", "c")
    process = {**command.spec["process"], "args": ["sh", "-c", "echo file; exit 6"]}
    path = command.directory / "process.json"
    path.write_text(json.dumps(process))
    done = command("exec", "--process", path, "c")
    assert (done.returncode, done.stdout) == (6, "file\n")
    script = "pwd; echo $X; id -u"
    options = ("--cwd", "/tmp", "--env", "X=1", "--user", "33:44")
    assert command.ok("exec", *options, "c", "sh", "-c", script) == "/tmp\n1\n33\n"
    pid_file = command.directory / "pid"
    null = subprocess.DEVNULL
    command.ok(
        "exec", "-d", "--pid-file", pid_file, "c", "sh", "-c", "exit 8", stdout=null, stderr=null
    )
    assert reap(int(pid_file.read_text())) == 8
    done = command("exec", "c", "nope")
    assert done.returncode == 255
    assert done.stderr == (
        "jubako-runtime: exec failed: unable to start container process: "
        'exec: "nope": executable file not found in $PATH\n'
    )


def test_the_terminal_goes_to_the_console_socket(command: Command) -> None:
    command.write(
        "sh", "-c", "tty; stty size", terminal=True, consoleSize={"width": 50, "height": 9}
    )
    done = command("create", "--bundle", command.bundle, "c")
    assert "cannot allocate tty if the runtime will detach" in done.stderr
    path = command.directory / "console"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pid_file = command.directory / "pid"
        command.create("--console-socket", path, "--pid-file", pid_file)
        connection, _ = listener.accept()
        with connection:
            _, (console,), _, _ = socket.recv_fds(connection, 100, 1)
    command.ok("start", "c")
    output = b""
    while output.count(b"\n") < 2:
        output += os.read(console, 100)
    os.close(console)
    assert output == b"/dev/pts/0\r\n9 50\r\n"
    reap(int(pid_file.read_text()))


def test_descriptors_are_preserved_when_asked(command: Command) -> None:
    command.write("sh", "-c", "echo through >&3; cd /proc/self/fd; echo *")
    read, write = os.pipe()
    high = os.dup(write)

    def arrange() -> None:
        os.dup2(write, 3)
        os.dup2(high, 9)

    argv: list[str | Path] = [COMMAND, "--root", command.directory / "state", "run"]
    done = subprocess.run(
        [*argv, "--preserve-fds=1", "--bundle", command.bundle, "c"],
        preexec_fn=arrange,
        pass_fds=(3, 9),
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
    )
    os.close(write)
    os.close(high)
    assert done.returncode == 0
    assert os.read(read, 100) == b"through\n"
    os.close(read)
    assert set(done.stdout.split()) <= {"0", "1", "2", "3", "4"}


def test_errors_go_to_the_log_as_runc_writes_it(command: Command) -> None:
    command.write("nope")
    reason = (
        "jubako-runtime create failed: unable to start container process: "
        'exec: "nope": executable file not found in $PATH'
    )
    options = ("--log", command.log, "--log-format", "json")
    done = command(*options, "create", "--bundle", command.bundle, "c")
    assert (done.returncode, done.stderr) == (1, f"jubako-runtime: {reason}\n")
    entry = json.loads(command.log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", reason)
    assert entry["time"].endswith("Z")
    text = command.directory / "log.txt"
    command("--log", text, "create", "--bundle", command.bundle, "c")
    assert 'level=error msg="jubako-runtime create failed' in text.read_text()


def test_pause_resume_kill_update_events(command: Command) -> None:
    command.write("sh", "-c", "trap 'exit 4' USR1; while :; do sleep 0.02; done")
    pid_file = command.directory / "pid"
    command.create("--pid-file", pid_file)
    command.ok("start", "c")
    command.ok("pause", "c")
    assert command.status() == "paused"
    assert "is paused" in command("exec", "c", "true").stderr
    command.ok("resume", "c")
    command.ok("update", "--pids-limit", "55", "c")
    event = json.loads(command.ok("events", "--stats", "c"))
    assert (event["type"], event["id"]) == ("stats", "c")
    assert event["data"]["pids"]["limit"] == 55
    assert [state["id"] for state in json.loads(command.ok("list", "-f", "json"))] == ["c"]
    assert command.ok("list", "--quiet") == "c\n"
    assert "c " in command.ok("list")
    assert pid_file.read_text() in command.ok("ps", "c")
    command.ok("kill", "c", "SIGUSR1")
    assert reap(int(pid_file.read_text())) == 4
    assert "is not running" in command("kill", "c").stderr


def test_a_bundle_of_its_own_making(command: Command) -> None:
    (command.bundle / "rootfs").symlink_to(command.spec["root"]["path"])
    command.ok("spec", "--bundle", command.bundle)
    path = command.bundle / "config.json"
    spec = json.loads(path.read_text())
    assert spec["process"]["args"] == ["sh"]
    assert "exists. Remove it first" in command("spec", "--bundle", command.bundle).stderr
    spec["process"] |= {"terminal": False, "args": ["sh", "-c", "id -u; touch /x"]}
    spec["linux"]["cgroupsPath"] = f"{command.cgroup}/c"
    path.write_text(json.dumps(spec))
    done = command("run", "--bundle", command.bundle, "c")
    assert done.stdout.startswith("0\n")
    assert "Read-only file system" in done.stderr


def test_what_it_says_about_itself(command: Command) -> None:
    assert command.ok("--version").startswith("jubako-runtime version ")
    assert json.loads(command.ok("features"))["ociVersionMax"]
    text = command.ok("--help")
    for name in ("create", "start", "state", "kill", "delete", "run", "exec", "features", "spec"):
        assert f"\n  {name}" in text
        assert command.ok(name, "--help").startswith("Usage:  jubako-runtime")


def test_wrong_calls(command: Command) -> None:
    for words, reason in (
        (("nope",), "no such command: nope"),
        (("create", "--nope", "c"), "flag provided but not defined: -nope"),
        (("state",), "usage: jubako-runtime state CONTAINER"),
        (("state", "../x"), "invalid container ID"),
        (("--systemd-cgroup", "state", "c"), "manages cgroups itself"),
        (("create", "--bundle", "/nope", "c"), "config.json: No such file"),
    ):
        done = command(*words)
        assert done.returncode == 1
        assert reason in done.stderr
