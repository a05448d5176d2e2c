"""process: the one way to run a program."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from jubako.errors import Unavailable
from jubako.linux import process


def test_input_output_status(tmp_path: Path) -> None:
    done = process.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"hello")
    assert (done.status, done.stdout, done.stderr) == (3, b"hello", b"oops\n")


def test_more_than_the_pipes_hold_in_both_directions() -> None:
    data = bytes(range(256)) * 4096
    assert process.run(["cat"], stdin=data).stdout == data


def test_a_program_that_does_not_read_its_input() -> None:
    done = process.run(["sh", "-c", "exec true"], stdin=b"x" * 1_000_000)
    assert done.status == 0


def test_death_by_a_signal() -> None:
    assert process.run(["sh", "-c", "kill -TERM $$"]).status == 128 + 15


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD_OF_THE_CALLER", "1")
    lines = process.run(["env"]).stdout.decode().splitlines()
    assert sorted(lines) == ["LC_ALL=C", f"PATH={process.SEARCH_PATH}"]
    assert process.run(["env"], env={"A": "b"}).stdout == b"A=b\n"


def test_no_descriptor_is_inherited() -> None:
    fd = os.open("/", os.O_RDONLY)
    try:
        listed = process.run(["sh", "-c", "ls /proc/$$/fd"]).stdout.split()
    finally:
        os.close(fd)
    assert str(fd).encode() not in listed


def test_sigpipe_is_not_ignored() -> None:
    # Python ignores SIGPIPE and exec keeps what is ignored; `yes` would write for ever
    done = process.run(["sh", "-c", "yes | head -n 1"], timeout_s=20)
    assert (done.status, done.stdout) == (0, b"y\n")
    line = process.run(["grep", "SigIgn", "/proc/self/status"]).stdout
    assert int(line.split()[1], 16) & 1 << 12 == 0


@pytest.mark.parametrize("script", ["sleep 60", "exec >&- 2>&-; sleep 60"])
def test_the_time_limit_kills(script: str) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match="no end within 0.2 s"):
        process.run(["sh", "-c", f"{script}"], timeout_s=0.2)
    assert time.monotonic() - started < 10


def test_the_output_is_bounded() -> None:
    with pytest.raises(Unavailable, match="1000 bytes"):
        process.run(["cat", "/dev/zero"], limit_bytes=1000)


@pytest.mark.parametrize("name", ["jubako-no-such-program", "/no/such/program"])
def test_a_missing_program_is_unavailable(name: str) -> None:
    with pytest.raises(Unavailable) as caught:
        process.run([name])
    assert caught.value.subject == name


def test_what_is_not_executable_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with pytest.raises(Unavailable):
        process.run([str(tmp_path / "text")])
