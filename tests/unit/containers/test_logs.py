"""The json-file log: what was written is read back, across rotations and damage."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.logs import LogOptions, LogWriter, parse_options, reader
from jubako.containers.logs.writer import MAX_RECORD_BYTES
from jubako.errors import InvalidArgument


def _options(size: int = -1, files: int = 1, *, compress: bool = False) -> LogOptions:
    return LogOptions("json-file", size, files, compress)


def _text(path: Path, **wanted: int) -> bytes:
    return b"".join(record.log for record in reader.read(str(path), **wanted))


def test_a_record_is_dockers_json(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options())
    log.write("stderr", b'say "hi"\n')
    log.close()
    record = json.loads(path.read_text())
    assert record["log"] == 'say "hi"\n'
    assert record["stream"] == "stderr"
    assert record["time"].endswith("Z") and len(record["time"]) == 30


def test_a_line_is_recorded_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options())
    log.write("stdout", b"hel")
    assert path.read_bytes() == b""
    log.write("stdout", b"lo\nrest")
    assert _text(path) == b"hello\n"
    log.close()
    assert _text(path) == b"hello\nrest"


def test_a_long_line_becomes_several_records(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options())
    line = b"x" * (2 * MAX_RECORD_BYTES + 5) + b"\n"
    log.write("stdout", line)
    log.close()
    sizes = [len(record.log) for record in reader.read(str(path))]
    assert sizes == [MAX_RECORD_BYTES, MAX_RECORD_BYTES, 6]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_utf8_text_survives(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = LogWriter(str(path), _options())
    for part in parts:
        log.write("stdout", part.encode())
    log.close()
    assert _text(path) == "".join(parts).encode()


@pytest.mark.parametrize("compress", [False, True])
def test_rotation_keeps_the_newest_files(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options(200, 3, compress=compress))
    for number in range(20):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    suffix = ".gz" if compress else ""
    assert sorted(os.listdir(tmp_path)) == ["log", f"log.1{suffix}", f"log.2{suffix}"]
    lines = _text(path).splitlines()
    assert lines == [b"line %d" % number for number in range(20)][-len(lines) :]
    assert 3 <= len(lines) < 20
    assert _text(path, tail=5).splitlines() == lines[-5:]


def test_one_file_only_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options(150, 1))
    for number in range(9):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert os.listdir(tmp_path) == ["log"]
    assert _text(path).endswith(b"line 8\n")


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    good = '{"log":"ok\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    path.write_text(good + '{"log":"half\n[]\n{"log":3,"stream":"x","time":1}\n' + good)
    assert _text(path) == b"ok\nok\n"


def test_since_and_until_select_by_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "".join(
            f'{{"log":"{s}\\n","stream":"stdout","time":"1970-01-01T00:00:{s:02}Z"}}\n'
            for s in range(10)
        )
    )
    found = [record.log for record in reader.read(str(path), since=3, until=5)]
    assert found == [b"3\n", b"4\n", b"5\n"]


def _steps(*actions: Callable[[], None]) -> Callable[[], bool]:
    """A `wait` that does one thing each time a follower has nothing to read."""
    remaining = list(actions)

    def wait() -> bool:
        if not remaining:
            return False
        remaining.pop(0)()
        return True

    return wait


@pytest.mark.parametrize("tail", [None, 1, 0])
def test_follow_crosses_rotations(tmp_path: Path, tail: int | None) -> None:
    path = tmp_path / "log"
    log = LogWriter(str(path), _options(300, 4))
    for number in range(2):
        log.write("stdout", b"old %d\n" % number)

    def burst() -> None:
        for number in range(8):
            log.write("stdout", b"new %d\n" % number)

    records = reader.follow(str(path), tail=tail, wait=_steps(burst, log.close))
    lines = [record.log for record in records]
    old = [b"old 0\n", b"old 1\n"]
    expected = old if tail is None else old[2 - tail :]
    assert lines == expected + [b"new %d\n" % number for number in range(8)]


def test_a_full_disk_loses_records_but_not_the_container() -> None:
    log = LogWriter("/dev/full", _options())
    log.write("stdout", b"lost\n")
    log.close()
    assert log.lost == 1
    assert isinstance(log.last_error, OSError) and log.last_error.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("syslogd", {}, "no log driver named 'syslogd'"),
        ("json-file", {"max-sise": "1m"}, "unknown log opt 'max-sise' for json-file log driver"),
        ("json-file", {"max-size": "many"}, "max-size"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("local", {"compress": "perhaps"}, "compress"),
    ],
)
def test_wrong_options_are_refused(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_options(driver, options)


def test_logs_are_bounded_by_default() -> None:
    options = parse_options("", {})
    assert (options.driver, options.max_size_bytes, options.max_files) == ("json-file", 20 << 20, 5)


def test_no_limit_on_request() -> None:
    assert parse_options("json-file", {"max-size": "-1"}).max_size_bytes == -1
