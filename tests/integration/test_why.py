"""`why` and the flight recorder, on real containers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.engine import Jubako

pytestmark = pytest.mark.root
OFF = ("--network", "none")


def _why(jubako: Jubako, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(jubako.ok("why", "--format", "json", name))
    return answer


def _findings(jubako: Jubako, name: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in _why(jubako, name)["Findings"] if one["Kind"] == kind]


def test_a_container_that_runs(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    (state,) = _findings(jubako, "one", "state")
    assert state["Level"] == "ok" and state["Facts"]["Status"] == "running"
    assert "+ It is running since " in jubako.ok("why", "one")
    jubako.ok("pause", "one")
    (state,) = _findings(jubako, "one", "state")
    assert state["Level"] == "problem" and state["Facts"]["By"]["command"] == "jubako pause"
    jubako.ok("unpause", "one")


def test_after_its_removal(jubako: Jubako, busybox: str) -> None:
    assert jubako("run", "--rm", "--name", "one", *OFF, busybox, "sh", "-c", "exit 3").status == 3
    answer = _why(jubako, "one")
    assert answer["Removed"] and answer["Image"] == "busybox:latest"
    (end,) = _findings(jubako, "one", "end")
    assert (end["Facts"]["ExitCode"], end["Facts"]["Cause"]) == (3, "exited")
    assert jubako.ok("why", answer["Id"][:12]).startswith(f"one ({answer['Id'][:12]}, image ")
    found = jubako("why", "two")
    assert found.status == 1 and "No such container: two" in found.stderr


def test_the_oom_killer_with_its_numbers(jubako: Jubako, busybox: str) -> None:
    hungry = "a=x; while true; do a=$a$a; done"
    jubako("run", "--name", "one", "-m", "16m", *OFF, busybox, "sh", "-c", hungry)
    (end,) = _findings(jubako, "one", "end")
    assert end["Facts"]["Cause"] == "oom"
    (oom,) = _findings(jubako, "one", "oom")
    assert oom["Facts"]["LimitBytes"] == 16 << 20 and oom["Facts"]["Kills"] == 1
    assert oom["Facts"]["PeakBytes"] > 15 << 20


def test_a_program_that_does_not_follow(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    jubako.ok("stop", "-t", "0", "one")
    (end,) = _findings(jubako, "one", "end")
    assert end["Facts"]["Cause"] == "stopped"
    assert "`jubako stop`, run by root, sent SIGTERM" in end["Text"]


def test_a_start_that_failed(jubako: Jubako, busybox: str) -> None:
    jubako("run", "--rm", "--name", "one", *OFF, busybox, "nonexistent")
    (start,) = _findings(jubako, "one", "start")
    assert '"nonexistent": executable file not found' in start["Facts"]["Error"]
    assert start["Facts"]["ExitCode"] == 127


def test_health(jubako: Jubako, busybox: str) -> None:
    check = ("--health-cmd", "echo bad; exit 1", "--health-interval", "50ms")
    jubako.ok("run", "-d", "--name", "one", *check, *OFF, busybox, "sleep", "1000")
    following = jubako.start("events", "--since", "1h", "-f", "event=health_status: unhealthy")
    assert following.stdout is not None and following.stdout.readline()
    following.kill()
    (health,) = _findings(jubako, "one", "health")
    assert health["Level"] == "problem" and health["Facts"]["Output"] == "bad"
    assert "It is unhealthy since " in health["Text"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of the host on which a process of the test listens."""
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _await_listening(jubako: Jubako, name: str) -> None:
    command = ("exec", name, "sh", "-c", "cat /proc/net/tcp | grep -q ' 0A '")
    while jubako(*command).status != 0:
        pass


def test_why_a_port_does_not_answer(jubako: Jubako, busybox: str, taken_port: int) -> None:
    server = "httpd -p 127.0.0.1:81 && httpd -p 82 && httpd -p 83 && sleep 1000"
    ports = ("-p", "80", "-p", "81", "-p", "82", "-p", "127.0.0.1::83")
    jubako.ok("run", "-d", "--name", "one", *ports, busybox, "sh", "-c", server)
    _await_listening(jubako, "one")
    while len(_findings(jubako, "one", "network")) < 5:
        pass
    found = {one["Facts"].get("Port"): one for one in _findings(jubako, "one", "network")}
    assert "nothing listens on it" in found["80/tcp"]["Text"]
    while found["83/tcp"]["Level"] == "problem":  # the last server is not there yet
        found = {one["Facts"].get("Port"): one for one in _findings(jubako, "one", "network")}
    assert found["80/tcp"]["Facts"]["Others"] == [81, 82, 83]
    assert "listens on 127.0.0.1 only" in found["81/tcp"]["Text"]
    assert found["82/tcp"]["Level"] == "ok"
    assert "from this machine only" in found["83/tcp"]["Text"]
    assert "on the default bridge" in found[None]["Text"]
    jubako("run", "--name", "two", "-p", f"{taken_port}:80", busybox, "true")
    (network,) = _findings(jubako, "two", "network")
    assert f"is taken by the process {_own_pid()} (" in network["Text"]


def _own_pid() -> int:
    import os

    return os.getpid()


def test_samples_are_taken_and_kept(jubako: Jubako, busybox: str) -> None:
    (jubako.root / "config.json").write_text('{"record-interval": "1s"}')
    jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    identity = jubako.ok("inspect", "-f", "{{.Id}}", "one")
    file = jubako.root / "containers" / identity / "samples"
    while not file.exists() or len(file.read_text().splitlines()) < 2:  # the second by a small one
        pass
    (resources,) = _findings(jubako, "one", "resources")
    assert resources["Facts"]["Sample"]["pids"] == 1
    jubako.ok("rm", "-f", "one")
    assert _samples(jubako, identity) >= 3


def test_nothing_is_sampled_when_nothing_shall_be(jubako: Jubako, busybox: str) -> None:
    (jubako.root / "config.json").write_text('{"record-interval": "0"}')
    jubako.ok("run", "--name", "one", *OFF, busybox, "true")
    assert _samples(jubako, jubako.ok("inspect", "-f", "{{.Id}}", "one")) == 0


def _samples(jubako: Jubako, identity: str) -> int:
    import sqlite3

    database = sqlite3.connect(f"file:{jubako.root}/state.db?mode=ro", uri=True)
    try:
        query = "SELECT count(*) FROM samples WHERE container_id = ?"
        return int(database.execute(query, (identity,)).fetchone()[0])
    finally:
        database.close()


def test_the_oom_killer_in_a_container_that_goes_on(jubako: Jubako, busybox: str) -> None:
    """It is told at once, long before the next sample is due, and once."""
    child = "sh -c 'a=x; while true; do a=$a$a; done'; sleep 1000"
    jubako.ok("run", "-d", "--name", "one", "-m", "16m", *OFF, busybox, "sh", "-c", child)
    following = jubako.start("events", "--since", "1h", "-f", "event=oom")
    assert following.stdout is not None and "container oom" in following.stdout.readline()
    following.kill()
    jubako.ok("rm", "-f", "one")
    told = jubako.ok("events", "--since", "1h", "--until", "0s", "-f", "event=oom")
    assert len(told.splitlines()) == 1
