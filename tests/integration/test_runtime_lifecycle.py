"""create, start, state, kill, pause, update, delete: the states of a container."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from jubako.errors import (
    Conflict,
    JubakoError,
    KernelError,
    NameInUse,
    NotFound,
    StartError,
    WrongState,
)
from jubako.linux import cgroups, pidfd
from jubako.runtime import Stdio
from tests.integration.runtime_tools import Box, box, in_child, rootfs

__all__ = ["box", "rootfs"]


def test_a_container_runs_its_program(box: Box) -> None:
    done = in_child(lambda: box.run("sh", "-c", "echo hello; echo $0 $$ >&2; exit 7", cwd="/tmp"))
    assert done == (7, "hello\nsh 1\n")


def test_the_states_of_a_container(box: Box) -> None:
    def scenario() -> list[str]:
        runtime, seen = box.runtime, []
        made = box.create(box.spec("sleep", "1000"))
        seen.append(runtime.state("c")["status"])
        assert runtime.pids("c") == [made.pid] == [runtime.state("c")["pid"]]
        runtime.start("c")
        seen.append(runtime.state("c")["status"])
        runtime.pause("c")
        seen.append(runtime.state("c")["status"])
        runtime.resume("c")
        seen.append(runtime.state("c")["status"])
        runtime.kill("c", signal.SIGKILL)
        assert pidfd.wait(made.pidfd) == 137
        seen.append(runtime.state("c")["status"])
        assert "pid" not in runtime.state("c")
        runtime.delete("c")
        with pytest.raises(NotFound, match="container c does not exist"):
            runtime.state("c")
        return seen

    states = in_child(scenario)
    assert states == ["created", "running", "paused", "running", "stopped"]
    assert not os.listdir(box.state_dir)


def test_the_state_is_that_of_the_specification(box: Box) -> None:
    def scenario() -> dict[str, object]:
        spec = box.spec("true")
        spec["annotations"] = {"a": "b"}
        box.create(spec)
        return box.runtime.state("c")

    state = in_child(scenario)
    assert state["ociVersion"] == "1.2.0"
    assert state["id"] == "c"
    assert state["bundle"] == str(box.directory)
    assert state["annotations"] == {"a": "b"}


def test_another_process_finds_the_container(box: Box) -> None:
    """Nothing is kept in the memory of the creator but the child that it reaps."""

    def scenario() -> None:
        made = box.create(box.spec("sh", "-c", "exit 5"))
        in_child(lambda: Box(box.directory, box.rootfs).runtime.start("c"))
        assert pidfd.wait(made.pidfd) == 5

    in_child(scenario)


def test_what_does_not_fit_the_state_is_refused(box: Box) -> None:
    def scenario() -> None:
        runtime = box.runtime
        for call in (runtime.state, runtime.start, runtime.pause, runtime.pids, runtime.delete):
            with pytest.raises(NotFound):
                call("nothing")
        runtime.delete("nothing", force=True)
        box.start("sleep", "1000")
        with pytest.raises(NameInUse, match="container with id c already exists"):
            box.create(box.spec("true"))
        with pytest.raises(WrongState, match="already running"):
            runtime.start("c")
        with pytest.raises(WrongState, match="cannot delete container c that is not stopped"):
            runtime.delete("c")
        with pytest.raises(WrongState):
            runtime.resume("c")
        runtime.pause("c")
        with pytest.raises(WrongState, match="is paused, unpause the container before exec"):
            box.exec("true")
        runtime.kill("c", signal.SIGKILL)
        runtime.delete("c", force=True)

    in_child(scenario)


def test_a_stopped_container_takes_no_signal_and_no_process(box: Box) -> None:
    def scenario() -> None:
        made = box.start("true")
        pidfd.wait(made.pidfd)
        with pytest.raises(WrongState, match="container c is not running"):
            box.runtime.kill("c", signal.SIGTERM)
        with pytest.raises(WrongState, match="container c is not running"):
            box.exec("true")
        with pytest.raises(WrongState, match="cannot start a container that is stopped"):
            box.runtime.start("c")

    in_child(scenario)


def test_signals_reach_init_and_with_everything_all(box: Box) -> None:
    def scenario() -> list[int | None]:
        trap = "trap 'exit 9' TERM; echo up; while :; do sleep 1000 & wait; done"
        with box.pipe() as (stdio, _collect):
            made = box.create(box.spec("sh", "-c", trap), stdio)
            box.runtime.start("c")
            while len(box.runtime.pids("c")) < 2:
                time.sleep(0.01)
            box.runtime.kill("c", signal.SIGTERM)
            first = pidfd.wait(made.pidfd)
            box.runtime.delete("c")
            os.close(stdio.stdout)
        made = box.start("sh", "-c", "sleep 1000; exit 4")
        while len(box.runtime.pids("c")) < 2:
            time.sleep(0.01)
        box.runtime.kill("c", signal.SIGHUP, everything=True)  # init has no handler: ignored
        return [first, pidfd.wait(made.pidfd)]

    assert in_child(scenario) == [9, 4]


def test_limits_hold_and_change(box: Box) -> None:
    def scenario() -> list[int | None]:
        spec = box.spec("sleep", "1000")
        spec["linux"]["resources"]["pids"] = {"limit": 17}
        box.create(spec)
        box.runtime.start("c")
        path = Path(cgroups.Cgroup(f"{box.parent}/c").directory("pids") or "") / "pids.max"
        before = int(path.read_text())
        box.runtime.update("c", {"pids": {"limit": 23}, "devices": [{"allow": False}]})
        assert box.exec("sh", "-c", "echo x > /dev/null").status == 0  # devices stay as they were
        assert box.runtime.stats("c")["pids"]["limit"] == 23
        return [before, int(path.read_text())]

    assert in_child(scenario) == [17, 23]


def test_a_failed_create_leaves_nothing(box: Box) -> None:
    def scenario() -> None:
        with pytest.raises(StartError):
            box.create(box.spec("no-such-program"))
        spec = box.spec("true")
        spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/no/such/place"})
        with pytest.raises(KernelError, match="bind source /no/such/place"):
            box.create(spec)
        spec = box.spec("true")
        spec["mounts"].append({"destination": "/x", "type": "no-such-type"})
        with pytest.raises(StartError, match=r"error during container init: mount /x \(no-such-"):
            box.create(spec)
        spec = box.spec("true")
        spec["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
        with pytest.raises(JubakoError, match="createRuntime hook /bin/false: exit status 1"):
            box.create(spec)
        assert os.listdir(box.state_dir) == []
        assert not cgroups.Cgroup(f"{box.parent}/c").exists()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # no half made init is left either

    in_child(scenario)


def test_a_killed_creator_leaves_what_delete_removes(box: Box) -> None:
    """SIGKILL while the container is being set up, here in a hook that takes long."""
    mark = box.directory / "mark"

    def create() -> None:
        spec = box.spec("true")
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $$ > {mark}; exec sleep 1000"]}
        spec["hooks"] = {"createRuntime": [hook]}
        box.runtime.create("c", str(box.directory), Stdio(), spec=spec)

    pid = os.fork()
    if pid == 0:
        try:
            create()
        finally:
            os._exit(1)
    while not mark.exists() or not mark.read_text():
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    def clean_up() -> None:
        assert cgroups.Cgroup(f"{box.parent}/c").exists()
        box.runtime.delete("c", force=True)
        assert not cgroups.Cgroup(f"{box.parent}/c").exists()

    in_child(clean_up)
    assert os.listdir(box.state_dir) == []
    os.kill(int(mark.read_text()), signal.SIGKILL)  # the hook was the killed creator's child


def test_a_container_dies_with_its_creator_when_asked(box: Box) -> None:
    def create() -> int:
        return box.start("sleep", "1000").pid

    in_child(create)  # which ends now
    deadline = time.monotonic() + 5
    while in_child(lambda: box.runtime.state("c")["status"]) != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_container_outlives_its_creator_otherwise(box: Box) -> None:
    def create() -> None:
        spec = box.spec("sleep", "1000")
        box.runtime.create("c", str(box.directory), Stdio(), spec=spec)
        box.runtime.start("c")

    in_child(create)
    assert in_child(lambda: box.runtime.state("c")["status"]) == "running"
    in_child(lambda: box.runtime.delete("c", force=True))


def test_a_reused_pid_is_not_taken_for_init(box: Box) -> None:
    def scenario() -> None:
        made = box.start("sleep", "1000")
        record = box.runtime.record("c")
        other = {**record, "pid": os.getppid()}  # begun in another tick of the clock than init
        box.runtime._states.write(other)
        assert box.runtime.state("c")["status"] == "stopped"
        with pytest.raises(WrongState):
            box.runtime.kill("c", signal.SIGKILL)
        box.runtime._states.write({**record, "boot_id": "another boot"})
        assert box.runtime.state("c")["status"] == "stopped"
        box.runtime._states.write(record)
        assert box.runtime.state("c")["status"] == "running"
        made.close()

    in_child(scenario)


def race(number: int, attempt: str, box: Box) -> list[str]:
    """`number` processes do the same at once; what each got: "ok" or the class of its error."""
    go_read, go_write = os.pipe()
    answers, answer = os.pipe()
    pids = []
    for _ in range(number):
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go_write)
                os.read(go_read, 1)
                try:
                    if attempt == "start":
                        box.runtime.start("c")
                    elif attempt == "delete":
                        box.runtime.delete("c")
                    else:
                        box.runtime.create("c", str(box.directory), Stdio(), spec=box.spec("true"))
                    word = "ok"
                except JubakoError as error:
                    word = type(error).__name__
                os.write(answer, f"{word}\n".encode())
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(go_read)
    os.close(go_write)
    os.close(answer)
    for pid in pids:
        os.waitpid(pid, 0)
    with open(answers) as file:
        return sorted(file.read().split())


def test_of_many_who_do_the_same_one_wins(box: Box) -> None:
    def scenario() -> list[list[str]]:
        created = race(10, "create", box)
        started = race(10, "start", box)
        deadline = time.monotonic() + 5
        while box.runtime.state("c")["status"] != "stopped" and time.monotonic() < deadline:
            time.sleep(0.01)
        return [created, started, race(10, "delete", box)]

    created, started, deleted = in_child(scenario)
    assert created == ["NameInUse"] * 9 + ["ok"]
    assert started == ["WrongState"] * 9 + ["ok"]
    assert deleted == ["NotFound"] * 9 + ["ok"]


def test_a_cgroup_with_processes_is_not_shared(box: Box) -> None:
    def scenario() -> None:
        box.start("sleep", "1000")
        with pytest.raises(Conflict, match="is not empty"):
            box.create(box.spec("true", name="c"), name="d")
        assert box.runtime.state("c")["status"] == "running"

    in_child(scenario)


def test_hooks_run_in_their_places(box: Box) -> None:
    log = box.directory / "log"
    script = box.directory / "hook"
    script.write_text(f'#!/bin/sh\necho "$0 $1 $(grep -o \'"status": *"[a-z]*"\')" >> {log}\n')
    script.chmod(0o755)
    inside = box.rootfs / "hook"
    inside.write_text("#!/bin/sh\necho inside >> /inside\n")
    inside.chmod(0o755)

    def hook(word: str) -> list[dict[str, object]]:
        return [{"path": str(script), "args": ["renamed", word], "timeout": 10}]

    def scenario() -> None:
        spec = box.spec("sh", "-c", "cat /inside")
        outside = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
        spec["hooks"] = {name: hook(name) for name in outside}
        spec["hooks"]["startContainer"] = [{"path": "/hook"}]
        assert box.run(spec=spec) == (0, "inside\n")

    in_child(scenario)
    lines = log.read_text().splitlines()
    assert [line.split()[1] for line in lines] == [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ]
    assert all('"status":' in line for line in lines)
