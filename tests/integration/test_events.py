"""Events of real containers: names, attributes, order, once each, whoever caused them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from tests.fixtures.engine import Jubako

pytestmark = pytest.mark.root
OFF = ("--network", "none")


def _told(jubako: Jubako, *words: str) -> list[dict[str, Any]]:
    text = jubako.ok("events", "--since", "1h", "--until", "0s", "--format", "json", *words)
    return [json.loads(line) for line in text.splitlines()]


def _names(messages: list[dict[str, Any]]) -> list[str]:
    return [f"{message['Type']} {message['Action']}" for message in messages]


def test_a_run_in_the_foreground(jubako: Jubako, busybox: str) -> None:
    assert jubako("run", "--rm", "--name", "one", "-l", "a=b", *OFF, busybox, "false").status == 1
    found = _told(jubako)[2:]  # after the image's
    assert _names(found) == [
        "container create",
        "container attach",
        "network connect",
        "container start",
        "network disconnect",
        "container die",
        "container destroy",
    ]
    attributes = {"a": "b", "image": "busybox:latest", "name": "one"}
    assert found[0]["Actor"]["Attributes"] == attributes
    assert found[0]["from"] == "busybox:latest" and found[0]["id"] == found[0]["Actor"]["ID"]
    assert found[5]["Actor"]["Attributes"] == {**attributes, "exitCode": "1", "execDuration": "0"}
    assert found[2]["Actor"]["Attributes"] == {
        "container": found[0]["id"],
        "name": "none",
        "type": "null",
    }


def test_the_bridge_connects_before_the_start(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "--rm", busybox, "true")
    found = _told(jubako, "-f", "type=network")
    assert _names(found) == ["network connect", "network disconnect"]
    assert found[0]["Actor"]["Attributes"]["type"] == "bridge"
    assert found[0]["Actor"]["ID"] == jubako.ok("network", "inspect", "-f", "{{.Id}}", "bridge")


def test_what_commands_do(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    for words in (
        ("pause", "one"),
        ("unpause", "one"),
        ("rename", "one", "two"),
        ("top", "two"),
        ("restart", "-t", "0", "two"),
        ("stop", "-t", "0", "two"),
        ("start", "two"),
        ("kill", "two"),
        ("commit", "two", "made:1"),
        ("rm", "two"),
    ):
        jubako.ok(*words)
    found = _told(jubako, "-f", "type=container")
    ended = ["kill", "kill", "die", "stop"]
    assert [message["Action"] for message in found] == [
        *("create", "start", "pause", "unpause", "rename", "top"),
        *(*ended, "start", "restart"),
        *(*ended, "start"),
        *("kill", "die", "commit", "destroy"),
    ]
    by_action = {message["Action"]: message["Actor"]["Attributes"] for message in found}
    assert by_action["rename"]["oldName"] == "/one" and by_action["rename"]["name"] == "two"
    assert by_action["commit"]["imageRef"] == "made:1"
    assert by_action["commit"]["imageID"] == jubako.ok("inspect", "-f", "{{.Id}}", "made:1")
    signals = [message["Actor"]["Attributes"].get("signal") for message in found]
    assert [number for number in signals if number] == ["15", "9", "15", "9", "9"]


def test_a_start_that_fails_is_no_start(jubako: Jubako, busybox: str) -> None:
    assert jubako("run", "--rm", *OFF, busybox, "nonexistent").status == 127
    found = _told(jubako, "-f", "type=container")
    assert [message["Action"] for message in found] == ["create", "attach", "destroy"]


def test_images(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    identity = jubako.ok("inspect", "-f", "{{.Id}}", busybox)
    jubako.ok("tag", busybox, "other/x:2")
    jubako.ok("save", "-o", str(tmp_path / "saved.tar"), busybox)
    jubako.ok("rmi", "other/x:2")
    jubako.ok("rmi", busybox)
    jubako.ok("load", "-i", str(tmp_path / "saved.tar"))
    jubako.ok("image", "prune", "-f")
    found = _told(jubako)
    assert _names(found) == [
        *("image tag", "image import"),
        *("image tag", "image save", "image untag", "image untag", "image delete"),
        *("image load", "image prune"),
    ]
    named = [message["Actor"]["Attributes"].get("name") for message in found[:-1]]
    assert named == ["busybox:latest", identity, "other/x:2", *[identity] * 5]
    assert found[-1]["Actor"] == {"ID": "", "Attributes": {"reclaimed": "0"}}


@pytest.fixture
def followed(jubako: Jubako, busybox: str) -> Iterator[subprocess.Popen[str]]:
    """`events` that follows, once it does: the first event is read."""
    following = jubako.start("events", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
    assert following.stdout is not None
    # whoever follows has opened the directory; an event that comes before that is not told
    while not _watches(following.pid):
        assert following.poll() is None
    yield following
    following.kill()


def _watches(pid: int) -> bool:
    try:
        fds = list(Path(f"/proc/{pid}/fd").iterdir())
        return any("inotify" in str(fd.readlink()) for fd in fds)
    except OSError:
        return False


def test_following_tells_each_event_once_and_ends_with_ctrl_c(
    followed: subprocess.Popen[str], jubako: Jubako, busybox: str
) -> None:
    started = [
        jubako.start("run", "--rm", "--name", f"n{number}", *OFF, busybox, "true")
        for number in range(3)
    ]
    assert [one.wait(30) for one in started] == [0, 0, 0]
    assert followed.stdout is not None
    lines = [followed.stdout.readline().strip() for _ in range(3 * 7)]
    for number in range(3):
        own = [line.split()[0] for line in lines if line.endswith(f" n{number}")]
        assert own == ["create", "attach", "start", "die", "destroy"]
    assert lines.count("connect none") == lines.count("disconnect none") == 3
    followed.send_signal(signal.SIGINT)
    assert followed.wait(10) == 130
    assert followed.stdout.read() == ""


def test_the_default_line_and_wrong_words(jubako: Jubako, busybox: str) -> None:
    line = jubako.ok("events", "--since", "1h", "--until", "0s", "-f", "event=tag")
    identity = jubako.ok("inspect", "-f", "{{.Id}}", busybox)
    moment, rest = line.split(" ", 1)
    assert rest == f"image tag {identity} (name=busybox:latest)"
    assert len(moment) >= len("2024-05-06T07:08:09.123456789Z")
    for words, status, text in (
        (("--format", "{{"), 64, "Error parsing format: template: :1: unclosed action"),
        (("--since", "foo"), 1, 'failed to parse value as time or duration: "foo"'),
        (("--since", "1s", "--until", "1h"), 1, "`since` time ("),
        (("-f", "x"), 125, "bad format of filter (expected name=value)"),
    ):
        found = jubako("events", *words)
        assert (found.status, text in found.stderr) == (status, True), found
    found = jubako("events", "--since", "1h", "--until", "0s", "--format", "{{.Foo}}")
    assert found.status == 64
    assert "can't evaluate field Foo in type *events.Message" in found.stderr


def test_the_library(engine: Engine, busybox: str) -> None:
    following = engine.system.events(filters={"container": ["one"]})
    engine.containers.run(busybox, ["true"], name="one", host_config={"NetworkMode": "none"})
    actions = [next(following)["Action"] for _ in range(5)]
    assert actions == ["create", "attach", "start", "die", "destroy"]
    past = engine.system.events(follow=False, filters={"event": ["die"]})
    assert [message["Actor"]["Attributes"]["name"] for message in past] == ["one"]


def test_a_monitor_that_died_is_told_by_the_next_command(jubako: Jubako, busybox: str) -> None:
    import os

    jubako.ok("run", "-d", "--name", "one", *OFF, busybox, "sleep", "1000")
    pid = jubako.ok("inspect", "-f", "{{.State.Pid}}", "one")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(fields[1]), signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        pass
    assert jubako.ok("ps", "-q") == ""
    (found,) = _told(jubako, "-f", "event=die")
    assert found["Actor"]["Attributes"]["exitCode"] == "137"


def test_a_terminal(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal("run", "-it", "--name", "one", *OFF, busybox, "sh")
    terminal.expect("# ")
    terminal.resize(30, 100)
    while len(_told(jubako, "-f", "event=resize")) < 2:
        assert terminal.process.poll() is None
    terminal.send("\x10\x11")
    assert terminal.wait() == 0
    found = _told(jubako, "-f", "event=resize", "-f", "event=detach")
    assert [message["Action"] for message in found] == ["resize", "resize", "detach"]
    sizes = [message["Actor"]["Attributes"].get("height") for message in found]
    assert sizes == ["24", "30", None]
    assert found[1]["Actor"]["Attributes"]["width"] == "100"
