"""What is told of a container's history, without a container."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import NotFound
from jubako.store import events
from jubako.system.why import words

ID = "c0ffee" + "0" * 58
NAME = "web"


class Story:
    """Events and samples of a container that is not there any more."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def tell(
        self, action: str, *, notes: Mapping[str, object] | None = None, **attributes: str
    ) -> None:
        content = {"name": NAME, "image": "bb", **attributes}
        events.emit(self._engine.store, "container", action, ID, content, notes=notes)

    def sample(self, **values: int) -> None:
        at_ns = time.time_ns()
        record = json.dumps({"at": at_ns, **values})
        with self._engine.store.transaction() as db:
            db.execute("INSERT INTO samples VALUES (?, ?, ?)", (ID, at_ns, record))

    def why(self, reference: str = NAME) -> dict[str, Any]:
        return self._engine.system.why(reference)

    def end(self, kind: str = "end") -> dict[str, Any]:
        """The finding about the end; each kind comes at most once here."""
        (found,) = (one for one in self.why()["Findings"] if one["Kind"] == kind)
        finding: dict[str, Any] = found
        return finding


@pytest.fixture
def story(tmp_path: Path) -> Story:
    told = Story(Engine(str(tmp_path)))
    told.tell("create")
    told.tell("start")
    return told


def _finish(story: Story, code: int, **notes: object) -> None:
    story.tell("die", exitCode=str(code), execDuration="0", notes=notes)
    story.tell("destroy", notes={"by": {"uid": 0, "command": "jubako rm"}})


BY = {"by": {"uid": 0, "command": "jubako stop"}}


@pytest.mark.parametrize(
    ("code", "level", "cause", "text"),
    [
        (0, "ok", "exited", "it ended by itself and reports success"),
        (1, "problem", "exited", "it ended by itself (a general error); `jubako logs web`"),
        (127, "problem", "exited", "the program was not found"),
        (42, "problem", "exited", "it ended by itself; `jubako logs web`"),
        (139, "problem", "signal", "SIGSEGV (a segmentation fault"),
        (137, "problem", "signal", "No command of Jubako sent it"),
        (166, "problem", "signal", "signal 38"),
    ],
)
def test_ends_of_its_own(story: Story, code: int, level: str, cause: str, text: str) -> None:
    _finish(story, code)
    found = story.end()
    assert (found["Level"], found["Facts"]["Cause"], found["Facts"]["ExitCode"]) == (
        level,
        cause,
        code,
    )
    assert text in found["Text"]


def test_stopped_by_a_command(story: Story) -> None:
    story.tell("kill", signal="15", notes=BY)
    _finish(story, 143)
    found = story.end()
    assert found["Facts"]["Cause"] == "killed" and found["Facts"]["Signal"] == "SIGTERM"
    assert "`jubako stop`, run by root, sent SIGTERM." in found["Text"]


def test_stopped_in_its_own_way(story: Story) -> None:
    story.tell("kill", signal="15", notes=BY)
    _finish(story, 0)
    assert story.end()["Facts"]["Cause"] == "stopped"
    assert "the program ended in its own way" in story.end()["Text"]


def test_killed_because_it_did_not_follow(story: Story) -> None:
    story.tell("kill", signal="15", notes=BY)
    story.tell("kill", signal="9", notes=BY)
    _finish(story, 137)
    found = story.end()
    assert found["Facts"]["Cause"] == "stopped" and found["Facts"]["By"] == BY["by"]
    assert "sent SIGTERM, which the program did not follow" in found["Text"]


def test_a_signal_that_did_not_end_it_is_not_the_reason(story: Story) -> None:
    story.tell("kill", signal="10", notes=BY)
    _finish(story, 3)
    assert story.end()["Facts"]["Cause"] == "exited"


