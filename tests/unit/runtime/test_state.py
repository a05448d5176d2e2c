"""Records on disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, NameInUse, NotFound
from jubako.runtime.state import StateDir, alive, boot_id, now, start_ticks


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a\0", "-" * 2000])
def test_an_id_is_a_plain_file_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="invalid container ID"):
        StateDir(str(tmp_path)).make(name)


def test_one_caller_gets_the_directory(tmp_path: Path) -> None:
    states = StateDir(str(tmp_path / "new" / "state"))
    assert states.ids() == []
    states.make("c")
    with pytest.raises(NameInUse):
        states.make("c")
    assert states.ids() == ["c"]
    assert os.stat(states.of("c")).st_mode & 0o777 == 0o700
    with pytest.raises(NotFound):
        states.read("c")


def test_a_record_comes_back(tmp_path: Path) -> None:
    states = StateDir(str(tmp_path))
    states.make("c")
    record = {"version": 1, "id": "c", "more": [1, "ü"]}
    states.write(record)
    assert states.read("c") == record
    states.remove("c")
    states.remove("c")
    assert os.listdir(tmp_path) == []


def test_a_record_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    states = StateDir(str(tmp_path))
    path = Path(states.make("c")) / "state.json"
    path.write_text(json.dumps({"version": 2, "id": "c"}))
    with pytest.raises(InvalidArgument, match="version 2 is not 1"):
        states.read("c")
    path.write_text("{")
    with pytest.raises(InvalidArgument, match="read .*state.json"):
        states.read("c")


def test_the_lock_of_what_is_not_there(tmp_path: Path) -> None:
    states = StateDir(str(tmp_path))
    with pytest.raises(NotFound):
        states.lock("c")
    states.make("c")
    with states.lock("c"):
        pass


def test_a_process_is_told_from_another_with_its_number() -> None:
    found = start_ticks(os.getpid())
    assert found is not None
    record = {"pid": os.getpid(), "start_ticks": found[0], "boot_id": boot_id()}
    assert alive(record)
    assert not alive({**record, "start_ticks": found[0] + 1})
    assert not alive({**record, "boot_id": "another"})
    assert not alive({**record, "pid": 0})
    assert start_ticks(2**22 + 1) is None  # above the largest pid_max


def test_time_has_nanoseconds() -> None:
    assert len(now()) == len("2026-01-02T03:04:05.123456789Z")
