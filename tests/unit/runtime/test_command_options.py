"""Options of the subcommands: update, exec, kill, events."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import InvalidArgument, KernelError
from jubako.runtime import events, exec_options, update_options
from jubako.runtime.command import _signal_number
from jubako.runtime.flags import Values, parse

RECORD = {
    "process": {
        "args": ["sleep"],
        "cwd": "/home",
        "env": ["A=1"],
        "terminal": True,
        "consoleSize": {"width": 1, "height": 1},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]},
    }
}


def update(*words: str) -> Values:
    return parse(list(words), update_options.OPTIONS, {"r": "resources"})[0]


def process(*words: str) -> dict[str, Any]:
    options, arguments = parse(list(words), exec_options.OPTIONS, exec_options.ALIASES)
    return exec_options.process_object(options, arguments, lambda: RECORD)


def test_limits_become_resources() -> None:
    options = update("--memory", "64m", "--memory-swap=-1", "--cpu-share", "5", "--cpuset-cpus=0-1")
    assert update_options.resources(options) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "cpu": {"shares": 5, "cpus": "0-1"},
    }


def test_a_file_of_resources_and_options_on_top(tmp_path: Path) -> None:
    path = tmp_path / "resources"
    path.write_text(json.dumps({"pids": {"limit": 4}, "memory": {"limit": 1}}))
    options = update("-r", str(path), "--memory", "2KiB")
    assert update_options.resources(options) == {"pids": {"limit": 4}, "memory": {"limit": 2048}}


def test_wrong_resources(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="invalid value '5x' for --memory"):
        update_options.resources(update("--memory", "5x"))
    with pytest.raises(KernelError, match="No such file"):
        update_options.resources(update("-r", str(tmp_path / "nothing")))
    (tmp_path / "broken").write_text("{")
    with pytest.raises(InvalidArgument):
        update_options.resources(update("-r", str(tmp_path / "broken")))


def test_exec_changes_the_containers_process() -> None:
    made = process("-t", "-e", "B=2", "--cwd", "/x", "-u", "1:2", "--cap", "CAP_CHOWN", "ls", "-l")
    assert made["args"] == ["ls", "-l"]
    assert made["terminal"] is True
    assert "consoleSize" not in made
    assert made["cwd"] == "/x"
    assert made["env"] == ["A=1", "B=2"]
    assert made["user"] == {"uid": 1, "gid": 2}
    both = ["CAP_KILL", "CAP_CHOWN"]
    assert made["capabilities"]["bounding"] == made["capabilities"]["effective"] == both
    assert made["capabilities"].get("ambient") is None
    assert process("ls")["terminal"] is False


def test_exec_takes_numbers_for_users() -> None:
    """A name would have to be looked up in files of the container; `1` must never be root."""
    assert process("-u", "1", "ls")["user"] == {"uid": 1, "gid": 0}
    for user in ("root", "1:wheel", "-1", "+0", ""):
        with pytest.raises(InvalidArgument):
            process("-u", user, "ls")


def test_exec_reads_a_process_object(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"args": ["x"], "cwd": "/"}))
    assert process("--process", str(path)) == {"args": ["x"], "cwd": "/"}
    path.write_text("[]")
    with pytest.raises(InvalidArgument, match="not a JSON object"):
        process("--process", str(path))
    with pytest.raises(InvalidArgument, match="cannot be empty"):
        process()


def test_signals_by_number_and_name() -> None:
    for word in ("9", "KILL", "SIGKILL", "sigkill"):
        assert _signal_number(word) == signal.SIGKILL
    assert _signal_number("RTMIN+3") == signal.SIGRTMIN + 3
    for word in ("0", "65", "-9", "NOPE", "SIG_IGN", ""):
        with pytest.raises(InvalidArgument):
            _signal_number(word)


def test_durations() -> None:
    assert events.parse_interval("1m30s") == 90
    assert events.parse_interval("500ms") == 0.5
    for text in ("", "5", "s", "5 s", "0s"):
        with pytest.raises(InvalidArgument):
            events.parse_interval(text)
