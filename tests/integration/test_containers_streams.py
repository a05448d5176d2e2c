"""What goes in and out of a container: attach, detach, terminals, logs, exec."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import StartError, Unsupported, WrongState
from tests.fixtures.engine import Jubako

NONE: dict[str, Any] = {"NetworkMode": "none"}


def start(engine: Engine, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    body: dict[str, Any] = {"Image": "busybox", "Cmd": list(command), **config}
    made = engine.containers.create(body, {**NONE, **(host or {})})
    engine.containers.start(made["Id"])
    identity: str = made["Id"]
    return identity


def logged(engine: Engine, identity: str, **options: Any) -> bytes:
    return b"".join(data for _, data in engine.containers.logs(identity, **options))


# foreground


def test_streams_are_apart_and_complete(jubako: Jubako, busybox: str) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    ran = jubako("run", "--rm", "--network", "none", busybox, "sh", "-c", script)
    assert ran.status == 0
    assert ran.stdout == "".join(f"out {i}\n" for i in range(20000))
    assert ran.stderr == "".join(f"err {i}\n" for i in range(20000))


def test_a_slow_reader_loses_nothing(jubako: Jubako, busybox: str) -> None:
    process = jubako.start(
        "run", "--rm", "--network", "none", busybox, "sh", "-c", "yes $(seq 100) | head -c 20000000"
    )
    time.sleep(1)
    out, _ = process.communicate(timeout=60)
    assert len(out) == 20_000_000


def test_stdin_reaches_the_program_and_ends(jubako: Jubako, busybox: str) -> None:
    ran = jubako("run", "--rm", "-i", "--network", "none", busybox, "wc", "-c", stdin="x" * 300_000)
    assert (ran.status, ran.stdout.strip()) == (0, "300000")


def test_without_i_stdin_is_empty(jubako: Jubako, busybox: str) -> None:
    ran = jubako("run", "--rm", "--network", "none", busybox, "cat", stdin="not read")
    assert (ran.status, ran.stdout) == (0, "")


def test_exit_codes(jubako: Jubako, busybox: str) -> None:
    def status(*command: str) -> int:
        return jubako("run", "--rm", "--network", "none", busybox, *command).status

    assert status("sh", "-c", "exit 42") == 42
    assert status("sh", "-c", "kill -9 $$; sleep 1") in (0, 137)  # PID 1 does not die of its own
    assert status("nonsense") == 127
    assert status("/etc/passwd") == 126


def test_signals_are_proxied(jubako: Jubako, busybox: str) -> None:
    script = "trap 'echo got it; exit 33' TERM; echo ready; while :; do sleep 0.05; done"
    process = jubako.start("run", "--rm", "--network", "none", busybox, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (33, "got it\n")


# terminals


def test_a_terminal_has_a_size_that_follows(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal(
        "run", "--rm", "-it", "--network", "none", busybox, "sh", rows=31, columns=97
    )
    terminal.expect("# ")
    terminal.send("tty; stty size\n")
    terminal.expect("/dev/pts/0")
    terminal.expect("31 97")
    terminal.resize(40, 120)
    time.sleep(0.3)
    terminal.send("stty size; exit 5\n")
    terminal.expect("40 120")
    assert terminal.wait() == 5


def test_ctrl_c_goes_to_the_program(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal("run", "--rm", "-it", "--network", "none", busybox, "sh")
    terminal.expect("# ")
    terminal.send("sleep 100 || echo interrupted\n")
    time.sleep(0.3)
    terminal.send("\x03")
    terminal.expect("# ")
    terminal.send("echo still $((40+2)); exit\n")
    terminal.expect("still 42")
    terminal.wait()


def test_detach_keys_leave_the_container_running(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal("run", "-it", "--name", "term", "--network", "none", busybox, "sh")
    terminal.expect("# ")
    terminal.send("\x10\x11")
    assert terminal.wait() == 0
    assert jubako.ok("ps", "--format", "{{.Names}}") == "term"
    again = jubako.terminal("attach", "term")
    again.send("echo $((1+1))two\n")
    again.expect("2two")
    again.send("exit 3\n")
    assert again.wait() == 3


# attach


def test_two_clients_see_the_same(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-di", "--name", "box", "--network", "none", busybox, "cat")
    first = jubako.start("attach", "box", stdin=subprocess.PIPE)
    second = jubako.start("attach", "--no-stdin", "box")
    time.sleep(0.5)
    assert first.stdin and first.stdout and second.stdout
    first.stdin.write("hello\n")
    first.stdin.flush()
    assert first.stdout.readline() == second.stdout.readline() == "hello\n"
    jubako.ok("rm", "-f", "box")
    assert first.wait(10) == second.wait(10) == 137


# logs


def test_logs_tell_streams_apart(engine: Engine, busybox: str) -> None:
    identity = start(engine, "sh", "-c", "echo one; sleep 0.1; echo two >&2")
    engine.containers.wait(identity)
    assert sorted(engine.containers.logs(identity)) == [("stderr", b"two\n"), ("stdout", b"one\n")]
    assert logged(engine, identity, stderr=False) == b"one\n"


def test_logs_tail_since_until_timestamps(engine: Engine, busybox: str) -> None:
    identity = start(engine, "sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 0.3; done")
    engine.containers.wait(identity)
    assert logged(engine, identity, tail=2) == b"3\n4\n"
    stamped = logged(engine, identity, timestamps=True).splitlines()
    stamp, _, text = stamped[1].partition(b" ")
    assert text == b"2" and stamp.endswith(b"Z") and len(stamp) == 30
    from jubako.containers.times import seconds

    at = seconds(stamp.decode())
    assert logged(engine, identity, since=at) == b"2\n3\n4\n"
    assert logged(engine, identity, until=at) == b"1\n2\n"


def test_logs_follow_to_the_end(jubako: Jubako, busybox: str) -> None:
    script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sh", "-c", script)
    assert jubako.ok("logs", "-f", "box") == "1\n2\n3\n4\n5"


def test_logs_rotate(engine: Engine, busybox: str) -> None:
    log = {"Type": "json-file", "Config": {"max-size": "10k", "max-file": "3"}}
    identity = start(engine, "sh", "-c", "seq 1 5000", host={"LogConfig": log})
    engine.containers.wait(identity)
    directory = f"{engine.store.path}/containers/{identity}"
    sizes = [os.stat(f"{directory}/{n}").st_size for n in os.listdir(directory) if ".log" in n]
    assert len(sizes) == 3
    lines = logged(engine, identity).split()
    assert lines == [str(n).encode() for n in range(5001 - len(lines), 5001)]


def test_the_none_driver_keeps_nothing(engine: Engine, busybox: str) -> None:
    identity = start(engine, "echo", "x", host={"LogConfig": {"Type": "none", "Config": {}}})
    engine.containers.wait(identity)
    with pytest.raises(Unsupported, match="does not support reading"):
        engine.containers.logs(identity)


# exec


def test_exec_runs_in_the_same_container(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "100")
    assert jubako.ok("exec", "box", "hostname") == jubako.ok("ps", "-q")
    ran = jubako("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 4")
    assert ran == (4, "out\n", "err\n")
    assert jubako.ok("exec", "-i", "box", "cat", stdin="in\n") == "in"
    assert (
        jubako.ok("exec", "-e", "A=b", "-w", "/tmp", "box", "sh", "-c", "echo $A $PWD") == "b /tmp"
    )
    assert jubako.ok("exec", "-u", "www-data", "box", "id", "-un") == "www-data"
    assert "PID   USER" in jubako.ok("exec", "box", "ps")


def test_exec_of_what_cannot_run(engine: Engine, busybox: str) -> None:
    identity = start(engine, "sleep", "100")
    with pytest.raises(StartError) as failed:
        engine.containers.exec(identity, ["nonsense"])
    assert failed.value.exit_code == 127
    engine.containers.stop(identity, timeout_s=0)
    with pytest.raises(WrongState, match="is not running"):
        engine.containers.exec(identity, ["true"])


def test_exec_with_a_terminal(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "100")
    terminal = jubako.terminal("exec", "-it", "box", "sh", rows=33, columns=99)
    terminal.expect("# ")
    terminal.send("stty size; tty; exit 6\n")
    terminal.expect("33 99")
    terminal.expect("/dev/pts/")
    assert terminal.wait() == 6


def test_exec_detached(engine: Engine, busybox: str) -> None:
    identity = start(engine, "sleep", "100")
    assert engine.containers.exec(identity, ["touch", "/made"], detach=True) is None
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        made = engine.containers.exec(identity, ["test", "-e", "/made"])
        assert made is not None
        if made.pump(stdin=None, stdout=None, stderr=None) == 0:
            return
        time.sleep(0.05)
    pytest.fail("the detached command did nothing")
