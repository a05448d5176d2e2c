"""What an exec's record and streams are, before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jubako.containers.exec.execute import Streams, new_record
from jubako.containers.exec.table import check_running
from jubako.errors import InvalidArgument, WrongState


def test_the_record_has_the_defaults_of_the_api() -> None:
    assert new_record({"Cmd": ["ls", "-l"]}) == {
        "ProcessConfig": {
            "tty": False,
            "entrypoint": "ls",
            "arguments": ["-l"],
            "privileged": False,
        },
        "OpenStdin": False,
        "OpenStdout": False,
        "OpenStderr": False,
        "DetachKeys": "",
        "Env": [],
        "WorkingDir": "",
        "ConsoleSize": [],
    }


def test_the_record_keeps_what_was_asked_for() -> None:
    record = new_record(
        {
            "Cmd": ["sh"],
            "User": "me:us",
            "Tty": True,
            "AttachStdin": True,
            "DetachKeys": "ctrl-a",
            "Env": ["A=b"],
            "ConsoleSize": [24, 80],
        }
    )
    assert record["ProcessConfig"]["user"] == "me:us"
    assert record["OpenStdin"]
    assert record["DetachKeys"] == "AQ=="
    assert (record["Env"], record["ConsoleSize"]) == (["A=b"], [24, 80])


@pytest.mark.parametrize("config", [{}, {"Cmd": []}, {"Cmd": ["x"], "DetachKeys": "foo"}])
def test_what_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        new_record(config)


def test_pipes_only_for_what_is_attached() -> None:
    streams = Streams(new_record({"Cmd": ["x"], "AttachStdout": True}), detach=False)
    try:
        assert list(streams.theirs) == ["stdout", "drain_stdout"]
        assert streams.theirs["drain_stdout"] == streams.stdout
        assert (streams.stdin, streams.stderr) == (-1, -1)
        os.write(streams.theirs["stdout"], b"x")
        streams.close_theirs()
        assert os.read(streams.stdout, 2) == b"x"
        assert os.read(streams.stdout, 2) == b""
    finally:
        streams.close()


def test_no_pipes_for_a_terminal_or_when_nobody_stays() -> None:
    attached = {"Cmd": ["x"], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    assert Streams(new_record({**attached, "Tty": True}), detach=False).theirs == {}
    assert Streams(new_record(attached), detach=True).theirs == {}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("paused", "Container box is paused, unpause the container before exec"),
        ("restarting", "Container c is restarting, wait until the container is running"),
        ("exited", "container c is not running"),
        ("created", "container c is not running"),
    ],
)
def test_states_in_which_nothing_is_executed(status: str, words: str) -> None:
    with pytest.raises(WrongState) as refused:
        check_running("c", "box", status)
    assert str(refused.value) == words
    check_running("c", "box", "running")


def test_a_small_holder_loads_little() -> None:
    """It has in memory, for as long as the command runs, what it imports."""
    program = "import sys; from jubako.containers.exec import held; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlite3", "ctypes", "jubako.store", "jubako.runtime"} & set(loaded)
