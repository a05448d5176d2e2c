"""Faults of running containers: monitors that are killed, programs that eat everything."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import Traces, wait_for

NONE = ("--network", "none")
CHECK = ("--health-interval", "100ms", "--health-timeout", "1h", "--health-cmd", "sleep 4711")

pytestmark = pytest.mark.usefixtures("busybox")


def run(jubako: Jubako, *options: str, command: tuple[str, ...] = ("sleep", "100")) -> int:
    """Start `box` in the background; the PID of its init."""
    jubako.ok("run", "-d", *NONE, "--name", "box", *options, "busybox", *command)
    return int(shown(jubako, "{{.State.Pid}}"))


def shown(jubako: Jubako, template: str) -> str:
    return jubako.ok("inspect", "-f", template, "box")


def state(jubako: Jubako) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(jubako, "{{json .State}}"))
    return found


def events(jubako: Jubako) -> list[str]:
    until = f"{time.time():.9f}"
    lines = jubako.ok("events", "--since", "0", "--until", until, "--filter", "container=box",
                      "--format", "{{.Action}}")  # fmt: skip
    return [line for line in lines.splitlines() if not line.startswith("exec_")]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children(pid: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if parent(int(entry)) == pid:
                    found.append(int(entry))
            except OSError:
                continue  # gone
    return found


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in "ZX"


def probe_of(monitor: int) -> tuple[int, int]:
    """The process of the check that is under way, and that of the test itself."""

    def look() -> tuple[int, int] | None:
        for probe in children(monitor):
            if comm(probe) == "jubako-health":
                for test in children(probe):
                    if comm(test) in ("sh", "sleep", "busybox"):
                        return probe, test
        return None

    wait_for(look)
    found = look()
    assert found is not None
    return found


# the monitor is killed


@pytest.mark.parametrize("pid_mode", [(), ("--pid", "host")], ids=["own-pids", "host-pids"])
def test_a_monitor_killed_during_a_check(
    jubako: Jubako, traces: Traces, pid_mode: tuple[str, ...]
) -> None:
    init = run(jubako, *CHECK, *pid_mode)
    monitor = parent(init)
    probe, test = probe_of(monitor)
    os.kill(monitor, signal.SIGKILL)
    for pid in (init, probe, test):
        wait_for(lambda pid=pid: not alive(pid))
    found = state(jubako)
    assert (found["Status"], found["ExitCode"]) == ("exited", 137)
    assert found["Health"]["Status"] == "unhealthy" and found["Health"]["Log"] == []
    traces.assert_none()
    jubako.ok("rm", "box")


def test_the_next_command_lets_the_policy_start_it_again(jubako: Jubako, traces: Traces) -> None:
    init = run(jubako, *CHECK, "--restart", "unless-stopped")
    monitor = parent(init)
    probe, _ = probe_of(monitor)
    os.kill(monitor, signal.SIGKILL)
    for pid in (init, probe):
        wait_for(lambda pid=pid: not alive(pid))
    assert jubako.ok("ps", "--format", "{{.Names}}") == "box"  # any command
    wait_for(lambda: state(jubako)["Status"] == "running")
    assert shown(jubako, "{{.RestartCount}}") == "1"
    probe_of(parent(int(shown(jubako, "{{.State.Pid}}"))))
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_a_monitor_killed_while_it_waits(jubako: Jubako, traces: Traces) -> None:
    run(jubako, "--restart", "always", command=("false",))
    wait_for(lambda: int(shown(jubako, "{{.RestartCount}}")) >= 4 and state(jubako)["Restarting"])
    waiting = [pid for pid in traces.processes() if comm(pid) == "jubako-monitor"]
    assert len(waiting) == 1
    os.kill(waiting[0], signal.SIGKILL)
    wait_for(lambda: not alive(waiting[0]))
    before = int(shown(jubako, "{{.RestartCount}}"))  # this command starts another
    wait_for(lambda: int(shown(jubako, "{{.RestartCount}}")) > before)
    jubako.ok("stop", "box")
    traces.assert_none()


@pytest.mark.parametrize(
    "point", ["containers.exit.drained", "containers.takedown.runtime", "containers.exit.recorded"]
)
def test_a_monitor_killed_at_each_step_of_an_end(
    jubako: Jubako, traces: Traces, point: str
) -> None:
    jubako.environment["JUBAKO_FAULT"] = point
    init = run(jubako, "--restart", "always")
    del jubako.environment["JUBAKO_FAULT"]
    monitor = parent(init)
    os.kill(init, signal.SIGKILL)
    wait_for(lambda: not alive(monitor))
    wait_for(lambda: state(jubako)["Status"] == "running")
    assert shown(jubako, "{{.RestartCount}}") == "1"
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_a_command_killed_between_repair_and_restart(jubako: Jubako, traces: Traces) -> None:
    init = run(jubako, "--restart", "always")
    os.kill(parent(init), signal.SIGKILL)
    wait_for(lambda: not alive(init))
    killed = jubako("ps", env={"JUBAKO_FAULT": "containers.repair.recorded"})
    assert killed.status == -signal.SIGKILL
    wait_for(lambda: state(jubako)["Status"] == "running")
    assert shown(jubako, "{{.RestartCount}}") == "1"
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_a_stop_killed_at_the_signal_has_not_been_promised(jubako: Jubako) -> None:
    """What the row says and what the container does agree."""
    run(jubako, "--restart", "always")
    jubako("stop", "-t", "1", "box", env={"JUBAKO_FAULT": "containers.stop.signalled"})
    jubako.ok("stop", "-t", "0", "box")
    assert state(jubako)["Status"] == "exited"


# what a program may do


def test_a_container_that_ignores_sigterm(jubako: Jubako, traces: Traces) -> None:
    run(
        jubako,
        "--restart",
        "always",
        command=("sh", "-c", "trap '' TERM; while :; do sleep 1; done"),
    )
    began = time.monotonic()
    jubako.ok("stop", "-t", "1", "box")
    assert time.monotonic() - began >= 1
    assert (state(jubako)["Status"], state(jubako)["ExitCode"]) == ("exited", 137)
    assert events(jubako)[-4:] == ["kill", "kill", "die", "stop"]
    traces.assert_none()


ZOMBIES = """
i=0
while [ $i -lt 100 ]; do
    ( j=0; while [ $j -lt 100 ]; do true & j=$((j+1)); done; ) &
    i=$((i+1))
    [ $((i % 10)) -eq 0 ] && wait
