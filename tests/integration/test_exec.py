"""`exec`: a process beside the first, which has a holder, outlives its client and is recorded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.containers.exec.table import start_ticks
from jubako.errors import Conflict, InvalidArgument, NotFound, StartError, WrongState
from tests.fixtures.engine import Jubako

NONE: dict[str, Any] = {"NetworkMode": "none"}


def eventually(condition: Callable[[], object], what: str, *, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen: {what}")
        time.sleep(0.01)


@pytest.fixture
def box(engine: Engine, busybox: str) -> Iterator[str]:
    """The ID of a container that sleeps; its name is `box`."""
    made = engine.containers.create({"Image": busybox, "Cmd": ["sleep", "1000"]}, NONE, name="box")
    engine.containers.start(made["Id"])
    yield made["Id"]
    with contextlib.suppress(NotFound):
        engine.containers.remove(made["Id"], force=True)


def only(engine: Engine, container: str) -> dict[str, Any]:
    (found,) = engine.containers.execs.list(container)
    return found


def count(rows: list[dict[str, Any]], key: str) -> int:
    return sum(1 for row in rows if row[key])


def written(engine: Engine, container: str, path: str) -> bytes:
    """What is in a file of the container."""
    made = engine.containers.exec(container, ["cat", path])
    assert made is not None
    return made.communicate().stdout


def events_of(engine: Engine) -> list[tuple[str, dict[str, str]]]:
    rows = engine.store.db.execute(
        "SELECT action, attributes FROM events WHERE action LIKE 'exec%' ORDER BY id"
    )
    return [(row["action"], json.loads(row["attributes"])) for row in rows.fetchall()]


# the two steps, and what is recorded


def test_create_then_start(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    config = {"Cmd": ["sh", "-c", "echo $A; exit 3"], "Env": ["A=b"], "AttachStdout": True}
    identity = execs.create("box", config)
    assert engine.containers.inspect(box)["ExecIDs"] == [identity]
    assert execs.inspect(identity) == {
        "ID": identity,
        "Running": False,
        "ExitCode": None,
        "ProcessConfig": {
            "tty": False,
            "entrypoint": "sh",
            "arguments": ["-c", "echo $A; exit 3"],
            "privileged": False,
        },
        "OpenStdin": False,
        "OpenStderr": False,
        "OpenStdout": True,
        "CanRemove": False,
        "ContainerID": box,
        "DetachKeys": "",
        "Pid": 0,
    }
    running = execs.start(identity)
    assert running is not None
    output = running.communicate()
    assert (output.status, output.stdout) == (3, b"b\n")
    ended = execs.inspect(identity[:12])
    assert (ended["Running"], ended["ExitCode"]) == (False, 3)
    assert ended["Pid"] > 0
    assert engine.containers.inspect(box)["ExecIDs"] is None
    with pytest.raises(Conflict, match="has already run"):
        execs.start(identity)
    actions = events_of(engine)
    assert [action for action, _ in actions] == [
        "exec_create: sh -c echo $A; exit 3",
        "exec_start: sh -c echo $A; exit 3",
        "exec_die",
    ]
    assert {attributes["execID"] for _, attributes in actions} == {identity}
    assert actions[-1][1]["exitCode"] == "3"


def test_a_started_one_is_not_started_again(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    identity = execs.create(box, {"Cmd": ["sleep", "1000"]})
    execs.start(identity, detach=True)
    assert execs.inspect(identity)["Running"]
    with pytest.raises(Conflict, match=f"Exec command {identity} is already running"):
        execs.start(identity)


def test_what_cannot_be_created(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    with pytest.raises(InvalidArgument, match="No exec command specified"):
        execs.create(box, {"Cmd": []})
    with pytest.raises(InvalidArgument, match=r"Invalid escape keys \(foo\) provided"):
        execs.create(box, {"Cmd": ["x"], "DetachKeys": "foo"})
    with pytest.raises(NotFound, match="No such exec instance: nope"):
        execs.inspect("nope")
    with pytest.raises(NotFound, match="No such container"):
        execs.create("nope", {"Cmd": ["x"]})
    engine.containers.pause(box)
    with pytest.raises(WrongState, match="is paused, unpause the container before exec"):
        execs.create(box, {"Cmd": ["x"]})
    engine.containers.unpause(box)
    created = execs.create(box, {"Cmd": ["x"]})
    engine.containers.stop(box, timeout_s=0)
    with pytest.raises(WrongState, match="is not running"):
        execs.create(box, {"Cmd": ["x"]})
    with pytest.raises(WrongState, match="is not running"):
        execs.start(created)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"argv": ["nonsense"]}, 127, "executable file not found in $PATH"),
        ({"argv": ["/etc/passwd"]}, 126, "permission denied"),
        ({"argv": ["true"], "user": "nobody-there"}, 126, "unable to find user nobody-there"),
        ({"argv": ["true"], "workdir": "/not/there"}, 126, "no such file or directory"),
        ({"argv": ["true"], "workdir": "tmp"}, 126, "Cwd must be an absolute path"),
    ],
)
def test_failures_are_recorded(
    engine: Engine, box: str, options: dict[str, Any], code: int, words: str
) -> None:
    with pytest.raises(StartError) as failed:
        engine.containers.exec(box, **options)
    assert words in str(failed.value)
    assert failed.value.exit_code == code
    row = only(engine, box)
    assert (row["Running"], row["ExitCode"]) == (False, code)


def test_exit_codes_of_the_command(jubako: Jubako, box: str) -> None:
    def status(*args: str) -> int:
        return jubako("exec", *args).status

    assert status("box", "sh", "-c", "exit 42") == 42
    assert status("box", "sh", "-c", "kill -9 $$") == 137
    assert status("box", "nonsense") == 127
    assert status("-u", "nobody-there", "box", "true") == 126
    assert status("-d", "box", "nonsense") == 1  # nobody waits for an exit code
    assert status("-d", "box", "true") == 0
    assert status("--no-such-flag", "box", "true") == 125
    assert status("nobody-there", "true") == 1


def test_rows_go_with_the_container_and_with_time(engine: Engine, box: str) -> None:
    for _ in range(2):
        made = engine.containers.exec(box, ["true"])
        assert made is not None and made.communicate().status == 0
    first, second = engine.containers.execs.list(box)
    long_ago_ns = time.time_ns() - 301 * 10**9
    with engine.store.transaction() as db:
        change = "UPDATE execs SET finished_ns = ? WHERE id = ?"
        db.execute(change, (long_ago_ns, first["ID"]))
    assert only(engine, box)["ID"] == second["ID"]
    with pytest.raises(NotFound):
        engine.containers.execs.inspect(first["ID"])
    engine.containers.execs.create(box, {"Cmd": ["x"]})
    query = "SELECT count(*) FROM execs"
    assert engine.store.db.execute(query).fetchone()[0] == 2
    engine.containers.remove(box, force=True)
    assert engine.store.db.execute(query).fetchone()[0] == 0


# streams


def test_much_in_and_more_out(jubako: Jubako, box: str) -> None:
    """`od` writes five times what it reads: it must not wait for us while we wait for it."""
    ran = jubako("exec", "-i", "box", "od", "-v", "-tx1", stdin="x" * 1_000_000)
    assert ran.status == 0
    assert ran.stdout.count("\n") == 1_000_000 // 16 + 1


def test_input_that_nobody_reads(jubako: Jubako, box: str) -> None:
    assert jubako("exec", "-i", "box", "true", stdin="x" * 1_000_000).status == 0


def test_a_terminal_has_the_callers_size_and_follows_it(jubako: Jubako, box: str) -> None:
    terminal = jubako.terminal("exec", "-it", "box", "sh", rows=33, columns=99)
    terminal.expect("# ")
    terminal.send("stty size\n")
    terminal.expect("33 99")
    terminal.resize(20, 70)
    terminal.send("sleep 0.2; stty size; exit 6\n")
    terminal.expect("20 70")
    assert terminal.wait() == 6


def test_a_terminal_has_its_size_from_the_start(engine: Engine, box: str) -> None:
    made = engine.containers.exec(box, ["stty", "size"], tty=True, console_size=(7, 33))
    assert made is not None
    assert made.communicate().stdout == b"7 33\r\n"


def test_resize_from_outside(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    script = "trap 'stty size > /size' WINCH; echo > /ready; while :; do sleep 0.05; done"
    identity = execs.create(box, {"Cmd": ["sh", "-c", script], "Tty": True})
    execs.start(identity, detach=True)
    eventually(lambda: written(engine, box, "/ready"), "the trap is set")
    execs.resize(identity, 12, 34)
    eventually(lambda: written(engine, box, "/size") == b"12 34\n", "the size is noticed")
    with pytest.raises(InvalidArgument):
        execs.resize(identity, 0, 34)
    execs.stop(identity, timeout_s=0)
    with pytest.raises(WrongState, match="is not running"):
        execs.resize(identity, 12, 34)
    other = execs.create(box, {"Cmd": ["sleep", "1000"]})
    execs.start(other, detach=True)
    with pytest.raises(WrongState, match="has no terminal"):
        execs.resize(other, 12, 34)


def test_a_user_leaves_with_the_detach_keys(jubako: Jubako, engine: Engine, box: str) -> None:
    terminal = jubako.terminal("exec", "-it", "--detach-keys", "ctrl-a,b", "box", "sh")
    terminal.expect("# ")
    terminal.send("\x01b")
    terminal.expect("read escape sequence")
    assert terminal.wait() == 1
    row = only(engine, box)
    assert row["Running"]
    assert row["DetachKeys"] == "AWI="
    assert engine.containers.execs.stop(row["ID"], timeout_s=0) == 137


def test_fifty_at_once(jubako: Jubako, engine: Engine, box: str) -> None:
    started = [jubako.start("exec", "box", "sh", "-c", f"echo {n}; exit {n}") for n in range(50)]
    for number, process in enumerate(started):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (number, f"{number}\n", "")
    codes = [row["ExitCode"] for row in engine.containers.execs.list(box)]
    assert sorted(codes) == list(range(50))


def test_from_a_process_with_threads(engine: Engine, box: str) -> None:
    """There forking is not safe: the holder is a new interpreter."""
    waiting = threading.Event()
    thread = threading.Thread(target=waiting.wait)
    thread.start()
    try:
        made = engine.containers.exec(box, ["sh", "-c", "echo out; exit 5"])
        assert made is not None
        output = made.communicate()
    finally:
        waiting.set()
        thread.join()
    assert (output.status, output.stdout) == (5, b"out\n")


# signals


def test_signal_and_stop(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    script = (
        "trap 'echo hup >> /seen' HUP; trap '' TERM; echo > /ready; while :; do sleep 0.05; done"
    )
    identity = execs.create(box, {"Cmd": ["sh", "-c", script]})
    with pytest.raises(WrongState, match="is not running"):
        execs.signal(identity, "HUP")
    execs.start(identity, detach=True)
    eventually(lambda: written(engine, box, "/ready"), "the traps are set")
    execs.signal(identity, "HUP")
    eventually(lambda: written(engine, box, "/seen") == b"hup\n", "the signal arrives")
    with pytest.raises(InvalidArgument, match="cannot kill exec"):
        execs.signal(identity, "NONSENSE")
    engine.containers.pause(box)
    with pytest.raises(WrongState, match="is paused"):
        execs.signal(identity, "KILL")
    engine.containers.unpause(box)
    assert execs.stop(identity, timeout_s=1) == 137  # it ignores SIGTERM
    assert execs.stop(identity) == 137
    with pytest.raises(WrongState, match="is not running"):
        execs.signal(identity, "KILL")


def test_stop_ends_what_the_command_has_started(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    identity = execs.create(box, {"Cmd": ["sh", "-c", "echo > /ready; sleep 777; true"]})
    execs.start(identity, detach=True)
    eventually(lambda: written(engine, box, "/ready"), "it runs")
    assert execs.stop(identity) == 143
    eventually(
        lambda: b"777" not in engine_ps(engine, box), "the child of the shell has ended as well"
    )


def engine_ps(engine: Engine, container: str) -> bytes:
    made = engine.containers.exec(container, ["ps", "-o", "args"])
    assert made is not None
    return made.communicate().stdout


def test_commands_for_one_exec(jubako: Jubako, box: str) -> None:
    jubako.ok("exec", "-d", "-u", "www-data", "box", "sleep", "777")
    identity = jubako.ok("container", "execs", "-q", "box")
    lines = jubako.ok("container", "execs", "box").splitlines()
    assert lines[0].split("   ")[0] == "EXEC ID"
    assert lines[1].startswith(f"{identity}   sleep 777   www-data")
    assert jubako.ok("kill", "--exec", "-s", "TERM", identity) == identity
    eventually(lambda: not jubako.ok("container", "execs", "-q", "box"), "it ends")
    shown = jubako.ok("container", "execs", "-a", "--format", "{{.Status}}", "box")
    assert shown == "exited (143)"
    jubako.ok("exec", "-d", "box", "sleep", "777")
    identity = jubako.ok("container", "execs", "-q", "--no-trunc", "box")
    assert jubako.ok("stop", "--exec", identity) == identity
    assert jubako.ok("container", "execs", "-q", "box") == ""
    assert jubako("kill", "--exec", identity).status == 1


# faults


def test_it_outlives_its_client(jubako: Jubako, engine: Engine, box: str) -> None:
    script = (
        "i=0; while [ ! -e /go ]; do echo line $i || exit 9; i=$((i+1)); echo $i > /count; done;"
        "head -c 1000000 /dev/zero || exit 8; exit 7"
    )
    process = jubako.start("exec", "box", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "line 0\n"
    process.kill()
    process.wait()
    before = int(written(engine, box, "/count") or 0)
    eventually(lambda: int(written(engine, box, "/count") or 0) > before + 100, "it goes on")
    (row,) = [row for row in engine.containers.execs.list(box) if row["Running"]]
    assert row["Pid"] > 0
    made = engine.containers.exec(box, ["touch", "/go"])
    assert made is not None and made.communicate().status == 0
    eventually(lambda: not engine.containers.execs.inspect(row["ID"])["Running"], "it ends")
    assert engine.containers.execs.inspect(row["ID"])["ExitCode"] == 7
    assert ("exec_die", "7") in [(a, e.get("exitCode")) for a, e in events_of(engine)]


def test_one_with_a_terminal_outlives_its_client(jubako: Jubako, engine: Engine, box: str) -> None:
    terminal = jubako.terminal("exec", "-it", "box", "sh", "-c", "echo ready; seq 100000; exit 7")
    terminal.expect("ready")
    terminal.process.kill()
    terminal.process.wait()
    eventually(lambda: not only(engine, box)["Running"], "it ends though nobody reads")
    assert only(engine, box)["ExitCode"] == 7


def holder_of(engine: Engine, exec_id: str) -> int:
    row = engine.store.db.execute("SELECT holder FROM execs WHERE id = ?", (exec_id,)).fetchone()
    return int(row["holder"])


def test_the_holder_is_killed(jubako: Jubako, engine: Engine, box: str) -> None:
    process = jubako.start("exec", "box", "sleep", "777")
    eventually(lambda: engine.containers.execs.list(box), "it is recorded")
    eventually(lambda: only(engine, box)["Pid"], "its process is recorded")
    row = only(engine, box)
    assert row["Running"]
    os.kill(holder_of(engine, row["ID"]), signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the process that holds the command was killed" in err
    eventually(lambda: not start_ticks(row["Pid"]), "its process dies with it")
    ended = only(engine, box)
    assert (ended["Running"], ended["ExitCode"]) == (False, 137)
    assert engine.containers.inspect(box)["ExecIDs"] is None
    assert [action for action, _ in events_of(engine)].count("exec_die") == 1


@pytest.mark.parametrize("attached", [True, False])
def test_a_holder_makes_itself_small(
    jubako: Jubako, engine: Engine, box: str, attached: bool
) -> None:
    script = "while [ ! -e /go ]; do sleep 0.05; done; seq 100000; exit 5"
    client = jubako.start("exec", *([] if attached else ["-d"]), "box", "sh", "-c", script)
    if not attached:
        assert client.wait(20) == 0
    eventually(lambda: count(engine.containers.execs.list(box), "Pid"), "it runs")
    row = only(engine, box)
    command = Path(f"/proc/{holder_of(engine, row['ID'])}/cmdline")
    eventually(lambda: b"held.main" in command.read_bytes(), "the holder is another program")
    assert engine.containers.execs.inspect(row["ID"])["Running"]
    made = engine.containers.exec(box, ["touch", "/go"])
    assert made is not None and made.communicate().status == 0
    if attached:
        out, _ = client.communicate(timeout=20)
        assert (client.returncode, out.count("\n")) == (5, 100000)
    eventually(lambda: not engine.containers.execs.inspect(row["ID"])["Running"], "it ends")
    assert engine.containers.execs.inspect(row["ID"])["ExitCode"] == 5


def test_nothing_runs_after_a_reboot(engine: Engine, box: str) -> None:
    identity = engine.containers.execs.create(box, {"Cmd": ["sleep", "777"]})
    engine.containers.execs.start(identity, detach=True)
    with engine.store.transaction() as db:
        db.execute("UPDATE execs SET boot_id = 'another'")
    assert not engine.containers.execs.inspect(identity)["Running"]


def test_another_process_with_the_number_is_not_it(engine: Engine, box: str) -> None:
    execs = engine.containers.execs
    bystander = subprocess.Popen(["sleep", "777"])
    time.sleep(0.02)  # the time of a start is known to a hundredth of a second
    identity = execs.create(box, {"Cmd": ["sleep", "777"]})
    execs.start(identity, detach=True)
    try:
        assert start_ticks(bystander.pid)
        with engine.store.transaction() as db:
            db.execute("UPDATE execs SET pid = ?", (bystander.pid,))
        with pytest.raises(WrongState, match="is not running"):
            execs.signal(identity, "KILL")
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_container_ends(jubako: Jubako, engine: Engine, box: str) -> None:
    started = [jubako.start("exec", "box", "sleep", "777") for _ in range(5)]
    eventually(lambda: count(engine.containers.execs.list(box), "Pid") == 5, "all run")
    assert len(engine.containers.inspect(box)["ExecIDs"]) == 5
    engine.containers.stop(box, timeout_s=0)
    assert [process.wait(20) for process in started] == [137] * 5
    rows = engine.containers.execs.list(box)
    assert [(row["Running"], row["ExitCode"]) for row in rows] == [(False, 137)] * 5


def test_fifty_while_the_container_is_stopped(jubako: Jubako, engine: Engine, box: str) -> None:
    started = [jubako.start("exec", "box", "sleep", "777") for _ in range(25)]
    eventually(lambda: engine.containers.execs.list(box), "some are there")
    started += [jubako.start("exec", "box", "sleep", "777") for _ in range(25)]
    engine.containers.stop(box, timeout_s=0)
    for process in started:
        _, err = process.communicate(timeout=60)
        if process.returncode != 137:
            assert (process.returncode, "is not running" in err) == (1, True), err
    assert not [row for row in engine.containers.execs.list(box) if row["Running"]]
    assert engine.containers.inspect(box)["ExecIDs"] is None


def test_the_limit_of_processes_is_reached(engine: Engine, jubako: Jubako, busybox: str) -> None:
    host = {**NONE, "PidsLimit": 4}
    script = "for i in 1 2 3; do sleep 777 & done; echo full; wait"
    body = {"Image": busybox, "Cmd": ["sh", "-c", script]}
    made = engine.containers.create(body, host, name="full")
    engine.containers.start(made["Id"])
    eventually(lambda: jubako.ok("logs", "full") == "full", "it is full")
    ran = jubako("exec", "full", "true")
    assert ran.status == 126
    assert "Resource temporarily unavailable" in ran.stderr
    assert "limit of processes" in ran.stderr
    assert len(engine.containers.top("full")["Processes"]) == 4
    row = only(engine, made["Id"])
    assert (row["Running"], row["ExitCode"]) == (False, 126)


def test_a_client_that_dies_at_once_leaves_nothing(
    jubako: Jubako, engine: Engine, box: str
) -> None:
    for wait_s in (0.0, 0.01, 0.02, 0.03, 0.05):
        process = jubako.start("exec", "box", "sh", "-c", "exit 0")
        time.sleep(wait_s)
        process.kill()
        process.wait()

    def all_ended() -> bool:
        return not [row for row in engine.containers.execs.list(box) if row["Running"]]

    eventually(all_ended, "every one that was started has an end")
