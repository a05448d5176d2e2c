"""`jubako run` and its kin as a person types them: output, errors, exit codes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako

OFF = ("--network", "none")
EXEC_FAILED = "unable to start container process: exec: "


def test_foreground_keeps_the_streams_apart(jubako: Jubako, busybox: str) -> None:
    script = "echo out; echo err >&2; exit 3"
    found = jubako("run", "--rm", *OFF, busybox, "sh", "-c", script)
    assert found == (3, "out\n", "err\n")
    assert jubako.ok("ps", "-aq") == ""


def test_stdin_reaches_the_program_only_with_i(jubako: Jubako, busybox: str) -> None:
    assert jubako.ok("run", "--rm", "-i", *OFF, busybox, "cat", stdin="hello\n") == "hello"
    assert jubako.ok("run", "--rm", *OFF, busybox, "cat", stdin="hello\n") == ""


def test_attach_chooses_streams(jubako: Jubako, busybox: str) -> None:
    script = "echo out; echo err >&2"
    found = jubako("run", "--rm", "-a", "stderr", *OFF, busybox, "sh", "-c", script)
    assert found == (0, "", "err\n")


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["nope"], 127, f'{EXEC_FAILED}"nope": executable file not found in $PATH'),
        (["/nope"], 127, "no such file or directory"),
        (["/etc/passwd"], 126, f'{EXEC_FAILED}"/etc/passwd": permission denied'),
        (["/etc"], 126, "permission denied"),
        (["sh", "-c", "exit 42"], 42, ""),
    ],
)
def test_exit_codes(jubako: Jubako, busybox: str, argv: list[str], status: int, words: str) -> None:
    found = jubako("run", "--rm", *OFF, busybox, *argv)
    assert found.status == status, found.stderr
    assert words in found.stderr
    if status in (126, 127):
        assert found.stderr.startswith("jubako: ")
        assert found.stderr.endswith("\n\nRun 'jubako run --help' for more information\n")
    assert jubako.ok("ps", "-aq") == ""


def test_engine_failures_of_run_are_125(jubako: Jubako, busybox: str) -> None:
    for words, message in (
        (["-u", "nobody-here"], "unable to find user nobody-here: no matching entries in passwd"),
        (["--network", "nowhere"], "network nowhere not found"),
        (["-m", "1k"], "Minimum memory limit allowed is 6MB"),
        (["--name", "!"], "Invalid container name (!), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    ):
        network = [] if "--network" in words else OFF
        found = jubako("run", "--rm", *network, *words, busybox, "true")
        assert found.status == 125, (words, found)
        assert message in found.stderr
    assert jubako.ok("ps", "-aq") == ""


def test_missing_image(jubako: Jubako) -> None:
    found = jubako("run", "nothing/here")
    assert found.status == 125 and found.stdout == ""
    lines = found.stderr.split("\n")
    assert lines[0] == "Unable to find image 'nothing/here:latest' locally"
    assert "lookup registry-1.docker.io" in lines[1]  # no test reaches the world outside
    found = jubako("run", "-q", "--pull", "never", "nothing/here")
    assert found.stderr.startswith("jubako: No such image: nothing/here:latest\n")
    found = jubako("create", "nothing/here")
    assert found.status == 1 and "Run 'jubako" not in found.stderr
    found = jubako("run", "upper/Case")
    assert found.status == 125
    assert (
        "invalid reference format: repository name (upper/Case) must be lowercase" in found.stderr
    )


def test_names_are_taken_once(jubako: Jubako, busybox: str) -> None:
    first = jubako.ok("create", "--name", "box", busybox)
    found = jubako("run", "--name", "box", *OFF, busybox)
    assert found.status == 125
    assert (
        f'The container name "/box" is already in use by container "{first}". You have to remove '
        "(or rename) that container to be able to reuse that name."
    ) in found.stderr


def test_id_file(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    found = jubako.ok("run", "-d", "--rm", "--cidfile", str(path), *OFF, busybox, "true")
    assert path.read_text() == found and len(found) == 64
    again = jubako("run", "--cidfile", str(path), *OFF, busybox, "true")
    assert again.status == 125
    assert (
        f"container ID file found, make sure the other container isn't running or delete {path}"
        in (again.stderr)
    )
    path.unlink()
    assert jubako("run", "--cidfile", str(path), "nothing").status == 125
    assert not path.exists()


def test_environment_labels_and_files(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=file\nB=two words\nFROM_HERE\n# no\n")
    output = jubako.ok(
        *("run", "--rm", "--env-file", str(tmp_path / "env"), "-e", "A=flag", "-e", "NOT_SET"),
        *(*OFF, busybox, "env"),
        env={"FROM_HERE": "here"},
    )
    lines = output.split("\n")
    assert {"A=flag", "B=two words", "FROM_HERE=here"} <= set(lines)
    assert not any(line.startswith("NOT_SET") for line in lines)
    jubako.ok("create", "--name", "box", "-l", "a=b", "--label", "c", busybox)
    shown = jubako.ok("inspect", "-f", "{{json .Config.Labels}}", "box")
    assert json.loads(shown) == {"a": "b", "c": ""}


def test_terminal(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal("run", "-it", "--rm", *OFF, busybox, "sh", rows=30, columns=100)
    terminal.send("stty size; tty; exit 5\n")
    terminal.expect("30 100")
    terminal.expect("/dev/pts/0")
    assert terminal.wait() == 5


def test_detach_keys(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal(
        *("run", "-it", "--name", "box", "--detach-keys", "ctrl-x,q", *OFF, busybox, "sh")
    )
    terminal.send("echo $((40 + 2))\n")
    terminal.expect("42")
    terminal.send("\x18q")
    assert terminal.wait() == 0
    assert jubako.ok("ps", "--format", "{{.Names}} {{.State}}") == "box running"
    again = jubako.terminal("attach", "box")
    again.send("echo $((6 * 7))\n")
    again.expect("42")
    again.send("\x10\x11")
    again.expect("read escape sequence")
    assert again.wait() == 1  # as Docker's attach
    jubako.ok("rm", "-f", "box")


def test_signals_are_proxied(jubako: Jubako, busybox: str) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    process = jubako.start("run", "--rm", *OFF, busybox, "sh", "-c", script)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (9, "caught\n")


def test_start_attached_and_again(jubako: Jubako, busybox: str) -> None:
    jubako.ok("create", "--name", "box", "-i", *OFF, busybox, "sh", "-c", "cat; exit 4")
    for _ in range(2):
        assert jubako("start", "-ai", "box", stdin="text\n") == (4, "text\n", "")
    found = jubako("start", "box", "nope")
    assert found.status == 1 and found.stdout == "box\n"
    assert found.stderr == (
        "jubako: No such container: nope\njubako: failed to start containers: nope\n"
    )


def test_exec(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "1000")
    assert jubako("exec", "box", "sh", "-c", "echo o; echo e >&2; exit 6") == (6, "o\n", "e\n")
    assert jubako.ok("exec", "-i", "box", "cat", stdin="x") == "x"
    assert (
        jubako.ok("exec", "-e", "A=1", "-w", "/tmp", "box", "sh", "-c", "echo $A; pwd") == "1\n/tmp"
    )
    found = jubako("exec", "box", "nope")
    assert found.status == 127 and 'exec: "nope": executable file not found' in found.stderr
    assert jubako("exec", "box", "/etc").status == 126
    found = jubako("exec", "-it", "box", "sh")
    assert found == (1, "", "jubako: the input device is not a TTY\n")
    terminal = jubako.terminal("exec", "-it", "box", "sh", rows=20, columns=70)
    terminal.send("stty size; exit 3\n")
    terminal.expect("20 70")
    assert terminal.wait() == 3
    found = jubako("exec", "nope", "true")
    assert found == (1, "", "jubako: No such container: nope\n")


def test_logs(jubako: Jubako, busybox: str) -> None:
    script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done"
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sh", "-c", script)
    assert jubako.ok("wait", "box") == "0"
    found = jubako("logs", "box")
    assert found == (0, "out1\nout2\nout3\n", "err1\nerr2\nerr3\n")
    found = jubako("logs", "-n", "2", "box")
    assert (found.stdout + found.stderr).count("\n") == 2
    stamped = jubako("logs", "-t", "box").stdout.split("\n")[0]
    assert stamped.endswith("Z out1") and stamped[:4].isdigit()
    assert jubako("logs", "--since", "1h", "box").stdout == "out1\nout2\nout3\n"
    assert jubako("logs", "--until", "1h", "box") == (0, "", "")


def test_several_containers_stop_side_by_side(jubako: Jubako, busybox: str) -> None:
    names = [f"box{number}" for number in range(3)]
    for name in names:
        jubako.ok("run", "-d", "--name", name, *OFF, busybox, "sleep", "1000")
    started = time.monotonic()
    found = jubako("stop", "-t", "1", *names, "nope")
    assert found.stdout.split() == names
    assert found.status == 1 and found.stderr == "jubako: No such container: nope\n"
    assert time.monotonic() - started < 2.9, "one after the other takes three seconds"
    assert jubako.ok("rm", *names).split() == names


def test_debug_shows_what_the_kernel_was_told(jubako: Jubako, busybox: str) -> None:
    found = jubako("--debug", "run", "--rm", *OFF, busybox, "true")
    assert found.status == 0 and found.stdout == ""
    assert "mount" in found.stderr and " ms  " in found.stderr and "  # " in found.stderr


def test_a_full_reader_ends_us_as_any_other_program(jubako: Jubako, busybox: str) -> None:
    process = jubako.start("run", "--rm", *OFF, busybox, "sh", "-c", "while :; do echo y; done")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)
    assert process.returncode == -signal.SIGPIPE
    for name in jubako.ok("ps", "-q").split():
        jubako.ok("rm", "-f", name)


def test_control_c_at_a_prompt(jubako: Jubako) -> None:
    terminal = jubako.terminal("container", "prune")
    terminal.expect("[y/N] ")
    terminal.send("\x03")
    assert terminal.wait() == 130


def test_paths_that_are_not_utf8(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    directory = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(directory)
    with open(os.path.join(directory, b"file"), "wb") as file:
        file.write(b"inside\n")
    bind = os.fsdecode(directory) + ":/data:ro"
    assert jubako.ok("run", "--rm", "-v", bind, *OFF, busybox, "cat", "/data/file") == "inside"