def test_out_of_memory_with_its_numbers(story: Story) -> None:
    story.sample(memory=100, peak=16 << 20, limit=16 << 20, oom_kills=2)
    story.tell("oom")
    _finish(story, 137)
    assert story.end()["Facts"]["Cause"] == "oom"
    oom = story.end("oom")
    assert oom["Facts"] == {"LimitBytes": 16 << 20, "PeakBytes": 16 << 20, "Kills": 2}
    assert "limit is 16.0 MiB, it used 16.0 MiB at most, 2 processes were killed" in oom["Text"]


def test_out_of_memory_that_it_survived(story: Story) -> None:
    story.tell("oom")
    _finish(story, 0)
    assert story.end()["Facts"]["Cause"] == "exited"
    assert "Its first process survived it" in story.end("oom")["Text"]


@pytest.mark.parametrize(("reboot", "cause"), [(True, "reboot"), (False, "monitor-died")])
def test_nobody_saw_the_end(story: Story, reboot: bool, cause: str) -> None:
    _finish(story, 137, monitor_died=True, reboot=reboot)
    assert story.end()["Facts"]["Cause"] == cause


def test_a_start_that_failed(tmp_path: Path) -> None:
    told = Story(Engine(str(tmp_path)))
    told.tell("create")
    store = told._engine.store
    events.note(store, "start-failed", ID, {"name": NAME, "error": "no such file", "exitCode": "1"})
    told.tell("destroy")
    found = told.end("start")
    assert found["Facts"] == {"Error": "no such file", "ExitCode": 1}
    assert told.end("state")["Text"].endswith("at its end, as `--rm` asks for.")


def test_what_no_log_has(story: Story) -> None:
    _finish(story, 0)
    lost = {"name": NAME, "records": "12", "driver": "syslog"}
    events.note(story._engine.store, "log-lost", ID, lost)
    assert story.end("log")["Facts"] == {"Records": 12, "Driver": "syslog"}


def test_a_crash_loop(story: Story) -> None:
    for _ in range(4):
        story.tell("die", exitCode="1", execDuration="0", notes={"restart_s": 0.8})
        story.tell("start")
    story.tell("die", exitCode="1", execDuration="0")
    story.tell("destroy")
    assert story.end("restart")["Facts"] == {"Runs": 4, "DelaySeconds": None}


def test_unhealthy_with_its_output(story: Story) -> None:
    story.tell("health_status: unhealthy", notes={"output": "bad\nworse\n"})
    _finish(story, 1)
    found = story.end("health")
    assert found["Facts"]["Output"] == "bad\nworse" and "said: bad / worse" in found["Text"]


def test_who_is_meant(story: Story, tmp_path: Path) -> None:
    _finish(story, 0)
    answer = story.why()
    assert (answer["Id"], answer["Removed"], answer["Status"]) == (ID, True, "removed")
    assert story.why(ID)["Id"] == story.why(ID[:6])["Id"] == ID
    with pytest.raises(NotFound, match="No such container: we"):
        story.why("we")
    events.emit(story._engine.store, "container", "destroy", "d" * 64, {"name": NAME})
    answer = story.why()
    assert (answer["Id"], answer["EarlierOfThisName"]) == ("d" * 64, 1)


def test_the_timeline_leaves_chatter_out(story: Story) -> None:
    story.tell("exec_start: ls")
    story.tell("top")
    story.tell("kill", signal="15", notes=BY)
    _finish(story, 143)
    told = story.why()["Timeline"]
    assert [line["Action"] for line in told] == ["create", "start", "kill", "die", "destroy"]
    assert told[2]["By"] == "`jubako stop`, run by root"
    assert told[3]["Attributes"] == {"exitCode": "143", "execDuration": "0"}


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (16 << 20, "16.0 MiB"),
        (3 << 40, "3072.0 GiB"),
    ],
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert words.size(size_bytes) == text


def test_who_did_it() -> None:
    by = {"uid": 0, "command": "jubako kill", "sudo_user": "ada"}
    assert words.who(by) == "`jubako kill`, run by ada (as root)"
    assert words.who({"uid": 2**31, "command": ""}) == f"`a program`, run by uid {2**31}"
    assert words.who(None) == "somebody"