done
wait
echo forked
exec sleep 100
"""


def test_ten_thousand_zombies_are_reaped(jubako: Jubako) -> None:
    init = run(jubako, "--init", command=("sh", "-c", ZOMBIES))
    wait_for(lambda: jubako.ok("logs", "box") == "forked", 60)
    wait_for(lambda: len(children(init)) == 1)  # the program alone
    jubako.ok("kill", "box")


def test_the_oom_killer(jubako: Jubako, traces: Traces) -> None:
    words = ["run", *NONE, "--name", "box", "--memory", "16m", "--memory-swap", "16m", "busybox"]
    result = jubako(*words, "sh", "-c", "exec tail -c 1073741824 /dev/zero")
    assert result.status == 137
    found = state(jubako)
    assert (found["OOMKilled"], found["ExitCode"], found["Status"]) == (True, 137, "exited")
    assert events(jubako)[-2:] == ["oom", "die"]
    traces.assert_none()


def test_the_oom_killer_and_a_policy(jubako: Jubako) -> None:
    words = ["--memory", "16m", "--memory-swap", "16m", "--restart", "on-failure:1"]
    run(jubako, *words, command=("sh", "-c", "exec tail -c 1073741824 /dev/zero"))
    wait_for(lambda: state(jubako)["Status"] == "exited")
    assert (state(jubako)["OOMKilled"], shown(jubako, "{{.RestartCount}}")) == (True, "1")


# each process makes two more for as long as it can, and then stays
BOMB = "bomb() { bomb & bomb & exec sleep 100; }; bomb & exec sleep 100"


@pytest.mark.parametrize("words", [["stop", "-t", "0"], ["rm", "-f"]])
def test_a_fork_bomb(jubako: Jubako, traces: Traces, words: list[str]) -> None:
    run(jubako, "--pids-limit", "50", command=("sh", "-c", BOMB))
    wait_for(lambda: "can't fork" in jubako("logs", "box").stderr)
    assert jubako.ok("ps", "-q") and "sleep 100" in jubako.ok("top", "box")
    jubako.ok(*words, "box")
    if words[0] == "stop":
        assert state(jubako)["ExitCode"] == 137
    traces.assert_none()


def test_a_check_of_a_container_without_a_process_to_spare(jubako: Jubako) -> None:
    """The pids limit stops the test; that is a failure of the check and not of the monitor."""
    run(jubako, "--pids-limit", "1", "--health-interval", "100ms", "--health-retries", "1",
        "--health-cmd", "true")  # fmt: skip
    wait_for(lambda: state(jubako)["Health"]["Status"] == "unhealthy")
    assert state(jubako)["Health"]["Log"][0]["ExitCode"] != 0
    assert state(jubako)["Status"] == "running"
