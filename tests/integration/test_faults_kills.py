"""SIGKILL from outside: of the command, the monitor, init, all of them; and a reboot."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import KernelError
from tests.fixtures.engine import Jubako, remove_traces
from tests.integration.fault_tools import (
    Traces,
    alive,
    held,
    init_pid,
    inspect,
    kill,
    parent,
    status,
    wait_for,
)

ARGUMENTS = ("-p", "127.0.0.1:8080:80", "-v", "/anonymous")
OFF = ("--network", "none")


def start(jubako: Jubako, image: str, *options: str, replaced: bool = False) -> tuple[int, int]:
    """A container `box` that runs; the PIDs of its init and its monitor.

    replaced: wait until the monitor is the small program.
    """
    jubako.ok("run", "-d", "--name", "box", *ARGUMENTS, *options, image, "sleep", "100")
    init = init_pid(jubako, "box")
    monitor = parent(init)
    assert is_monitor(monitor)
    if replaced:
        wait_for(lambda: b"slim" in Path(f"/proc/{monitor}/cmdline").read_bytes())
        wait_for(lambda: is_monitor(monitor))
    return init, monitor


def is_monitor(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "jubako-monitor\n"


def assert_killed(jubako: Jubako, traces: Traces, *, rm: bool = False) -> None:
    """`ps` shows it as killed, nothing is left, and it can be started again."""
    shown = jubako.ok("ps", "-a", "--format", "{{.Status}}")
    if rm:
        assert shown == ""
        assert jubako.ok("volume", "ls", "-q") == ""
        traces.assert_none()
        return
    assert shown.startswith("Exited (137)")
    traces.assert_none()
    jubako.ok("start", "box")
    assert status(jubako, "box") == "running 0"
    assert jubako.ok("exec", "box", "echo", "alive") == "alive"
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


@pytest.mark.parametrize("replaced", [False, True], ids=["young", "replaced"])
@pytest.mark.parametrize("rm", [False, True], ids=["kept", "rm"])
@pytest.mark.parametrize("victims", ["monitor", "init", "both"])
def test_a_running_container(
    jubako: Jubako, busybox: str, traces: Traces, victims: str, rm: bool, replaced: bool
) -> None:
    init, monitor = start(jubako, busybox, *(["--rm"] if rm else []), replaced=replaced)
    kill(*{"monitor": [monitor], "init": [init], "both": [init, monitor]}[victims])
    wait_for(lambda: not alive(monitor))
    wait_for(lambda: not alive(init))  # it does not outlive its monitor
    assert_killed(jubako, traces, rm=rm)


def test_an_init_that_outlives_its_monitor(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """A set-user-ID program loses its parent-death signal (prctl(2)): the next command kills it."""
    script = "cp /bin/busybox /sleep && chmod 4755 /sleep"
    jubako.ok("run", "--name", "maker", *OFF, busybox, "sh", "-c", script)
    jubako.ok("commit", "maker", "setuid")
    jubako.ok("rm", "maker")
    command = ("-u", "1000:1000", "setuid", "/sleep", "100")
    jubako.ok("run", "-d", "--name", "box", *ARGUMENTS, *command)
    init = init_pid(jubako, "box")
    kill(parent(init))
    assert alive(init)
    assert jubako.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    assert not alive(init)
    traces.assert_none()


def test_a_runtime_that_is_not_installed_any_more(
    jubako: Jubako, busybox: str, traces: Traces, tmp_path: Path
) -> None:
    """The container can still be taken down, and removed."""
    command = Path(sys.executable).with_name("jubako-runtime")
    program = tmp_path / "other-runtime"
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    _, monitor = start(jubako, busybox, "--runtime", str(program))
    program.unlink()
    kill(monitor)
    assert jubako.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    traces.assert_none()
    found = jubako("start", "box")
    assert found.status == 1
    assert "other-runtime is not installed" in found.stderr
    traces.assert_none()
    jubako.ok("rm", "-v", "box")
    traces.assert_none()


def test_processes_that_outlive_init(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """In the host's PID namespace nothing dies with init."""
    script = "sleep 1000 & exec sleep 100"
    command = ("--pid", "host", *ARGUMENTS, busybox, "sh", "-c", script)
    jubako.ok("run", "-d", "--name", "box", *command)
    kill(parent(init_pid(jubako, "box")))
    assert jubako.ok("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137)")
    traces.assert_none()


