"""Logs in files: what was written is read back, across rotations, compression and damage."""

from __future__ import annotations

import errno
import gzip
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jubako.containers.logs import reader
from jubako.containers.logs import render as render_module
from jubako.containers.logs.render import Renderer
from jubako.containers.logs.writer import MAX_RECORD_BYTES, LogWriter
from jubako.linux.loop import EventLoop
from tests.unit.containers.log_tools import file_options, text, turn_until


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    made = EventLoop()
    yield made
    made.close()


def _read(path: Path, **wanted: int) -> bytes:
    return text(reader.read(str(path), **wanted))


def _records(path: Path) -> list[dict[str, Any]]:
    blocks = b"".join(reader.read(str(path)))
    return [json.loads(line) for line in blocks.splitlines()]


# one file


def test_a_record_is_dockers_json(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    log.write("stderr", b'say "hi"\n')
    log.close()
    record = json.loads(path.read_text())
    assert list(record) == ["log", "stream", "time"]
    assert record["log"] == 'say "hi"\n'
    assert record["stream"] == "stderr"
    assert record["time"].endswith("Z") and len(record["time"]) == 30


def test_attributes_are_in_each_record(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    attributes = {"a": "x y,z", "tag": '"'}
    log = LogWriter(file_options(path, attributes=attributes), loop)
    log.write("stdout", b"one\ntwo\nthree")
    log.close()
    assert [record["attrs"] for record in _records(path)] == [attributes] * 3
    shown = text(reader.read(str(path)), details=True)
    assert shown == b"".join(b"a=x+y%%2Cz,tag=%%22 %b" % n for n in (b"one\n", b"two\n", b"three"))


def test_a_line_is_recorded_when_it_is_complete(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    log.write("stdout", b"hel")
    assert path.read_bytes() == b""
    log.write("stdout", b"lo\nrest")
    assert _read(path) == b"hello\n"
    log.flush()
    assert _read(path) == b"hello\nrest"
    log.close()
    assert _read(path) == b"hello\nrest"


def test_a_long_line_becomes_several_records(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    log.write("stdout", b"x" * (2 * MAX_RECORD_BYTES + 5) + b"\nshort\n")
    log.write("stdout", b"y" * MAX_RECORD_BYTES)
    assert [len(record["log"]) for record in _records(path)] == [
        MAX_RECORD_BYTES,
        MAX_RECORD_BYTES,
        6,
        6,
        MAX_RECORD_BYTES,
    ]
    log.close()


def test_a_cut_divides_no_character(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    line = "x" + "é€🍱" * 20_000 + "\n"
    log.write("stdout", line.encode())
    log.close()
    assert _read(path) == line.encode()


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    log.write("stdout", b"a\xff\xfeb\n\x00\x01\x7f\x1b[31m\\\t\r\n")
    log.close()
    assert _read(path) == "a\ufffd\ufffdb\n".encode() + b"\x00\x01\x7f\x1b[31m\\\t\r\n"


_TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('\n\n\n\\n"{}, \t\x00é'))
)


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), _TEXT), max_size=20))
def test_text_survives(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = LogWriter(file_options(path), EventLoop())
    for stream, part in parts:
        log.write(stream, part.encode())
    log.close()
    for stream in ("stdout", "stderr"):
        renderer = Renderer(streams={stream})
        shown = [pair for block in reader.read(str(path)) for pair in renderer.feed(block)]
        assert {name for name, _ in shown} <= {stream}
        written = "".join(part for name, part in parts if name == stream)
        assert b"".join(data for _, data in shown) == written.encode()


# rotation


@pytest.mark.parametrize("compress", [False, True])
def test_rotation_keeps_the_newest_files(tmp_path: Path, loop: EventLoop, compress: bool) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path, max_size=200, max_files=3, compress=compress), loop)
    for number in range(20):
        log.write("stdout", b"line %d\n" % number)
        turn_until(loop, lambda: log.idle)
    log.close()
    suffix = ".gz" if compress else ""
    assert sorted(os.listdir(tmp_path)) == ["log", f"log.1{suffix}", f"log.2{suffix}"]
    lines = _read(path).splitlines()
    assert lines == [b"line %d" % number for number in range(20)][-len(lines) :]
    assert 3 <= len(lines) < 20
    assert _read(path, tail=5).splitlines() == lines[-5:]


def test_no_write_waits_for_compression(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path, max_size=300, max_files=9, compress=True), loop)
    lines = [b"line %d\n" % number for number in range(12)]
    for line in lines:
        log.write("stdout", line)  # the loop, which ends compressions, does not run
    assert not log.idle
    assert _read(path) == b"".join(lines)
    turn_until(loop, lambda: log.idle)
    assert _read(path) == b"".join(lines)
    assert not [name for name in os.listdir(tmp_path) if name[-1:].isdigit()]
    log.close()


