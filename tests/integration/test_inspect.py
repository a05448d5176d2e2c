"""`inspect` against Docker's, and what makes a container again, run for real.

docker_inspect.json has the keys of a real Docker 26.1 in their order, with the types of their
values: of a container that was only created, and of one that runs with many options.  The settings
of a network are those of Docker 28, which has one more and another order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.engine import Jubako

# As the container of the recorded answer was run.
OPTIONS = (
    *("--health-cmd", "true", "--health-interval", "1s", "--health-start-interval", "1s"),
    *("--health-start-period", "1s", "--init", "--sysctl", "net.ipv4.ip_forward=1"),
    *("--tmpfs", "/t", "--annotation", "a=b", "--stop-signal", "TERM", "--stop-timeout", "3"),
    *("--mac-address", "02:42:ac:11:00:09", "-p", "80", "--expose", "99", "-v", "/anon"),
    *("-v", "named:/d", "--mount", "type=tmpfs,dst=/m,tmpfs-size=1m", "--device", "/dev/null"),
    *("--restart", "always", "--ulimit", "nofile=10:20"),
)


def recorded(state: str) -> Any:
    return json.loads((Path(__file__).parent / "docker_inspect.json").read_text())[state]


def shape(value: Any) -> Any:
    """The keys in their order, and the types of the values."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value[:1]]
    return type(value).__name__


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if list(ours) != list(theirs):
            return [f"{path}: {list(ours)} for {list(theirs)}"]
        return [
            text for key in ours for text in differences(ours[key], theirs[key], f"{path}.{key}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and ours and theirs:
        return differences(ours[0], theirs[0], f"{path}[]")
    return [] if ours == theirs else [f"{path}: {ours} for {theirs}"]


def test_a_created_container_is_shown_as_docker_does(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "box", busybox)
    [shown] = json.loads(jubako.ok("inspect", "box"))
    assert differences(shape(shown), recorded("created")) == []
    for key in ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"):
        assert shown[key] == "", "there from the first start on"


def test_a_running_container_is_shown_as_docker_does(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *OPTIONS, busybox, "sleep", "1000")
    deadline = time.monotonic() + 20
    while True:
        [shown] = json.loads(jubako.ok("inspect", "box"))
        if shown["State"]["Health"]["Log"] or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert differences(shape(shown), recorded("running")) == []
    assert shown["NetworkSettings"]["SandboxID"] and shown["GraphDriver"]["Data"]["LowerDir"]
    for layer in shown["GraphDriver"]["Data"]["LowerDir"].split(":"):
        assert os.path.isdir(layer)


def test_several_objects_and_those_that_are_not_there(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "one", busybox)
    jubako.ok("create", "--name", "two", busybox)
    done = jubako("inspect", "-f", "{{.Name}}", "one", "nope", "two")
    assert (done.status, done.stdout) == (1, "/one\n/two\n")
    assert done.stderr == "jubako: No such object: nope\n"
    done = jubako("inspect", "nope")
    assert (done.status, done.stdout) == (1, "[]\n")
    done = jubako("container", "inspect", "nope", "one", "-f", "{{.Name}}")
    assert (done.status, done.stdout) == (1, "/one\n")
    assert done.stderr == "jubako: No such container: nope\n"
    done = jubako("inspect", "--type", "volume", "one")
    assert done.status == 1 and "no such volume" in done.stderr
    done = jubako("inspect", "--type", "cloud", "one")
    assert done.stderr.startswith('jubako: unknown type: "cloud": must be one of "container"')
    [shown] = json.loads(jubako.ok("inspect", "-s", "one"))
    assert shown["SizeRootFs"] > 1_000_000 and shown["SizeRw"] == 0


def again(jubako: Jubako, words: tuple[str, ...]) -> Any:
    """What a container is, and what the one is that `--as run` makes of it."""
    jubako.ok("create", "--name", "box", *words)
    [first] = json.loads(jubako.ok("inspect", "box"))
    command = jubako.ok("inspect", "--as", "run", "box")
    jubako.ok("rm", "box")
    script = f'jubako() {{ shift; {sys.executable} -m jubako create "$@"; }}\n{command}'
    environment = {**os.environ, **jubako.environment}
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, env=environment)
    [second] = json.loads(jubako.ok("inspect", "box"))
    return first, second


def test_the_command_makes_it_again(jubako: Jubako, busybox: str) -> None:
    first, second = again(jubako, ("-it", "-e", "A=it's $5", *OPTIONS, busybox, "echo", "a b"))
    first["Config"].pop("Hostname"), second["Config"].pop("Hostname")
    for key in ("Config", "HostConfig", "Path", "Args"):
        assert first[key] == second[key]
    assert [point["Destination"] for point in first["Mounts"]] == [
        point["Destination"] for point in second["Mounts"]
    ]


def test_the_program_makes_it_again_and_starts_it(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    jubako.ok(
        *("create", "--name", "box", "--network", "none", "--secret", f"id=s,src={secret}"),
        *("-e", "A=b c", "-m", "64m", busybox, "sh", "-c", 'echo "$A"; cat /run/secrets/s'),
    )
    program = jubako.ok("container", "inspect", "--as", "python", "box")
    jubako.ok("rm", "box")
    environment = {**os.environ, **jubako.environment}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    jubako.ok("wait", "box")
    assert jubako.ok("logs", "box") == "b c\nhidden"
    assert jubako.ok("inspect", "-f", "{{.HostConfig.Memory}}", "box") == "67108864"


def test_what_as_refuses(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "box", busybox)
    for words, message in (
        (("--as", "kube", "box"), "unknown form 'kube': must be one of run, compose, python"),
        (("--as", "run", "-s", "box"), "conflicting options: cannot specify both --as and --size"),
        (("--as", "run", "--type", "image", "box"), "--as is for containers, not for images"),
        (("--as", "run", "nobody"), "No such container: nobody"),
    ):
        done = jubako("inspect", *words)
        assert (done.status, done.stderr) == (1, f"jubako: {message}\n")


@pytest.mark.parametrize("form", ["run", "compose", "python"])
def test_a_plain_container_needs_little(jubako: Jubako, busybox: str, form: str) -> None:
    jubako.ok("create", "--name", "box", busybox)
    text = jubako.ok("inspect", "--as", form, "box")
    assert len(text.splitlines()) < 16 and "MaskedPaths" not in text and "not repr" not in text
