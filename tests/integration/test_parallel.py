"""Many commands at once, on many containers and on one."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fixtures.engine import Jubako, Result
from tests.integration.fault_tools import Traces, status

CONTAINERS = 50
WORKERS = 8
OFF = ("--network", "none")


def together(actions: list[Callable[[], Result]]) -> list[Result]:
    """All of them at the same moment, each in a thread."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], Result]) -> Result:
        barrier.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))


def test_fifty_containers_by_eight_commands(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """None fails, no address and no port is given twice, nothing is left."""

    def run(number: int) -> str:
        ports = ("-p", "80", "-p", f"127.0.0.1:{20000 + number}:81/udp")
        return jubako.ok("run", "-d", "--name", f"box{number}", *ports, busybox, "sleep", "1000")

    with ThreadPoolExecutor(WORKERS) as pool:
        identities = list(pool.map(run, range(CONTAINERS)))
        documents = json.loads(jubako.ok("inspect", *identities))
        networks = [document["NetworkSettings"] for document in documents]
        addresses = Counter(network["IPAddress"] for network in networks)
        assert len(addresses) == CONTAINERS and set(addresses.values()) == {1}
        ports = Counter(
            (key.partition("/")[2], binding["HostIp"], binding["HostPort"])
            for network in networks
            for key, bindings in network["Ports"].items()
            for binding in bindings
        )
        assert len(ports) == 3 * CONTAINERS and set(ports.values()) == {1}
        assert len(jubako.ok("ps", "-q").split()) == CONTAINERS
        removed = list(pool.map(lambda identity: jubako("rm", "-f", identity), identities))
    assert [result for result in removed if result.status] == []
    assert jubako.ok("ps", "-aq") == ""
    traces.assert_none()


def test_short_lives(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """`run --rm` beside one another, from setting up to taking down."""

    def run(number: int) -> str:
        command = ("sh", "-c", f"echo {number}; ip -4 -o address show eth0")
        return jubako.ok("run", "--rm", "-p", "80", "-v", "/anonymous", busybox, *command)

    with ThreadPoolExecutor(WORKERS) as pool:
        outputs = list(pool.map(run, range(24)))
    assert [output.split("\n")[0] for output in outputs] == [str(number) for number in range(24)]
    assert jubako.ok("volume", "ls", "-q") == ""
    traces.assert_none()


def test_one_name_is_given_once(jubako: Jubako, busybox: str, traces: Traces) -> None:
    argv = ("create", "--name", "box", "-v", "/anonymous", busybox, "true")
    found = together([lambda: jubako(*argv)] * WORKERS)
    winners = [result for result in found if not result.status]
    assert len(winners) == 1
    losers = [result.stderr for result in found if result.status]
    words = (
        f'The container name "/box" is already in use by container "{winners[0].stdout.strip()}"'
    )
    assert all(words in text for text in losers), losers
    assert len(jubako.ok("volume", "ls", "-q").split()) == 1
    traces.assert_none()


def test_one_start_wins(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """Starting what runs is no error, as with Docker; but there is only one program."""
    script = "echo begun; sleep 1000"
    jubako.ok("create", "--name", "box", "-p", "8080:80", busybox, "sh", "-c", script)
    found = together([lambda: jubako("start", "box")] * WORKERS)
    assert [result for result in found if result.status] == []
    assert status(jubako, "box") == "running 0"
    assert jubako.ok("logs", "box") == "begun"
    found = together([lambda: jubako("rm", "-f", "box")] * WORKERS)
    # `rm -f` of what is not there says so and succeeds
    assert sorted(result.stdout for result in found)[-1] == "box\n"
    assert sum(result.stdout == "box\n" for result in found) == 1, found
    assert all("No such container: box" in result.stderr for result in found if not result.stdout)
    traces.assert_none()


def test_one_kill_wins(jubako: Jubako, busybox: str, traces: Traces) -> None:
    identity = jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "1000")
    found = together([lambda: jubako("kill", "box")] * WORKERS)
    assert sum(not result.status for result in found) == 1, found
    words = f"cannot kill container: box: container {identity} is not running"
    assert all(words in result.stderr for result in found if result.status), found
    assert status(jubako, "box") == "exited 137"
    found = together([lambda: jubako("rm", "box")] * WORKERS)
    assert sum(not result.status for result in found) == 1, found
    assert all("No such container: box" in result.stderr for result in found if result.status)
    traces.assert_none()


def test_all_transitions_at_once(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """Whatever the order: each command succeeds or says in a sentence what is in its way."""
    create = ("create", "--name", "box", "-p", "8080:80", "-v", "/anonymous", busybox)
    commands: list[tuple[str, ...]] = [
        ("start", "box"),
        ("stop", "-t", "0", "box"),
        ("rm", "-f", "-v", "box"),
        ("kill", "box"),
        ("restart", "-t", "0", "box"),
        ("pause", "box"),
        ("unpause", "box"),
        ("exec", "box", "true"),
    ]
    expected = re.compile(
        r"No such container: \S*box|is not running|is not paused|is already paused|is paused"
        r"|cannot start a paused container|^$"
    )
    for _ in range(3):
        jubako.ok(*create, "sleep", "1000")
        jubako.ok("start", "box")
        found = together([lambda argv=argv: jubako(*argv) for argv in commands])  # type: ignore[misc]
        for argv, result in zip(commands, found, strict=True):
            assert expected.search(result.stderr), (argv, result)
            assert "internal error" not in result.stderr
            assert result.status in (0, 1, 125, 126, 137), (argv, result)
        assert jubako.ok("ps", "-aq") == ""
        traces.assert_none()


def test_looking_while_everything_changes(jubako: Jubako, busybox: str, traces: Traces) -> None:
    """`ps`, `inspect` and `system recover` beside commands that start and remove."""
    done = threading.Event()
    failed: list[Result] = []

    def look() -> None:
        while not done.is_set():
            for argv in (("ps", "-a"), ("ps", "-aq", "--size"), ("system", "recover")):
                result = jubako(*argv)
                if result.status:
                    failed.append(result)

    def live(number: int) -> None:
        for _ in range(3):
            jubako.ok("run", "-d", "--name", f"box{number}", "-p", "80", busybox, "sleep", "1000")
            jubako.ok("rm", "-f", f"box{number}")
            jubako.ok("run", "--rm", "-v", "/anonymous", *OFF, busybox, "true")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for thread in lookers:
        thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(live, range(4)))
    finally:
        done.set()
        for thread in lookers:
            thread.join()
    assert failed == []
    traces.assert_none()


def test_images_come_and_go(jubako: Jubako, busybox: str, traces: Traces, tmp_path: Path) -> None:
    """The same image is loaded, removed, run and pruned at once."""
    archive = str(tmp_path / "archive.tar")
    jubako.ok("save", "-o", archive, busybox)
    commands: list[tuple[str, ...]] = [
        ("load", "-i", archive),
        ("rmi", "-f", busybox),
        ("run", "--rm", *OFF, busybox, "true"),
        ("image", "prune", "-af"),
        ("load", "-i", archive),
        ("import", archive, "other"),
    ]
    for _ in range(3):
        found = together([lambda argv=argv: jubako(*argv) for argv in commands])  # type: ignore[misc]
        for argv, result in zip(commands, found, strict=True):
            if argv[0] in ("load", "import", "image"):
                assert result.status == 0, (argv, result)
            else:
                assert "internal error" not in result.stderr, (argv, result)
    jubako.ok("load", "-i", archive)
    jubako.ok("run", "--rm", *OFF, busybox, "true")
    jubako.ok("system", "recover")  # nobody may collect while others make images
    traces.assert_none()
