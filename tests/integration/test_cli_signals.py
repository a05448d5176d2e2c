"""`--sig-proxy` and `--detach-keys`: what a user's terminal and signals do to a container."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import wait_for

RUN = ("run", "--network", "none", "--name", "box")
TRAPS = (
    "busybox", "sh", "-c",
    "trap 'echo USR1' USR1; trap 'echo INT; exit 5' INT; trap 'exit 6' TERM; echo ready; "
    "while :; do sleep 0.05; done",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("busybox")


def status(jubako: Jubako) -> str:
    return jubako.ok("inspect", "-f", "{{.State.Status}}", "box")


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_signals_go_to_the_container(jubako: Jubako) -> None:
    process = jubako.start(*RUN, *TRAPS)
    ready(process)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == "USR1\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_without_a_proxy_they_end_the_client_alone(jubako: Jubako, number: int) -> None:
    process = jubako.start(*RUN, "--sig-proxy=false", *TRAPS)
    ready(process)
    process.send_signal(number)
    assert process.wait(10) in (130, -number)
    assert status(jubako) == "running"


def test_attach_proxies_too(jubako: Jubako) -> None:
    jubako.ok(*RUN, "-d", *TRAPS)
    for words, code in ((["--sig-proxy=false"], 130), ([], 5)):
        process = jubako.start("attach", *words, "box")
        wait_for(lambda known=code: _attached(jubako) == (1 if known == 130 else 2))
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == code
    assert status(jubako) == "exited"


def _attached(jubako: Jubako) -> int:
    """How often somebody has attached."""
    until = f"{time.time():.9f}"
    shown = jubako.ok("events", "--since", "0", "--until", until, "--filter", "event=attach")
    return len(shown.splitlines())


@pytest.mark.parametrize(
    ("keys", "typed"),
    [("", "\x10\x11"), ("ctrl-a,b", "\x01b"), ("x", "x"), ("ctrl-\\", "\x1c"), ("ctrl-@", "\0")],
)
def test_leaving_a_terminal(jubako: Jubako, keys: str, typed: str) -> None:
    words = ["--detach-keys", keys] if keys else []
    terminal = jubako.terminal(*RUN, "-it", *words, "busybox", "sh", "-c", "echo ready; cat")
    terminal.expect("ready")
    terminal.send(typed)
    assert terminal.wait() == 0
    assert status(jubako) == "running"
    for command in (["attach", *words, "box"], ["exec", "-it", *words, "box", "cat"]):
        terminal = jubako.terminal(*command)
        terminal.send("hello\r")
        terminal.expect("hello\r\n")
        terminal.expect("hello\r\n")  # the terminal's echo, and cat: by now ours is raw
        terminal.send(typed)
        terminal.expect("read escape sequence")
        assert terminal.wait() == 1
    jubako.ok("kill", "box")
    terminal = jubako.terminal("start", "-ai", *words, "box")
    terminal.expect("ready")
    terminal.send(typed)
    assert terminal.wait() == 0
    assert status(jubako) == "running"


def test_a_sequence_that_is_not_completed_is_typed(jubako: Jubako) -> None:
    terminal = jubako.terminal(*RUN, "-it", "--detach-keys", "a,b", "busybox", "cat")
    terminal.send("aa\r")
    terminal.expect("aa\r\naa")
    terminal.send("ab")
    assert terminal.wait() == 0


@pytest.mark.parametrize("keys", ["foo", "ctrl-p,", "CTRL-A", "ctrl-1", ","])
def test_keys_that_are_none(jubako: Jubako, keys: str) -> None:
    message = f"jubako: Invalid detach keys ({keys}) provided\n"
    words = ["--detach-keys", keys]
    result = jubako(*RUN, *words, "busybox", "true")
    assert (result.status, result.stderr) == (1, message)
    assert jubako.ok("ps", "-aq") == ""
    jubako.ok("create", *RUN[1:], "busybox", "true")
    result = jubako("start", "-a", *words, "box")
    assert (result.status, result.stderr, status(jubako)) == (1, message, "created")
