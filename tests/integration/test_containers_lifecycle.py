"""The life of a container: created, running, paused, exited, gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import (
    Conflict,
    ContainerFailed,
    InvalidArgument,
    NameInUse,
    NotFound,
    StartError,
    WrongState,
)

NONE: dict[str, Any] = {"NetworkMode": "none"}


def create(engine: Engine, *command: str, name: str | None = None, **config: Any) -> str:
    body: dict[str, Any] = {"Image": "busybox", "Cmd": list(command), **config}
    made = engine.containers.create(body, NONE, name=name)
    identity: str = made["Id"]
    return identity


def state(engine: Engine, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.containers.inspect(reference)["State"]
    return found


def test_run_returns_what_the_program_wrote(engine: Engine, busybox: str) -> None:
    assert engine.containers.run(busybox, ["echo", "hello"], host_config=NONE) == b"hello\n"
    assert engine.containers.list(all=True) == []


def test_run_feeds_stdin_and_sees_its_end(engine: Engine, busybox: str) -> None:
    data = bytes(range(256)) * 4000
    assert engine.containers.run(busybox, ["cat"], stdin=data, host_config=NONE) == data


def test_run_reports_a_failed_program(engine: Engine, busybox: str) -> None:
    with pytest.raises(ContainerFailed) as failed:
        engine.containers.run(
            busybox, ["sh", "-c", "echo out; echo err >&2; exit 3"], host_config=NONE
        )
    assert failed.value.exit_status == 3
    assert (failed.value.stdout, failed.value.stderr) == (b"out\n", b"err\n")


def test_the_states_from_created_to_gone(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    assert state(engine, identity)["Status"] == "created"
    engine.containers.start(identity)
    running = state(engine, identity)
    assert (running["Status"], running["Running"]) == ("running", True)
    assert Path(f"/proc/{running['Pid']}").exists()
    engine.containers.start(identity)  # nothing happens
    assert state(engine, identity)["Pid"] == running["Pid"]
    time.sleep(0.2)  # the shell must have set its trap
    engine.containers.stop(identity, timeout_s=10)
    ended = state(engine, identity)
    assert (ended["Status"], ended["ExitCode"], ended["Pid"]) == ("exited", 7, 0)
    engine.containers.remove(identity)
    with pytest.raises(NotFound, match=f"No such container: {identity}"):
        engine.containers.inspect(identity)


def test_what_it_wrote_is_there_after_a_restart(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sh", "-c", "cat /note || { echo kept >/note; exit 4; }")
    engine.containers.start(identity)
    assert engine.containers.wait(identity) == 4
    attachment = engine.containers.start(identity, attach=True)
    assert attachment is not None
    assert attachment.wait() == 0
    attachment.close()
    lines = [data for _, data in engine.containers.logs(identity)]
    assert lines[-1] == b"kept\n"


def test_stop_kills_what_ignores_the_signal(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    engine.containers.start(identity)
    began = time.monotonic()
    engine.containers.stop(identity, timeout_s=1)
    assert 0.9 < time.monotonic() - began < 8
    assert state(engine, identity)["ExitCode"] == 137


def test_kill_sends_any_signal(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done")
    engine.containers.start(identity)
    time.sleep(0.2)
    engine.containers.kill(identity, "SIGUSR1")
    assert engine.containers.wait(identity) == 9
    with pytest.raises(WrongState, match="is not running"):
        engine.containers.kill(identity)
    with pytest.raises(InvalidArgument, match="invalid signal: NONSENSE"):
        engine.containers.kill(identity, "NONSENSE")


def test_the_stop_signal_of_the_container_is_used(engine: Engine, busybox: str) -> None:
    script = "trap 'exit 5' QUIT; trap '' TERM; while :; do sleep 0.05; done"
    identity = create(engine, "sh", "-c", script, StopSignal="SIGQUIT")
    engine.containers.start(identity)
    time.sleep(0.2)
    engine.containers.stop(identity)
    assert state(engine, identity)["ExitCode"] == 5


def _written(engine: Engine, reference: str) -> int:
    return sum(len(data) for _, data in engine.containers.logs(reference))


def test_pause_freezes_and_unpause_goes_on(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sh", "-c", "while :; do echo tick; sleep 0.02; done")
    engine.containers.start(identity)
    engine.containers.pause(identity)
    assert state(engine, identity)["Status"] == "paused"
    time.sleep(0.1)
    frozen = _written(engine, identity)
    time.sleep(0.3)
    assert _written(engine, identity) == frozen
    with pytest.raises(WrongState, match="already paused"):
        engine.containers.pause(identity)
    with pytest.raises(Conflict):
        engine.containers.remove(identity)
    engine.containers.unpause(identity)
    time.sleep(0.3)
    assert _written(engine, identity) > frozen
    engine.containers.remove(identity, force=True)


def test_a_paused_container_can_be_removed_by_force(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sleep", "100")
    engine.containers.start(identity)
    engine.containers.pause(identity)
    engine.containers.remove(identity, force=True)
    assert engine.containers.list(all=True) == []


def test_restart_gives_a_new_process(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sleep", "100")
    engine.containers.start(identity)
    first = state(engine, identity)["Pid"]
    engine.containers.restart(identity, timeout_s=0)
    second = state(engine, identity)
    assert second["Running"] and second["Pid"] != first


def test_a_running_container_is_not_removed(engine: Engine, busybox: str) -> None:
    identity = create(engine, "sleep", "100", name="busy")
    engine.containers.start(identity)
    with pytest.raises(Conflict, match="stop the container before removing or force remove"):
        engine.containers.remove("busy")
    assert state(engine, identity)["Running"]


def test_names(engine: Engine, busybox: str) -> None:
    identity = create(engine, "true", name="first")
    with pytest.raises(NameInUse, match=f'"/first" is already in use by container "{identity}"'):
        create(engine, "true", name="first")
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        create(engine, "true", name="../etc")
    engine.containers.rename("first", "second")
    assert engine.containers.inspect("second")["Name"] == "/second"
    assert engine.containers.inspect(identity[:12])["Id"] == identity
    generated = create(engine, "true")
    name = engine.containers.inspect(generated)["Name"]
    assert name.startswith("/") and "_" in name
    assert len(engine.containers.list(all=True)) == 2


def test_a_failed_creation_leaves_nothing(engine: Engine, busybox: str, root_dir: Path) -> None:
    create(engine, "true", name="taken")
    before = sorted((root_dir / "containers").iterdir())
    body: dict[str, Any] = {"Image": "busybox", "Cmd": ["true"], "Volumes": {"/data": {}}}
    with pytest.raises(NameInUse):
        engine.containers.create(body, NONE, name="taken")
    assert sorted((root_dir / "containers").iterdir()) == before
    assert engine.volumes.list() == []


def test_a_missing_image(engine: Engine) -> None:
    with pytest.raises(NotFound, match="No such image: nothing:latest"):
        engine.containers.create({"Image": "nothing", "Cmd": ["true"]}, {})


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nonsense", 127, "executable file not found in $PATH"),
        ("/no/such/file", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
        ("/etc", 126, ""),
    ],
)
def test_a_program_that_cannot_start(
    engine: Engine, busybox: str, command: str, code: int, words: str
) -> None:
    identity = create(engine, command)
    with pytest.raises(StartError) as failed:
        engine.containers.start(identity)
    assert failed.value.exit_code == code
    assert words in str(failed.value)
    left = state(engine, identity)
    assert (left["Status"], left["ExitCode"]) == ("created", code)


def test_wait_for_the_next_exit_and_for_removal(engine: Engine, busybox: str) -> None:
    body: dict[str, Any] = {"Image": "busybox", "Cmd": ["sh", "-c", "sleep 0.3; exit 6"]}
    made = engine.containers.create(body, {**NONE, "AutoRemove": True})
    engine.containers.start(made["Id"])
    assert engine.containers.wait(made["Id"], condition="removed") == 6
    assert engine.containers.list(all=True) == []


def test_a_program_with_threads_can_start_containers(engine: Engine, busybox: str) -> None:
    import threading

    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        identity = create(engine, "sh", "-c", "echo from a thread; sleep 100")
        attachment = engine.containers.start(identity, attach=True)
        assert attachment is not None
        assert (1, b"from a thread\n") in attachment.receive()
        attachment.close()
        assert state(engine, identity)["Running"]
        engine.containers.remove(identity, force=True)
    finally:
        done.set()
        thread.join()


def test_an_image_removed_by_force_goes_with_its_last_container(
    engine: Engine, busybox: str, root_dir: Path
) -> None:
    identity = create(engine, "true")
    engine.images.remove("busybox", force=True)
    engine.containers.start(identity)
    assert engine.containers.wait(identity) == 0
    assert list((root_dir / "layers").glob("[0-9a-f]*"))
    engine.containers.remove(identity)
    assert not list((root_dir / "layers").glob("[0-9a-f]*"))


def test_the_use_of_an_image_is_remembered(engine: Engine, busybox: str) -> None:
    query = "SELECT last_used_ns FROM images"
    (before,) = engine.store.db.execute(query).fetchone()
    create(engine, "true")
    (after,) = engine.store.db.execute(query).fetchone()
    assert after > before


_PREPARED = """
import os, signal, sys
from jubako import Engine

