"""Health checks: their results, what they cost, and what follows from them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument
from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import Traces, wait_for

QUICK = ("--health-interval", "100ms")
TOUCHED = "test -e /ok || { echo not yet; exit 3; }"

pytestmark = pytest.mark.usefixtures("busybox")


def run(jubako: Jubako, *options: str, command: tuple[str, ...] = ("sleep", "100")) -> None:
    jubako.ok("run", "-d", "--network", "none", "--name", "box", *options, "busybox", *command)


def health(jubako: Jubako) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jubako.ok("inspect", "-f", "{{json .State.Health}}", "box"))
    return found


def becomes(jubako: Jubako, status: str) -> None:
    wait_for(lambda: health(jubako)["Status"] == status, 20)


def events(jubako: Jubako, *filters: str) -> list[str]:
    """Actions, without those of execs."""
    words = [word for text in filters for word in ("--filter", text)]
    until = f"{time.time():.9f}"
    lines = jubako.ok("events", "--since", "0", "--until", until, "--format", "{{.Action}}", *words)
    return [line for line in lines.splitlines() if not line.startswith("exec_")]


def test_from_starting_to_unhealthy_to_healthy(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-retries", "2", "--health-cmd", TOUCHED)
    assert health(jubako)["Status"] in ("starting", "unhealthy")
    becomes(jubako, "unhealthy")
    found = health(jubako)
    assert found["FailingStreak"] >= 2
    assert found["Log"][-1]["ExitCode"] == 3 and found["Log"][-1]["Output"] == "not yet\n"
    assert found["Log"][-1]["Start"] < found["Log"][-1]["End"]
    assert jubako.ok("ps", "--format", "{{.Status}}").endswith(" (unhealthy)")
    jubako.ok("exec", "box", "touch", "/ok")
    becomes(jubako, "healthy")
    assert health(jubako)["FailingStreak"] == 0
    assert jubako.ok("ps", "--format", "{{.Status}}").endswith(" (healthy)")
    assert events(jubako, "container=box") == [
        "create", "start", "health_status: unhealthy", "health_status: healthy",
    ]  # fmt: skip
    wait_for(lambda: len(health(jubako)["Log"]) == 5)


def test_a_check_is_an_exec(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-cmd", "exit 4")
    becomes(jubako, "unhealthy")
    until = f"{time.time():.9f}"
    form = "{{.Action}} {{.Actor.Attributes.exitCode}}"
    lines = jubako.ok("events", "--since", "0", "--until", until, "--format", form).splitlines()
    assert "exec_create: /bin/sh -c exit 4 <no value>" in lines
    assert "exec_start: /bin/sh -c exit 4 <no value>" in lines
    assert "exec_die 4" in lines


def test_the_filter_of_ps(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-cmd", "true")
    jubako.ok("run", "-d", "--network", "none", "--name", "plain", "busybox", "sleep", "100")
    becomes(jubako, "healthy")
    for status, names in (("healthy", "box"), ("unhealthy", ""), ("none", "plain")):
        shown = jubako.ok("ps", "--filter", f"health={status}", "--format", "{{.Names}}")
        assert shown == names
    assert "unrecognized filter value for health: x" in jubako("ps", "-f", "health=x").stderr


def test_a_check_that_takes_too_long_dies_with_what_it_started(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-timeout", "200ms", "--health-retries", "1", "--health-cmd",
        "echo partial; sleep 77 & sleep 78")  # fmt: skip
    becomes(jubako, "unhealthy")
    result = health(jubako)["Log"][0]
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (200ms): partial\n"
    jubako.ok("pause", "box")
    left = jubako.ok("top", "box", "-eo", "pid,args").splitlines()
    for program in ("sleep 77", "sleep 78"):
        found = [line for line in left if line.split(maxsplit=1)[1] == program]
        assert len(found) <= 1  # of the check under way


def test_a_test_that_cannot_be_executed(engine: Engine) -> None:
    check = {"Test": ["CMD", "/nosuch"], "Interval": 10**8, "Retries": 1}
    box = engine.containers.run_detached(
        "busybox", ["sleep", "100"], config={"Healthcheck": check},
        host_config={"NetworkMode": "none"},
    )  # fmt: skip
    wait_for(lambda: engine.containers.inspect(box)["State"]["Health"]["Status"] == "unhealthy")
    result = engine.containers.inspect(box)["State"]["Health"]["Log"][0]
    assert result["ExitCode"] == -1 and "/nosuch" in result["Output"]


def test_long_output_is_cut(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-cmd", "yes | head -c 300000")
    becomes(jubako, "healthy")
    output = health(jubako)["Log"][0]["Output"]
    assert len(output) == 4096 + 3 and output.endswith("...")


def test_the_start_period_has_an_interval_of_its_own(jubako: Jubako) -> None:
    run(jubako, "--health-interval", "1h", "--health-start-period", "1h",
        "--health-start-interval", "100ms", "--health-retries", "1",
        "--health-cmd", TOUCHED)  # fmt: skip
    wait_for(lambda: len(health(jubako)["Log"]) >= 3)
    assert (health(jubako)["Status"], health(jubako)["FailingStreak"]) == ("starting", 0)
    assert jubako.ok("ps", "--format", "{{.Status}}").endswith(" (health: starting)")
    jubako.ok("exec", "box", "touch", "/ok")
    becomes(jubako, "healthy")


def test_a_paused_container_is_not_checked(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-cmd", "date +%s%N")
    becomes(jubako, "healthy")
    jubako.ok("pause", "box")
    frozen = health(jubako)
    assert frozen["Status"] == "unhealthy"  # as Docker says of one that it does not check
    time.sleep(0.4)
    assert health(jubako) == frozen
    jubako.ok("unpause", "box")
    becomes(jubako, "healthy")


def test_the_image_says_how_and_the_user_what_else(jubako: Jubako) -> None:
    jubako.ok("create", "--network", "none", "--name", "model", "busybox", "sleep", "100")
    change = 'HEALTHCHECK --interval=100ms --retries=1 CMD ["test", "-e", "/ok"]'
    jubako.ok("commit", "-c", change, "model", "checked")
    for options, expected in (
        ([], {"Test": ["CMD", "test", "-e", "/ok"], "Interval": 10**8, "Retries": 1}),
        (
            ["--health-retries", "7"],
            {"Test": ["CMD", "test", "-e", "/ok"], "Interval": 10**8, "Retries": 7},
        ),
        (
            ["--health-cmd", "true"],
            {"Test": ["CMD-SHELL", "true"], "Interval": 10**8, "Retries": 1},
        ),
        (["--no-healthcheck"], {"Test": ["NONE"], "Interval": 10**8, "Retries": 1}),
    ):
        jubako.ok("run", "-d", "--network", "none", "--name", "box", *options, "checked")
        shown = json.loads(jubako.ok("inspect", "-f", "{{json .Config.Healthcheck}}", "box"))
        assert shown == expected
        assert (health(jubako) is None) is ("--no-healthcheck" in options)
        jubako.ok("rm", "-f", "box")


def test_after_the_end(jubako: Jubako, traces: Traces) -> None:
    run(jubako, *QUICK, "--health-cmd", "true")
    becomes(jubako, "healthy")
    jubako.ok("stop", "-t", "0", "box")
    assert health(jubako)["Status"] == "unhealthy"
    assert "healthy" not in jubako.ok("ps", "-a", "--format", "{{.Status}}")
    traces.assert_none()
    jubako.ok("start", "box")
    assert health(jubako)["Log"]
    becomes(jubako, "healthy")


def test_it_goes_on_when_the_monitor_has_replaced_itself(jubako: Jubako) -> None:
    run(jubako, *QUICK, "--health-cmd", "date +%s%N")
    monitor = _parent(int(jubako.ok("inspect", "-f", "{{.State.Pid}}", "box")))
    wait_for(lambda: b"slim.main" in Path(f"/proc/{monitor}/cmdline").read_bytes(), 20)
    last = health(jubako)["Log"][-1]
    wait_for(lambda: last not in health(jubako)["Log"])
    assert health(jubako)["Status"] == "healthy"
    maps = Path(f"/proc/{monitor}/maps").read_text()
    assert "_sqlite3" not in maps  # a check is not the monitor's work


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# what an unhealthy container comes to


def _unhealthy(jubako: Jubako, action: str, *options: str) -> None:
    run(jubako, *QUICK, "--health-retries", "1", "--health-cmd", "false", "--stop-timeout", "0",
        "--health-on-failure", action, *options)  # fmt: skip


def _ended(jubako: Jubako) -> bool:
    return jubako.ok("inspect", "-f", "{{.State.Status}}", "box") == "exited"


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_it_is_ended(jubako: Jubako, action: str, traces: Traces) -> None:
    _unhealthy(jubako, action)
    wait_for(lambda: _ended(jubako))
    assert jubako.ok("inspect", "-f", "{{.State.ExitCode}}", "box") == "137"
    assert jubako.ok("inspect", "-f", "{{.HostConfig.HealthOnFailure}}", "box") == action
    wait_for(lambda: "health_status: unhealthy" in events(jubako))
    traces.assert_none()


def test_stop_rests_the_restart_policy_and_kill_does_not(jubako: Jubako) -> None:
    _unhealthy(jubako, "stop", "--restart", "always")
    wait_for(lambda: _ended(jubako))
    jubako.ok("rm", "box")
    _unhealthy(jubako, "kill", "--restart", "always")
    wait_for(lambda: int(jubako.ok("inspect", "-f", "{{.RestartCount}}", "box")) >= 2, 20)


def test_it_is_restarted(jubako: Jubako, traces: Traces) -> None:
    _unhealthy(jubako, "restart")
    wait_for(lambda: events(jubako, "event=restart").count("restart") >= 2, 20)
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_an_action_needs_a_check_and_a_name(engine: Engine) -> None:
    config: dict[str, Any] = {"Image": "busybox", "Cmd": ["true"]}
    host = {"NetworkMode": "none", "HealthOnFailure": "kill"}
    with pytest.raises(InvalidArgument, match="the container has no health check"):
        engine.containers.create(config, host)
    config["Healthcheck"] = {"Test": ["CMD", "true"]}
    with pytest.raises(InvalidArgument, match="unknown action 'explode'; use one of"):
        engine.containers.create(config, {**host, "HealthOnFailure": "explode"})
    made = engine.containers.create(config, {**host, "HealthOnFailure": "none"})
    assert "HealthOnFailure" not in engine.containers.inspect(made["Id"])["HostConfig"]
