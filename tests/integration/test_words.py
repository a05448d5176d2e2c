"""Docker's sentences where they are easily lost; all of them are compared in tests/compat."""

from __future__ import annotations

import shlex
import tarfile
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako

PAUSED = [
    ("exec box true", "Container box is paused, unpause the container before exec"),
    ("rm box", 'cannot remove container "/box": container is paused and must be unpaused first'),
    ("stop -s NOPE box", "cannot stop container: box: invalid signal: NOPE"),
    ("restart -s NOPE box", "Cannot restart container box: invalid signal: NOPE"),
    ("kill -s NOPE box", "cannot kill container: box: invalid signal: NOPE"),
    ("kill -s 999 box", "cannot kill container: box: Linux does not support signal 999"),
]
STOPPED = [
    ("kill nosuch", "cannot kill container: nosuch: No such container: nosuch"),
    ("pause box", "container {id} is not running"),
    ("rm --link box", "Conflict, cannot remove the default link name of the container"),
    ("rename nosuch x", "No such container: nosuch\nfailed to rename container named nosuch"),
    ("rename box ''", "Neither old nor new names may be empty"),
    (
        "rename box x",
        "Error when allocating new name: Invalid container name (/x), only "
        "[a-zA-Z0-9][a-zA-Z0-9_.-] are allowed\nfailed to rename container named box",
    ),
    (
        "rename box other",
        'Error when allocating new name: Conflict. The container name "/other" is already in use '
        'by container "{other}". You have to remove (or rename) that container to be able to '
        "reuse that name.\nfailed to rename container named box",
    ),
    ("diff ''", "Container name cannot be empty"),
    ("inspect ''", "invalid container name or ID: value is empty"),
    ("volume rm ''", "invalid volume name or ID: value is empty"),
    ("save nosuch", "No such image: nosuch"),
    (
        "tag busybox UPPER",
        'Error parsing reference: "UPPER" is not a valid repository/tag: invalid reference format: '
        "repository name (library/UPPER) must be lowercase",
    ),
    ("network ls --filter type=x", "invalid filter: 'type'='x'"),
    (
        "network ls --filter dangling=x",
        'invalid value for filter \'dangling\', must be "true" (or "1"), or "false" (or "0")',
    ),
    ("import /nosuch", "open /nosuch: no such file or directory"),
    ("history --platform linux/amd64 busybox", '"--platform" is not supported yet'),
]


def check(jubako: Jubako, line: str, words: str) -> None:
    result = jubako(*shlex.split(line))
    said = [text for text in result.stderr.splitlines() if not text.startswith("hint: ")]
    assert (result.status, said) == (1, [f"jubako: {text}" for text in words.splitlines()]), line


def test_of_a_paused_container(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", "--network", "none", busybox, "sleep", "1000")
    jubako.ok("pause", "box")
    for line, words in PAUSED:
        check(jubako, line, words)


def test_of_a_container_that_does_not_run(jubako: Jubako, busybox: str) -> None:
    identity = jubako.ok("create", "--name", "box", busybox)
    other = jubako.ok("create", "--name", "other", busybox)
    for line, words in STOPPED:
        check(jubako, line, words.replace("{id}", identity).replace("{other}", other))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--net=none", "--pid=container:box"],
            "failed to join PID namespace: container {id} is not running",
        ),
        (
            ["--net=none", "--ipc=container:box"],
            "failed to join IPC namespace: container {id} is not running",
        ),
        (["--network", "container:box"], "cannot join network of a non running container: {id}"),
    ],
)
def test_of_joining_what_does_not_run(
    jubako: Jubako, busybox: str, flags: list[str], words: str
) -> None:
    identity = jubako.ok("create", "--name", "box", "--ipc", "shareable", busybox)
    result = jubako("run", "--rm", *flags, busybox, "true")
    assert result.status == 125
    assert result.stderr.splitlines()[0] == f"jubako: {words.replace('{id}', identity)}"


def test_programs_can_tell_that_they_are_in_a_container(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    script = "test -f /.dockerenv -a ! -s /.dockerenv"
    jubako.ok("run", "--name", "box", "--network", "none", busybox, "sh", "-c", script)
    assert jubako.ok("diff", "box") == ""
    jubako.ok("commit", "box", "committed")
    assert jubako.ok("history", "--format", "{{.Size}}", "committed").splitlines()[0] == "0B"
    jubako.ok("export", "-o", tmp_path / "box.tar", "box")
    with tarfile.open(tmp_path / "box.tar") as tar:
        names = tar.getnames()
    assert ".dockerenv" in names and "." not in names


def test_a_foreign_platform_is_told(jubako: Jubako, busybox_tar: Path) -> None:
    jubako.ok("import", "--platform", "linux/s390x", "-c", "CMD true", busybox_tar, "foreign")
    result = jubako("create", "foreign")
    assert result.status == 0
    assert result.stderr.startswith(
        "WARNING: The requested image's platform (linux/s390x) does not match the detected host "
        "platform (linux/"
    )
    again = jubako("create", "--platform", "linux/s390x", "foreign")
    assert (again.status, again.stderr) == (0, "")