def test_the_end_of_a_container_does_not_wait_for_compression(
    tmp_path: Path, loop: EventLoop
) -> None:
    path = tmp_path / "log"
    options = file_options(path, max_size=300, max_files=9, compress=True)
    log = LogWriter(options, loop)
    for number in range(12):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    before = _read(path)
    assert "log.gz.tmp" not in os.listdir(tmp_path)
    log = LogWriter(options, loop)  # the next start
    turn_until(loop, lambda: log.idle)
    log.close()
    assert {name[-3:] for name in os.listdir(tmp_path)} == {"log", ".gz"}
    assert _read(path) == before


def test_a_compressed_file_whose_source_was_not_removed(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    record = b'{"log":"old\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    (tmp_path / "log.1").write_bytes(record)
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(record))
    path.write_bytes(record)
    assert _read(path) == b"old\nold\n"
    LogWriter(file_options(path, max_files=3, compress=True), loop).close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1.gz"]
    assert _read(path) == b"old\nold\n"


def test_one_file_only_is_emptied(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path, max_size=150), loop)
    for number in range(9):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert os.listdir(tmp_path) == ["log"]
    assert _read(path).endswith(b"line 8\n")


def test_rotation_by_age(tmp_path: Path, loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000 * 10**9)
    options = file_options(path, max_files=5, max_age_s=3600.0)
    log = LogWriter(options, loop)
    log.write("stdout", b"one\n")
    log.close()
    monkeypatch.setattr("time.time", lambda: 1_003_601.0)
    log = LogWriter(options, loop)  # the age is that of the first record, not of this writer
    log.write("stdout", b"two\n")
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
    os.utime(tmp_path / "log.1", (1_000_000, 1_000_000))
    monkeypatch.setattr("time.time", lambda: 1_007_300.0)
    log.write("stdout", b"three\n")
    log.close()
    assert _read(path) == b"two\nthree\n"


# damage, full disks


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    good = '{"log":"ok\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    bad = (
        '{"log":"half\n[]\n{"log":3,"stream":"x","time":1}\n'
        '{"log":"x","stream":"other","time":"2026-01-01T00:00:00.000000000Z"}\n'
        '{"log":"\\x","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    )
    path.write_text(good + good + bad + good + bad + good + good)
    assert _read(path) == b"ok\n" * 5


def test_dockers_own_records_are_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        '{"log":"a\\u003cb\\n","stream":"stdout","attrs":{"x":"1"},"time":"2026-01-01T00:00:01Z"}\n'
        '{"log":"c","stream":"stderr","time":"2026-01-01T00:00:02.5Z"}\n'
    )
    assert _read(path) == b"a<b\nc"
    since = 1767225602.0
    assert text(reader.read(str(path)), since_s=since) == b"c"
    assert text(reader.read(str(path)), until_s=since) == b"a<b\n"


def test_a_truncated_archive_gives_what_it_has(tmp_path: Path) -> None:
    record = b'{"log":"ok\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    (tmp_path / "log").write_bytes(record)
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(record * 3)[:-9])
    (tmp_path / "log.2.gz").write_bytes(b"no gzip at all, but something else")
    assert _read(tmp_path / "log").endswith(b"ok\n")
    assert _read(tmp_path / "log", tail=1) == b"ok\n"


def test_a_full_disk_loses_records_but_not_the_container(loop: EventLoop) -> None:
    log = LogWriter(file_options(Path("/dev/full")), loop)
    log.write("stdout", b"lost\nlost too\n")
    log.close()
    assert log.lost == 2
    assert isinstance(log.last_error, OSError) and log.last_error.errno == errno.ENOSPC


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Sets how large this process's files may become, as a disk would; EFBIG in place of ENOSPC."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_log_goes_on_when_there_is_room_and_says_what_is_missing(
    tmp_path: Path, loop: EventLoop, file_limit: Callable[[int], None]
) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    file_limit(250)
    for number in range(5):
        log.write("stdout", b"line %d\n" % number)
        assert all(line.startswith(b"line") for line in _read(path).splitlines())
    file_limit(1 << 20)
    for number in range(5, 7):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    kept = 5 - log.lost
    assert 0 < kept < 5
    lines = _read(path).splitlines()
    assert lines[:kept] == [b"line %d" % number for number in range(kept)]
    assert lines[kept].startswith(b"jubako: %d records of this log were lost here" % log.lost)
    assert lines[kept + 1 :] == [b"line 5", b"line 6"]


# reading


