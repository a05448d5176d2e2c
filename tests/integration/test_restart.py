"""Restart policies: containers that come back, and users who do not want that."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import Conflict, InvalidArgument, WrongState
from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import Traces, wait_for

FAILS = ("sh", "-c", "echo once; exit 3")

pytestmark = pytest.mark.usefixtures("busybox")


def run(jubako: Jubako, *words: str, name: str = "box", policy: str = "always") -> None:
    """`run -d`; words: options, image, command."""
    jubako.ok("run", "-d", "--network", "none", "--name", name, "--restart", policy, *words)


def shown(jubako: Jubako, template: str, name: str = "box") -> str:
    return jubako.ok("inspect", "-f", template, name)


def state(jubako: Jubako, name: str = "box") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(jubako, "{{json .State}}", name))
    return found


def count(jubako: Jubako, name: str = "box") -> int:
    return int(shown(jubako, "{{.RestartCount}}", name))


def is_in(jubako: Jubako, status: str, name: str = "box") -> Callable[[], bool]:
    return lambda: state(jubako, name)["Status"] == status


def loop(jubako: Jubako, restarts: int = 3) -> None:
    """A container that fails at once, in the middle of a wait of most of a second."""
    run(jubako, "busybox", *FAILS)
    wait_for(lambda: count(jubako) > restarts and state(jubako)["Restarting"], 20)


def init_pid(jubako: Jubako, name: str = "box") -> int:
    return int(shown(jubako, "{{.State.Pid}}", name))


def parent(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


# the policies


def test_a_container_comes_back_in_the_same_monitor(jubako: Jubako, traces: Traces) -> None:
    run(jubako, "busybox", "sh", "-c", "echo $$; exec sleep 100")
    first = init_pid(jubako)
    monitor = parent(first)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: count(jubako) == 1 and state(jubako)["Status"] == "running")
    assert init_pid(jubako) != first and parent(init_pid(jubako)) == monitor
    assert jubako.ok("exec", "box", "echo", "alive") == "alive"
    assert len(jubako.ok("logs", "box").splitlines()) == 2
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_with_ports_and_volumes_everything_is_made_anew(jubako: Jubako, traces: Traces) -> None:
    options = ["-p", "127.0.0.1:8080:80", "-v", "data:/data", "--restart", "always"]
    jubako.ok("run", "-d", "--name", "box", *options, "busybox", "sh", "-c",
              "echo x >>/data/starts; exec httpd -f -p 80 -h /data")  # fmt: skip
    os.kill(init_pid(jubako), signal.SIGKILL)
    wait_for(lambda: count(jubako) == 1 and state(jubako)["Status"] == "running")
    wait_for(lambda: _get(8080) == b"x\nx\n")
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


def _get(port: int) -> bytes:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/starts", timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError):
        return b""


def test_on_failure_counts(jubako: Jubako) -> None:
    run(jubako, "busybox", *FAILS, policy="on-failure:2")
    wait_for(is_in(jubako, "exited"))
    assert (count(jubako), state(jubako)["ExitCode"]) == (2, 3)
    assert jubako.ok("logs", "box").splitlines() == ["once"] * 3
    jubako.ok("start", "box")  # counts anew
    wait_for(lambda: is_in(jubako, "exited")() and count(jubako) == 2)
    assert len(jubako.ok("logs", "box").splitlines()) == 6


def test_on_failure_is_content_with_success(jubako: Jubako) -> None:
    run(jubako, "busybox", "sh", "-c", "test -e /second || { touch /second; exit 1; }",
        policy="on-failure")  # fmt: skip
    wait_for(is_in(jubako, "exited"))
    assert (count(jubako), state(jubako)["ExitCode"]) == (1, 0)


def test_the_back_off_doubles(jubako: Jubako) -> None:
    loop(jubako)
    events = jubako.ok("events", "--since", "0", "--until", f"{time.time():.9f}", "--filter",
                       "container=box", "--format", "{{.Action}} {{.TimeNano}}")  # fmt: skip
    times = [line.split() for line in events.splitlines()]
    died = [int(at) for action, at in times if action == "die"]
    began = [int(at) for action, at in times if action == "start"]
    waits = [start - die for die, start in zip(died, began[1:], strict=False)]
    for wait_ns, least_s in zip(waits, (0.1, 0.2, 0.4), strict=False):
        assert wait_ns > least_s * 1e9


def test_the_foreground_ends_with_the_first_run(jubako: Jubako) -> None:
    result = jubako("run", "--network", "none", "--name", "box", "--restart", "always", "busybox",
                    *FAILS)  # fmt: skip
    assert (result.status, result.stdout) == (3, "once\n")
    wait_for(lambda: count(jubako) >= 1)


def test_a_program_that_is_not_there_is_not_tried_again(jubako: Jubako, traces: Traces) -> None:
    result = jubako("run", "-d", "--network", "none", "--name", "box", "--restart", "always",
                    "busybox", "nosuch")  # fmt: skip
    assert result.status == 127
    assert (state(jubako)["Status"], count(jubako)) == ("created", 0)
    jubako.ok("rm", "box")
    run(jubako, "-v", "/x", "busybox", "sh", "-c", "cp /bin/busybox /x/sh; exec sleep 100")
    jubako.ok("rm", "-fv", "box")
    traces.assert_none()


def test_a_restart_that_fails_leaves_the_exit_code(jubako: Jubako, traces: Traces) -> None:
    run(jubako, "--entrypoint", "/bin/tail", "busybox", "-f", "/dev/null")
    jubako.ok("exec", "box", "rm", "/bin/tail")
    os.kill(init_pid(jubako), signal.SIGKILL)
    wait_for(is_in(jubako, "exited"))
    found = state(jubako)
    assert (found["ExitCode"], count(jubako)) == (137, 1)
    assert "/bin/tail" in found["Error"]
    traces.assert_none()


# while it waits


def test_what_a_restarting_container_looks_like(jubako: Jubako) -> None:
    loop(jubako)
    found = state(jubako)
    assert (found["Status"], found["Running"], found["Restarting"]) == ("restarting", True, True)
    assert (found["Pid"], found["ExitCode"]) == (0, 3)
    assert jubako.ok("ps", "--format", "{{.Status}} {{.State}}").startswith("Restarting (3) ")
    assert jubako.ok("ps", "-q", "--filter", "status=restarting") != ""


REFUSED = {
    "exec box true": " is restarting, wait until the container is running",
    "pause box": " is restarting, wait until the container is running",
    "top box": " is restarting, wait until the container is running",
    "unpause box": " is not paused",
    "attach box": "You cannot attach to a restarting container, wait until it is running",
    "start -a box": "You cannot attach to a restarting container, wait until it is running",
    "rm box": 'cannot remove container "/box": container is restarting: stop the container',
}


def test_what_a_restarting_container_refuses(jubako: Jubako) -> None:
    loop(jubako, restarts=4)  # it waits for more than a second
    for line, message in REFUSED.items():
        wait_for(lambda: state(jubako)["Restarting"])
        result = jubako(*line.split())
        assert result.status == 1 and message in result.stderr


@pytest.mark.parametrize("words", [["stop"], ["kill"], ["kill", "-s", "HUP"], ["rm", "-f"]])
def test_the_wait_can_be_ended(jubako: Jubako, traces: Traces, words: list[str]) -> None:
    loop(jubako)
    jubako.ok(*words, "box")
    if words[0] != "rm":
        found = state(jubako)
        assert (found["Status"], found["ExitCode"], found["Running"]) == ("exited", 3, False)
        assert count(jubako) > 3
    traces.assert_none()


def test_start_and_rename_of_a_restarting_container(jubako: Jubako) -> None:
    loop(jubako)
    assert jubako.ok("start", "box") == "box"  # there is nothing to do
    jubako.ok("rename", "box", "other")
    before = count(jubako, "other")
    assert jubako.ok("wait", "other") == "3"
    assert count(jubako, "other") > before or state(jubako, "other")["Status"] != "restarting"


def test_restart_of_a_restarting_container_begins_anew(jubako: Jubako) -> None:
    loop(jubako)
    jubako.ok("restart", "-t", "1", "-s", "INT", "box")
    assert count(jubako) <= 2


def test_logs_follow_until_the_first_end(jubako: Jubako) -> None:
    run(jubako, "busybox", "sh", "-c", "echo once; sleep 0.5; exit 3")
    assert jubako.ok("logs", "-f", "box") == "once"


def test_wait_for_several(jubako: Jubako) -> None:
    run(jubako, "busybox", "sh", "-c", "sleep 0.3; exit 4", policy="no", name="one")
    run(jubako, "busybox", "sh", "-c", "sleep 0.6; exit 5", policy="on-failure:1", name="two")
    assert jubako.ok("wait", "one", "two") == "4\n5"
    missing = jubako("wait", "one", "nosuch")
    assert (missing.status, missing.stdout) == (1, "4\n")
    assert "No such container: nosuch" in missing.stderr


# a user stops it


@pytest.mark.parametrize("words", [["stop", "-t", "0"], ["kill"]])
def test_a_stop_rests_the_policy_until_the_next_start(jubako: Jubako, words: list[str]) -> None:
    run(jubako, "busybox", "sleep", "100")
    jubako.ok(*words, "box")
    found = state(jubako)
    assert (found["Status"], count(jubako)) == ("exited", 0)
    jubako.ok("start", "box")
    os.kill(init_pid(jubako), signal.SIGKILL)
    wait_for(lambda: count(jubako) == 1)


TRAPS = ("sh", "-c", "trap 'exit 9' TERM; trap : HUP; while :; do sleep 0.05; done")


def test_any_signal_rests_the_policy_as_with_docker(jubako: Jubako) -> None:
    run(jubako, "busybox", *TRAPS)
    jubako.ok("kill", "-s", "HUP", "box")
    os.kill(init_pid(jubako), signal.SIGTERM)
    wait_for(is_in(jubako, "exited"))
    assert (state(jubako)["ExitCode"], count(jubako)) == (9, 0)


def test_but_not_when_the_container_has_a_stop_signal(jubako: Jubako) -> None:
    run(jubako, "--stop-signal", "INT", "busybox", *TRAPS)
    jubako.ok("kill", "-s", "HUP", "box")
    os.kill(init_pid(jubako), signal.SIGTERM)
    wait_for(lambda: count(jubako) == 1)


def test_many_stops_and_ends_at_once(jubako: Jubako, traces: Traces) -> None:
    """Whatever the end and the stop do to each other, stopped is stopped."""
    for round_ in range(6):
        run(jubako, "busybox", "sh", "-c", f"sleep 0.{round_}5; exit 1", name=f"box{round_}")
    time.sleep(0.3)
    jubako.ok("stop", "-t", "1", *(f"box{round_}" for round_ in range(6)))
    assert jubako.ok("ps", "-q") == ""
    traces.assert_none()


def test_a_container_with_rm_survives_restart(jubako: Jubako, traces: Traces) -> None:
    jubako.ok("run", "-d", "--rm", "--network", "none", "--name", "box", "busybox", "sleep", "100")
    first = init_pid(jubako)
    jubako.ok("restart", "-t", "0", "box")
    assert init_pid(jubako) != first
    jubako.ok("kill", "box")
    wait_for(lambda: jubako.ok("ps", "-aq") == "")
    traces.assert_none()


# what is refused


def test_errors_in_dockers_words(jubako: Jubako, engine: Engine) -> None:
    result = jubako("run", "--rm", "--restart", "always", "busybox", "true")
    assert result.status == 125
    assert "conflicting options: cannot specify both --restart and --rm" in result.stderr
    config = {"Image": "busybox", "Cmd": ["true"]}
    with pytest.raises(InvalidArgument, match="can't create 'AutoRemove' container with restart"):
        engine.containers.create(
            config, {"AutoRemove": True, "RestartPolicy": {"Name": "always"}, "NetworkMode": "none"}
        )


def test_from_python(engine: Engine) -> None:
    policy = {"Name": "on-failure", "MaximumRetryCount": 20}
    host = {"NetworkMode": "none", "RestartPolicy": policy}
    box = engine.containers.run_detached("busybox", ["false"], host_config=host)
    wait_for(lambda: engine.containers.inspect(box)["RestartCount"] >= 3)
    wait_for(lambda: engine.containers.inspect(box)["State"]["Restarting"])
    with pytest.raises(WrongState, match="restarting"):
        engine.containers.pause(box)
    with pytest.raises(Conflict, match="container is restarting"):
        engine.containers.remove(box)
    engine.containers.stop(box)
    assert engine.containers.wait(box) == 1


# after a boot


def _reboot(jubako: Jubako, root: Path) -> None:
    """What a boot does: no process is left, and the rows name another boot."""
    names = jubako.ok("ps", "--format", "{{.Names}}").splitlines()
    inits = [init_pid(jubako, name) for name in names]
    for pid in inits:
        os.kill(parent(pid), signal.SIGKILL)
    with closing(sqlite3.connect(root / "state.db")) as db, db:
        db.execute("UPDATE containers SET boot_id = 'another' WHERE boot_id != ''")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in inits))


def test_system_start_after_a_boot(jubako: Jubako, root_dir: Path, traces: Traces) -> None:
    stopped: dict[str, str] = {}
    for policy in ("no", "on-failure", "always", "unless-stopped"):
        for how in ("running", "stopped", "never"):
            name = f"{policy}-{how}"
            stopped[name] = how
            words = ["--network", "none", "--name", name, "--restart", policy, "busybox"]
            jubako.ok("create", *words, "sleep", "100")
            if how != "never":
                jubako.ok("start", name)
            if how == "stopped":
                jubako.ok("stop", "-t", "0", name)
    _reboot(jubako, root_dir)
    assert jubako.ok("ps", "-q") == ""  # no command but this one starts anything
    started = jubako.ok("system", "start").splitlines()
    assert started == ["always-running", "always-stopped", "unless-stopped-running"]
    assert sorted(jubako.ok("ps", "--format", "{{.Names}}").splitlines()) == sorted(started)
    assert jubako.ok("system", "start") == ""
    jubako.ok("rm", "-f", *stopped)
    traces.assert_none()


def test_system_start_goes_on_after_a_failure(jubako: Jubako, root_dir: Path) -> None:
    for name in ("one", "two"):
        run(jubako, "--entrypoint", "/bin/tail", "busybox", "-f", "/dev/null", name=name)
    jubako.ok("exec", "one", "rm", "/bin/tail")
    _reboot(jubako, root_dir)
    result = jubako("system", "start")
    assert (result.status, result.stdout) == (1, "two\n")
    assert "/bin/tail" in result.stderr


def test_system_stop_before_a_shutdown(jubako: Jubako, traces: Traces) -> None:
    for policy in ("no", "unless-stopped"):
        run(jubako, "busybox", *TRAPS, name=policy, policy=policy)
    run(jubako, "busybox", "false", name="loop")
    wait_for(lambda: count(jubako, "loop") > 1)
    jubako.ok("system", "stop", "-t", "5")
    assert jubako.ok("ps", "-q") == ""
    traces.assert_none()
    assert sorted(jubako.ok("system", "start").splitlines()) == ["loop", "unless-stopped"]


def test_no_clock_matters(jubako: Jubako, root_dir: Path) -> None:
    """Times of the row that lie in the future, as after setting the clock back, decide nothing."""
    run(jubako, "--health-cmd", "true", "--health-interval", "100ms", "busybox", "sleep", "100")
    with closing(sqlite3.connect(root_dir / "state.db")) as db, db:
        db.execute("UPDATE containers SET started = '2999-01-01T00:00:00.000000000Z'")
    wait_for(lambda: state(jubako)["Health"]["Status"] == "healthy")
    os.kill(init_pid(jubako), signal.SIGKILL)
    wait_for(lambda: count(jubako) == 1 and state(jubako)["Status"] == "running")
    assert jubako.ok("ps", "--format", "{{.Status}}").startswith("Up ")
    events = jubako.ok("events", "--since", "0", "--until", f"{time.time():.9f}", "--filter",
                       "event=die", "--format", "{{.Actor.Attributes.execDuration}}")  # fmt: skip
    assert int(events.splitlines()[0]) < 60


def test_the_store_is_not_needed_to_wait(jubako: Jubako, root_dir: Path) -> None:
    """A monitor in its back-off is small: no database, no runtime."""
    loop(jubako, restarts=4)
    words = (b"import restarting", os.fsencode(root_dir))
    waiting = [pid for pid in _monitors() if all(word in _cmdline(pid) for word in words)]
    assert len(waiting) == 1
    maps = Path(f"/proc/{waiting[0]}/maps").read_text()
    assert "_sqlite3" not in maps
    jubako.ok("stop", "box")


def _monitors() -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and Path(f"/proc/{entry}/comm").read_text() == "jubako-monitor\n":
                found.append(int(entry))
        except OSError:
            continue
    return found


def _cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
