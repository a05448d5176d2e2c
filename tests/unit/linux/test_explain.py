"""The text of an explanation, and how events get to it; the rest is in tests/integration."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from jubako.linux import trace
from jubako.linux.explain import Explanation, to_dict
from jubako.linux.explain.chapters import CHAPTERS, NAMESPACES, chapter_of, parts
from jubako.linux.explain.text import WIDTH, render
from jubako.linux.ns import KINDS
from jubako.linux.trace import Event, traced

ID = "0123456789abcdef" * 4


def event(op: str = "write", facility: str = "cgroups.files", **fields: Any) -> Event:
    made = Event(op, facility, fields.pop("shell", "true"), "for a test", {}, 0.0, 0.001)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@traced(lambda word, *, why="": f"echo {word}")
def change(word: str, *, why: str = "") -> None:
    if word == "bad":
        raise ValueError("a reason")


def test_events_of_children_come_in_the_order_of_their_ends() -> None:
    with Explanation() as explanation:
        change("one", why="first")
        pid = os.fork()
        if pid == 0:
            trace.set_role("init")
            change("two", why="second")
            os._exit(0)
        os.waitpid(pid, 0)
        change("three", why="third")
    told = [(event.shell, event.why, event.role) for event in explanation.events]
    assert told == [
        ("echo one", "first", ""),
        ("echo two", "second", "init"),
        ("echo three", "third", ""),
    ]
    assert explanation.events[1].pid == pid
    assert explanation.lost == 0


def test_what_comes_while_a_text_is_made_is_left_for_the_next() -> None:
    with Explanation() as explanation:
        change("one")
        first = explanation.collect()
        change("two")  # by the monitor, say
        assert "echo two" not in explanation.text(first)
        assert [event.shell for event in explanation.collect()] == ["echo two"]


def test_an_error_is_told_and_raised() -> None:
    with Explanation() as explanation, pytest.raises(ValueError):
        change("bad", why="it fails")
    (found,) = explanation.events
    assert found.error == "a reason"
    assert to_dict(found)["arguments"] == {"word": "bad"}


def test_a_full_pipe_stops_nobody() -> None:
    with Explanation() as explanation:
        started = time.monotonic()
        for _ in range(200):
            change("x" * 20_000, why="more than the pipe holds")
        assert time.monotonic() - started < 30
    assert 0 < len(explanation.events) < 200


def test_a_text_that_is_no_utf8_survives() -> None:
    name = os.fsdecode(b"\xff")
    with Explanation() as explanation:
        change(name, why=name)
    assert explanation.events[0].why == name
    assert name in explanation.text()


def test_another_process_joins_and_a_reused_number_is_noticed(tmp_path: Path) -> None:
    link = str(tmp_path / "explain")
    with Explanation() as explanation:
        trace.invite(link)
        trace.invite(link)  # of an earlier command
        pid = os.fork()
        if pid == 0:
            trace.set_sink(None)
            trace.accept(link)
            change("far", why="by another's monitor")
            os._exit(0)
        os.waitpid(pid, 0)
    assert [event.role for event in explanation.events] == ["monitor"]
    target, _, inode = os.readlink(link).rpartition(":")
    os.unlink(link)
    with open(tmp_path / "other", "w") as other:
        os.symlink(f"/proc/{os.getpid()}/fd/{other.fileno()}:{inode}", link)
        trace.accept(link)
    assert not trace.listening()
    assert (tmp_path / "other").read_text() == ""


def test_without_a_sink_nothing_is_rendered() -> None:
    calls: list[str] = []

    def render() -> str:
        calls.append("rendered")
        return ""

    @traced(render)
    def quiet() -> int:
        return 7

    assert quiet() == 7 and calls == []


def test_what_cannot_be_rendered_is_done_all_the_same() -> None:
    @traced(lambda: 1 / 0)  # type: ignore[arg-type, return-value]  # as a bug in a rendering
    def fine() -> int:
        return 7

    with Explanation() as explanation:
        assert fine() == 7
    assert explanation.events[0].shell == "fine"


def test_each_namespace_has_its_sentence() -> None:
    assert set(NAMESPACES) == set(KINDS)


@pytest.mark.parametrize(
    ("found", "chapter"),
    [
        (event(facts={"path": "/sys/fs/cgroup/memory/x/memory.max"}), "limits"),
        (event(facts={"path": "/sys/fs/cgroup/x/cgroup.freeze"}), "pause"),
        (event("rmdir", stage="end"), "afterwards"),
        (event("send_signal", "pidfd", stage="end"), "signals"),
        (event("unshare", "ns", facts={"namespaces": ["network"]}, role="monitor"), "network"),
        (event("unshare", "ns", facts={"namespaces": ["network"]}, role="init"), "isolation"),
        (event("setns", "ns", facts={"namespaces": ["mount"]}, role="exec"), "entering"),
        (event("run", "process", facts={"argv": ["nft", "-f", "-"]}), "network"),
        (event("run", "process", facts={"argv": ["runc"]}), "other"),
        (event("something", "new"), "other"),
    ],
)
def test_chapters(found: Event, chapter: str) -> None:
    assert chapter_of(found) == chapter


def test_a_start_after_an_end_is_a_story_of_its_own() -> None:
    begin, end = event(), event("rmdir", stage="end")
    assert [len(part) for part in parts([begin, end, begin, begin, end])] == [2, 3]
    assert [len(part) for part in parts([end, begin])] == [1, 1]


def test_text() -> None:
    path = f"/var/lib/jubako/containers/{ID}"
    events = [
        event(shell=f"echo 'a b' > /sys/fs/cgroup/{ID}/x", why="a first thing", role="monitor"),
        event(shell=f"mkdir {path}/y", why="a second thing", error="mkdir: Permission denied"),
        event(shell=f"sh <<-'END'\n\tcat {path}/y\nEND", why="a second thing"),
    ]
    text = render(events, head=False)
    assert text.startswith(f"ID={ID}\nDIR=/var/lib/jubako/containers/$ID\n\nLimits   ")
    assert "3.00 ms, by the monitor and this command" in text
    assert "  A first thing.\n        1.000 ms  echo 'a b' > /sys/fs/cgroup/$ID/x\n" in text
    assert "  A second thing.\n        1.000 ms  mkdir $DIR/y\n" in text
    assert "-> mkdir: Permission denied" in text
    assert "sh <<-'END'\n\t\t\tcat $DIR/y\n\t\tEND\n" in text
    introduction = CHAPTERS["limits"].introduction.split()
    assert " ".join(introduction[:9]) in text
    assert all(len(line) <= WIDTH for line in text.splitlines() if line.startswith("  A"))
    assert "\033[1m" in render(events, bold=True)
    assert render([]) == ""