def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]

engine = Engine()
engine.containers.prepare_start()
(ready,) = children()
engine.containers.prepare_start()
assert children() == [ready]
if "kill" in sys.argv:
    os.kill(ready, signal.SIGKILL)
if "use" in sys.argv:
    print(engine.containers.run("busybox", ["echo", "hi"], host_config={"NetworkMode": "none"}))
engine.close()
assert children() == []
engine.containers.list()
engine.containers.prepare_start()  # too late: the database is open
assert children() == []
"""


@pytest.mark.parametrize("how", [["use"], ["kill", "use"], [], ["kill"]])
def test_a_prepared_start(root_dir: Path, busybox: str, how: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PREPARED, *how],
        env={**os.environ, "JUBAKO_ROOT": str(root_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("b'hi\\n'\n" if "use" in how else "")


def test_prune_removes_what_does_not_run(engine: Engine, busybox: str) -> None:
    gone = create(engine, "true", Labels={"keep": "no"})
    kept = create(engine, "true", Labels={"keep": "yes"})
    running = create(engine, "sleep", "100")
    engine.containers.start(running)
    removed, _ = engine.containers.prune({"label!": ["keep=yes"]})
    assert removed == [gone]
    assert {c["Id"] for c in engine.containers.list(all=True)} == {kept, running}


def test_list_filters(engine: Engine, busybox: str) -> None:
    first = create(engine, "true", name="first", Labels={"colour": "red"})
    second = create(engine, "sh", "-c", "exit 3", name="second")
    engine.containers.start(second)
    engine.containers.wait(second)

    def names(**filters: list[str]) -> list[str]:
        found = engine.containers.list(all=True, filters=filters)
        return [summary["Names"][0] for summary in found]

    assert names() == ["/second", "/first"]
    assert names(label=["colour=red"]) == ["/first"]
    assert names(label=["colour=blue"]) == []
    assert names(status=["exited"]) == ["/second"]
    assert names(exited=["3"]) == ["/second"]
    assert names(name=["^sec"]) == ["/second"]
    assert names(id=[first[:6]]) == ["/first"]
    assert names(before=["second"]) == ["/first"]
    assert names(since=["first"]) == ["/second"]
    assert names(ancestor=["busybox"]) == ["/second", "/first"]
    assert engine.containers.list() == []
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        names(colour=["red"])
