"""`stats` and `top`: what containers use, and their processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jubako import Engine
from jubako.cli.commands.stats import cpu_percent, memory_used
from jubako.errors import InvalidArgument, JubakoError, NotFound, WrongState
from tests.fixtures import engine_api
from tests.fixtures.engine import Jubako

NONE: dict[str, Any] = {"NetworkMode": "none"}
HOST_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def start(engine: Engine, busybox: str) -> Iterator[Callable[..., str]]:
    """Starts containers, by name, command and host configuration; their IDs."""
    names = []

    def go(name: str, *command: str, **host: Any) -> str:
        body = {"Image": busybox, "Cmd": list(command or ("sleep", "1000"))}
        made = engine.containers.create(body, {**NONE, **host}, name=name)
        names.append(name)
        engine.containers.start(made["Id"])
        identity: str = made["Id"]
        return identity

    yield go
    for name in names:
        try:
            engine.containers.remove(name, force=True)
        except NotFound:
            continue


def once(engine: Engine, name: str, **options: Any) -> dict[str, Any]:
    (found,) = engine.containers.stats(name, stream=False, **options)
    return found


def eventually(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen: {what}")
        time.sleep(0.01)


# the objects


def test_the_object_is_that_of_the_engine_api(engine: Engine, start: Callable[..., str]) -> None:
    identity = start("box", NetworkMode="bridge", Memory=64 << 20, PidsLimit=50)
    found = once(engine, "box")
    engine_api.check(found, "definitions", "ContainerStatsResponse")
    assert (found["name"], found["id"]) == ("/box", identity)
    assert found["preread"] < found["read"]
    assert found["pids_stats"] == {"current": 1, "limit": 50}
    assert found["memory_stats"]["limit"] == 64 << 20
    assert list(found["networks"]) == ["eth0"]
    engine.containers.stop("box", timeout_s=0)
    stopped = once(engine, "box")
    engine_api.check(
        {key: value for key, value in stopped.items() if key != "blkio_stats"},
        "definitions",
        "ContainerStatsResponse",
    )
    assert stopped["read"] == "0001-01-01T00:00:00Z"
    assert stopped["pids_stats"] == {}


def test_the_object_of_an_exec_is_that_of_the_engine_api(
    engine: Engine, start: Callable[..., str]
) -> None:
    start("box")
    made = engine.containers.exec("box", ["sh", "-c", "exit 3"], user="www-data")
    assert made is not None and made.communicate().status == 3
    path = ("paths", "/exec/{id}/json", "get", "responses", "200", "schema")
    engine_api.check(engine.containers.execs.inspect(made.id), *path)


def test_work_shows_as_cpu_time(engine: Engine, start: Callable[..., str]) -> None:
    start("busy", "sh", "-c", "while :; do :; done")
    start("idle")
    busy, idle = once(engine, "busy"), once(engine, "idle")
    assert 1 < cpu_percent(busy) < 101 * (os.cpu_count() or 1)
    assert cpu_percent(idle) < 1


def test_memory_is_counted_without_the_cache(engine: Engine, start: Callable[..., str]) -> None:
    script = "head -c 30000000 /dev/zero > /file; cat /file > /dev/null; echo > /ready; sleep 1000"
    start("box", "sh", "-c", script)

    def ready() -> bool:
        made = engine.containers.exec("box", ["test", "-e", "/ready"])
        assert made is not None
        return made.communicate().status == 0

    eventually(ready, "the file is in the cache")
    found = once(engine, "box", one_shot=True)
    assert found["memory_stats"]["usage"] > 30_000_000
    assert memory_used(found) < found["memory_stats"]["usage"] - 10_000_000
    assert found["memory_stats"]["limit"] == HOST_MEMORY


def test_networks_of_others_are_not_counted(engine: Engine, start: Callable[..., str]) -> None:
    start("bridged", NetworkMode="bridge")
    start("joined", NetworkMode="container:bridged")
    start("host", NetworkMode="host")
    start("none")
    assert list(once(engine, "joined", one_shot=True)["networks"]) == ["eth0"]
    assert "networks" not in once(engine, "host", one_shot=True)
    assert "networks" not in once(engine, "none", one_shot=True)


def test_a_stream_goes_on_until_the_container_is_removed(
    engine: Engine, start: Callable[..., str]
) -> None:
    start("box")
    stream = engine.containers.stats("box")
    first = next(stream)
    assert first["pids_stats"]["current"] == 1
    second = next(stream)
    assert second["preread"] == first["read"]
    engine.containers.remove("box", force=True)
    assert list(stream) == []
    with pytest.raises(NotFound):
        engine.containers.stats("box")


def test_a_watch_follows_what_starts_and_ends(engine: Engine, start: Callable[..., str]) -> None:
    def seen() -> list[str]:
        return [found["name"] for _, found in watch.round() if found is not None]

    watch = engine.containers.watch()
    try:
        assert seen() == []
        start("one")
        start("two")
        assert seen() == ["/two", "/one"]
        engine.containers.stop("one", timeout_s=0)
        assert seen() == ["/two"]
        engine.containers.start("one")
        assert seen() == ["/two", "/one"]
        for _, found in watch.round():
            assert found is not None and found["pids_stats"]["current"] == 1
    finally:
        watch.close()


def test_chosen_ones_stay(engine: Engine, start: Callable[..., str]) -> None:
    start("one")
    start("two")
    watch = engine.containers.watch(["two", "one"])
    try:
        assert [name for name, _ in watch.round()] == ["two", "one"]
        engine.containers.stop("two", timeout_s=0)
        engine.containers.remove("one", force=True)
        (_, two), (_, one) = watch.round()
        assert two is not None and two["memory_stats"] == {}
        assert one is None
    finally:
        watch.close()


def test_rounds_open_no_files(engine: Engine, start: Callable[..., str]) -> None:
    start("box")
    watch = engine.containers.watch()
    try:
        watch.round()
        before = sorted(os.listdir("/proc/self/fd"))
        watch.round()
        assert sorted(os.listdir("/proc/self/fd")) == before
    finally:
        watch.close()


# the command


def test_the_table(jubako: Jubako, start: Callable[..., str]) -> None:
    identity = start("box")
    header, line = jubako.ok("stats", "--no-stream").splitlines()
    assert header.startswith("CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     ")
    assert header.endswith("NET I/O   BLOCK I/O   PIDS")
    assert line.startswith(f"{identity[:12]}   box       0.0")
    assert line.endswith("   1")
    only = jubako.ok("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", "box")
    assert only == identity
    document = json.loads(jubako.ok("stats", "--no-stream", "--format", "json", "box"))
    assert document["Container"] == "box"
    assert document["PIDs"] == "1"
    assert list(document) == sorted(document)
    table = jubako.ok("stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}", "box")
    assert table == "NAME      PIDS\nbox       1"
    jubako.ok("stop", "-t", "0", "box")
    assert len(jubako.ok("stats", "--no-stream").splitlines()) == 1
    assert " 0B / 0B " in jubako.ok("stats", "--no-stream", "-a").splitlines()[1]
    assert jubako("stats", "--no-stream", "nobody").stderr.endswith("No such container: nobody\n")


def test_the_stream_is_plain_without_a_terminal(jubako: Jubako, start: Callable[..., str]) -> None:
    start("box")
    process = jubako.start("stats")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(4)]
    assert lines[0] == lines[2]
    assert lines[0].startswith("CONTAINER ID")
    assert "\x1b" not in "".join(lines)


def test_the_stream_takes_the_place_of_itself_on_a_terminal(
    jubako: Jubako, start: Callable[..., str]
) -> None:
    start("box")
    terminal = jubako.terminal("stats")
    terminal.expect("\x1b[HCONTAINER ID")
    terminal.expect("\x1b[K\r\n")
    terminal.expect("\x1b[J\x1b[H")
    terminal.send("\x03")
    assert terminal.wait() == 130


# top


def test_top(jubako: Jubako, engine: Engine, start: Callable[..., str]) -> None:
    start("box")
    made = engine.containers.exec("box", ["sleep", "777"], detach=True)
    assert made is None
    lines = jubako.ok("top", "box").splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert [line.split()[-2:] for line in lines[1:]] == [["sleep", "1000"], ["sleep", "777"]]
    found = engine.containers.top("box", ["-o", "pid,args"])
    assert found["Titles"] == ["PID", "COMMAND"]
    assert [row[1] for row in found["Processes"]] == ["sleep 1000", "sleep 777"]
    assert "\\_ sleep 1000" in jubako.ok("top", "box", "-e", "f")
    engine.containers.pause("box")
    assert len(engine.containers.top("box")["Processes"]) == 2


def test_what_top_refuses(engine: Engine, start: Callable[..., str]) -> None:
    start("box")
    top = engine.containers.top
    with pytest.raises(JubakoError, match="Couldn't find PID field in ps output"):
        top("box", ["-o", "comm"])
    with pytest.raises(InvalidArgument, match="^ps: error: unknown gnu long option$"):
        top("box", ["--nonsense"])
    with pytest.raises(InvalidArgument, match='specifying "ppid=PID" is not allowed'):
        top("box", ["-o", "ppid=PID"])
    engine.containers.stop("box", timeout_s=0)
    with pytest.raises(WrongState, match="is not running"):
        top("box")