def test_a_paused_container(jubako: Jubako, busybox: str, traces: Traces) -> None:
    init, monitor = start(jubako, busybox)
    jubako.ok("pause", "box")
    os.kill(monitor, signal.SIGKILL)
    wait_for(lambda: not alive(monitor))
    assert_killed(jubako, traces)
    assert not alive(init)


def test_waiting_for_a_container_that_is_gone_then(
    jubako: Jubako, busybox: str, traces: Traces
) -> None:
    _, monitor = start(jubako, busybox, "--rm")
    process = jubako.start("wait", "box")
    time.sleep(0.3)
    kill(monitor)
    assert process.communicate(timeout=10)[0] == "137\n"
    assert jubako.ok("ps", "-aq") == ""
    traces.assert_none()


def test_no_process_can_be_made(
    engine: Engine, busybox: str, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"Image": busybox, "Cmd": ["sleep", "100"]}
    identity = engine.containers.create(config, {}, name="box")["Id"]

    def fail(*args: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patch:
        patch.setattr("os.fork", fail)
        patch.setattr("os.posix_spawn", fail)
        with pytest.raises(KernelError, match="Resource temporarily unavailable"):
            engine.containers.start(identity)
    traces.assert_none()
    engine.containers.start(identity)
    engine.containers.remove(identity, force=True)
    traces.assert_none()


def test_what_belongs_to_no_container(jubako: Jubako, engine: Engine, traces: Traces) -> None:
    """`system recover` frees addresses and ports of containers that nobody knows."""
    network = engine.networks.ensure_default()["Id"]
    endpoint = '{"HostLink": "vethgone"}'
    with engine.store.transaction() as db:
        db.execute("INSERT INTO leases VALUES (?, 2886795266, 'gone', ?)", (network, endpoint))
        db.execute("INSERT INTO ports VALUES ('tcp', '0.0.0.0', 8080, 'gone', '172.17.0.2', 80)")
    assert len(traces.find()) == 2
    jubako.ok("system", "recover")
    traces.assert_none()


def test_everything_at_once(jubako: Jubako, busybox: str, traces: Traces) -> None:
    names = ["one", "two", "three"]
    for name in names:
        jubako.ok("run", "-d", "--name", name, "-p", "80", busybox, "sleep", "100")
    waiting = [jubako.start("wait", name) for name in names]
    waiting += [jubako.start("stop", "-t", "100", names[0])]
    time.sleep(0.2)
    kill(*traces.processes(), *(process.pid for process in waiting))
    for process in waiting:
        process.wait(10)
    found = jubako.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
    assert [line.split(")")[0] for line in found] == [
        f"{name} Exited (137" for name in reversed(names)
    ]
    traces.assert_none()
    jubako.ok("start", *names)
    jubako.ok("rm", "-f", *names)
    traces.assert_none()


@pytest.mark.parametrize("run_directory", ["gone", "kept"])
def test_a_reboot(
    jubako: Jubako,
    busybox: str,
    traces: Traces,
    root_dir: Path,
    run_directory: str,
) -> None:
    """After it the rows name another boot; nothing claims to run and everything can."""
    start(jubako, busybox)
    jubako.ok("run", "-d", "--rm", "--name", "gone", busybox, "sleep", "100")
    jubako.ok("run", "-d", "--name", "other", busybox, "sleep", "100")
    identities = jubako.ok("ps", "-aq", "--no-trunc").splitlines()
    kill(*traces.processes())
    run_dir = Path(traces.run_dir)
    for path in reversed(traces.cgroups()):
        wait_for(lambda path=path: _remove(path))
    remove_traces(f"jubako-{run_dir.name}")
    if run_directory == "gone":
        shutil.rmtree(run_dir)
    with sqlite3.connect(root_dir / "state.db") as db:
        db.execute("UPDATE containers SET boot_id = 'of another boot' WHERE boot_id <> ''")
    db.close()
    shown = jubako.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").splitlines()
    assert [line.partition(")")[0] for line in shown] == ["other Exited (137", "box Exited (137"]
    traces.assert_none()
    assert not any((root_dir / "containers" / name).exists() for name in identities[1:2])
    jubako.ok("start", "other")
    jubako.ok("rm", "-f", "other")
    assert_killed(jubako, traces)


def _remove(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def test_a_command_in_the_foreground(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """The container goes on without it, and ends as it would have."""
    script = "while [ ! -e /end ]; do echo more; sleep 0.01; done; exit 3"
    process = jubako.start("run", "--name", "box", *OFF, busybox, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "more\n"
    kill(process.pid)
    process.wait(5)
    assert status(jubako, "box") == "running 0"
    jubako.ok("exec", "box", "touch", "/end")
    assert jubako.ok("wait", "box") == "3"
    jubako.ok("rm", "box")
    traces.assert_none()


@pytest.mark.parametrize("command", ["wait", "stop", "logs", "attach"])
def test_a_command_that_waits(jubako: Jubako, busybox: str, traces: Traces, command: str) -> None:
    argv = {
        "wait": ["wait", "box"],
        "stop": ["stop", "-t", "100", "box"],
        "logs": ["logs", "-f", "box"],
        "attach": ["attach", "--no-stdin", "box"],
    }[command]
    init, monitor = start(jubako, busybox)
    process = jubako.start(*argv)
    wait_for(lambda: _waits(process.pid))
    kill(process.pid)
    process.wait(5)
    assert alive(init) and alive(monitor)
    # it also notices that the monitor is killed, and does not wait for ever
    process = jubako.start(*argv)
    wait_for(lambda: _waits(process.pid))
    kill(monitor)
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) in ((0, "137\n"), (0, "box\n"), (0, ""), (1, "")), stderr
    if command == "wait":
        assert stdout == "137\n"
    if command == "attach":
        assert "the container's monitor has died" in stderr
    assert_killed(jubako, traces)


def _waits(pid: int) -> bool:
    """Whether a command has come to where it waits: for a monitor's socket, or its lock."""
    try:
        opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        sleeping = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")
    except OSError:
        return False
    waited = [path for path in opened if path.startswith("socket:") or path.endswith(".monitor")]
    return sleeping and bool(waited)


@pytest.mark.parametrize("then", ["rm", "start", "ps"])
def test_a_start_whose_command_is_gone(
    jubako: Jubako, busybox: str, traces: Traces, then: str
) -> None:
    """The monitor goes on without the lock that the command held: others wait for it."""
    jubako.ok("create", "--name", "box", *ARGUMENTS, busybox, "sleep", "100")
    lock = f"{traces.run_dir}/locks/{inspect(jubako, 'box', '{{.Id}}')}.monitor"
    process = jubako.start("start", "box")
    monitor = _wait_for_monitor()
    os.kill(monitor, signal.SIGSTOP)
    kill(process.pid)
    process.wait(5)
    assert held(lock)
    argv = {"rm": ["rm", "-fv", "box"], "start": ["start", "box"], "ps": ["ps", "-aq"]}[then]
    other = jubako.start(*argv)
    time.sleep(0.3)
    if then != "ps":
        assert other.poll() is None
    os.kill(monitor, signal.SIGCONT)
    _, stderr = other.communicate(timeout=10)
    assert other.returncode == 0, stderr
    if then == "rm":
        assert jubako.ok("ps", "-aq") == ""
    else:
        wait_for(lambda: status(jubako, "box") == "running 0")
        jubako.ok("rm", "-fv", "box")
    traces.assert_none()


def _wait_for_monitor() -> int:
    """The PID of the first process that calls itself a monitor, very soon after it does."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = subprocess.run(
            ["pgrep", "-x", "-n", "jubako-monitor", "--ns", str(os.getpid()), "--nslist", "net"],
            capture_output=True,
            text=True,
        )
        if found.stdout:
            return int(found.stdout)
    raise AssertionError("no monitor came")