def test_since_and_until_select_by_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "".join(
            f'{{"log":"{s}\\n","stream":"stdout","time":"1970-01-01T00:00:{s:02}.000000000Z"}}\n'
            for s in range(10)
        )
    )
    assert text(reader.read(str(path), since_s=3), since_s=3, until_s=5) == b"3\n4\n5\n"


def test_files_that_ended_before_are_not_read(tmp_path: Path) -> None:
    record = b'{"log":"x\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n'
    for name, at in (("log.2", 100), ("log.1", 200), ("log", 300)):
        (tmp_path / name).write_bytes(record)
        os.utime(tmp_path / name, (at, at))
    assert len(list(reader.read(str(tmp_path / "log"), since_s=150))) == 2


def test_time_stamps_begin_lines_not_records(tmp_path: Path, loop: EventLoop) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    log.write("stdout", b"x" * (MAX_RECORD_BYTES + 5) + b"\na\nb\nc\nunended")
    log.close()
    lines = text(reader.read(str(path)), timestamps=True).split(b"\n")
    assert len(lines) == 5
    assert all(line[10:11] == b"T" and line[29:31] == b"Z " for line in lines)
    assert len(lines[0]) == 31 + MAX_RECORD_BYTES + 5


def test_runs_of_records_look_like_single_ones(
    tmp_path: Path, loop: EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path), loop)
    for number in range(300):
        lines = b"".join(b"%d %d \\n \\\n" % (number, line) for line in range(number % 40))
        log.write(("stdout", "stderr")[number % 2], lines)
    log.close()
    quick = text(reader.read(str(path)), timestamps=True)
    monkeypatch.setattr(render_module.Renderer, "_run", lambda *arguments: 0)
    assert text(reader.read(str(path)), timestamps=True) == quick
    monkeypatch.setattr(render_module, "_parse_quickly", lambda line: None)
    assert text(reader.read(str(path)), timestamps=True) == quick


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
@pytest.mark.parametrize("compress", [False, True])
def test_follow_crosses_rotations(
    tmp_path: Path, loop: EventLoop, tail: int | None, compress: bool
) -> None:
    path = tmp_path / "log"
    log = LogWriter(file_options(path, max_size=300, max_files=9, compress=compress), loop)
    for number in range(2):
        log.write("stdout", b"old %d\n" % number)

    def burst() -> None:
        for number in range(8):
            log.write("stdout", b"new %d\n" % number)
        turn_until(loop, lambda: log.idle)  # the file that is followed is gone, compressed

    blocks = reader.follow(str(path), tail=tail, wait=_steps(burst, log.close))
    lines = text(blocks).splitlines()
    old = [b"old 0", b"old 1"]
    expected = old if tail is None else old[2 - tail :]
    assert lines == expected + [b"new %d" % number for number in range(8)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.sampled_from(["write", "long", "read", "compressed"]), max_size=60),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 4)),
)
def test_nobody_who_follows_loses_or_doubles_anything(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], compress: bool, tail: int | None
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    loop = EventLoop()
    log = LogWriter(file_options(path, max_size=400, max_files=99, compress=compress), loop)
    written: list[bytes] = []

    def write(count: int) -> None:
        lines = [b"line %d" % (len(written) + more) for more in range(count)]
        written.extend(lines)
        log.write("stdout", b"".join(line + b"\n" for line in lines))

    write(3)
    remaining = list(steps)

    def wait() -> bool:
        while remaining and (step := remaining.pop(0)) != "read":
            if step == "compressed":
                turn_until(loop, lambda: log.idle)
            else:
                write(1 if step == "write" else 13)
            snapshot = [line for line in text(reader.read(str(path))).splitlines()]
            assert snapshot == written
            assert text(reader.read(str(path), tail=7)).splitlines() == written[-7:]
        return bool(remaining)

    followed = text(reader.follow(str(path), tail=tail, wait=wait)).splitlines()
    log.close()
    loop.close()
    assert followed == (written if tail is None else written[max(0, 3 - tail) :])


def test_files_are_opened_while_they_are_renamed(tmp_path: Path) -> None:
    """Against a process that does nothing but rotate."""
    path = tmp_path / "log"
    child = os.fork()
    if child == 0:
        try:
            loop = EventLoop()
            log = LogWriter(file_options(path, max_size=300, max_files=400, compress=True), loop)
            for number in range(500):
                log.write("stdout", b"%d\n" % number)
                loop.run_once(0) if not log.idle else None
            log.close()
        finally:
            os._exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        lines = [int(line) for line in text(reader.read(str(path))).splitlines()]
        assert lines == list(range(len(lines)))
    lines = [int(line) for line in text(reader.read(str(path))).splitlines()]
    assert lines == list(range(500))
