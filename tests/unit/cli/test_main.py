"""The command line as a process: errors, exit codes, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = """
_pydatetime aiohttp argparse asyncio click concurrent copy csv dataclasses datetime email
http.client inspect ipaddress logging optparse pathlib pkgutil random rich shutil statistics
subprocess tarfile tempfile textwrap threading typing unittest urllib urllib3 uuid yaml
jubako.cli.completion jubako.cli.help jubako.cli.manual jubako.golang.template jubako.cli.texts
""".split()


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jubako", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **environment},
        check=False,
    )


def _usage(path: str, usage: str) -> str:
    return f"\n\nUsage:  {path} {usage}\n\n"


RUN = _usage("jubako run", "[OPTIONS] IMAGE [COMMAND] [ARG...]")


@pytest.mark.parametrize(
    ("words", "status", "stderr"),
    [
        (
            ["run", "--foo"],
            125,
            f"unknown flag: --foo{RUN}Run 'jubako run --help' for more information\n",
        ),
        (
            ["run"],
            1,
            f"jubako: 'jubako run' requires at least 1 argument{RUN}"
            "See 'jubako run --help' for more information\n",
        ),
        (
            ["container", "run", "-m", "abc", "x"],
            125,
            'invalid argument "abc" for "-m, --memory" flag: invalid size: \'abc\''
            + RUN.replace("jubako run", "jubako container run")
            + "Run 'jubako container run --help' for more information\n",
        ),
        (
            ["run", "--env-file", "/none", "x"],
            125,
            "jubako: open /none: no such file or directory\n\n"
            "Run 'jubako run --help' for more information\n",
        ),
        (
            ["create", "--pid", "x", "x"],
            125,
            "jubako: --pid: invalid PID mode\n\nRun 'jubako create --help' for more information\n",
        ),
        (["run", "-it", "x"], 1, "jubako: the input device is not a TTY\n"),
        (
            ["run", "-d", "-a", "stdout", "x"],
            1,
            "jubako: conflicting options: cannot specify both --attach and --detach\n",
        ),
        (
            ["foo"],
            1,
            "jubako: unknown command: jubako foo\n\nRun 'jubako --help' for more information\n",
        ),
        (
            ["container", "foo"],
            1,
            "jubako: unknown command: jubako container foo\n\nUsage:  jubako container\n\n"
            "Run 'jubako container --help' for more information\n",
        ),
        (
            ["--foo"],
            125,
            "unknown flag: --foo\n\nUsage:  jubako [OPTIONS] COMMAND [ARG...]\n\n"
            "Run 'jubako --help' for more information\n",
        ),
        (
            ["ps", "extra"],
            1,
            "jubako: 'jubako ps' accepts no arguments"
            + _usage("jubako ps", "[OPTIONS]")
            + "Run 'jubako ps --help' for more information\n",
        ),
        (
            ["stop", "--time", "1", "--timeout", "2", "x"],
            1,
            "Flag --time has been deprecated, use --timeout instead\n"
            "jubako: conflicting options: cannot specify both --timeout and --time\n",
        ),
        (
            ["pull", "-a", "x:1"],
            1,
            "jubako: tag can't be used with --all-tags/-a\n",
        ),
        (["help", "foo"], 1, "jubako: unknown help topic: foo\n"),
        (
            ["start", "-a", "x", "y"],
            1,
            "jubako: you cannot start and attach multiple containers at once\n",
        ),
        (
            ["logs", "--since", "never", "x"],
            1,
            'jubako: invalid value for "since": failed to parse value as time or duration: '
            '"never"\n',
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_and_exit_codes(words: list[str], status: int, stderr: str, tmp_path: Path) -> None:
    found = _run(*words, JUBAKO_ROOT=str(tmp_path / "root"))
    assert (found.returncode, found.stderr, found.stdout) == (status, stderr, "")


def test_version_and_help_go_to_stdout() -> None:
    assert _run("-v").stdout.startswith("Jubako version ")
    for words in (["ps", "--help"], ["help", "ps"], ["--debug", "ps", "--help"]):
        found = _run(*words)
        assert found.returncode == 0 and found.stdout.startswith("Usage:  jubako ps")
        assert found.stderr == ""
    found = _run("ps", "-h")
    assert found.stderr == "Flag shorthand -h has been deprecated, use --help\n"


def test_without_a_command_the_help_is_no_result() -> None:
    for words in ([], ["container"]):
        found = _run(*words)
        assert (found.returncode, found.stdout) == (0, "")
        assert found.stderr.startswith("Usage:  jubako")


def test_parsing_run_loads_no_slow_module() -> None:
    program = """
import sys
before = set(sys.modules)
from jubako.cli import flags, main, run_options
from jubako.cli.commands.run import COMMAND
words = "-it --rm -e A=1 -v /a:/b -m 64m --cpus 1.5 --ulimit core=1 --add-host a:1.2.3.4 --name x"
words += " --dns 1.1.1.1 --network none --mount type=tmpfs,dst=/t --sysctl net.a=1 x true"
run_options.build(flags.parse(COMMAND.flags, words.split(), interspersed=False))
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "jubako.cli.commands.run" in loaded
    assert not [name for name in loaded if name in FORBIDDEN or name.partition(".")[0] in FORBIDDEN]
    others = [name for name in loaded if name.startswith("jubako.cli.commands.")]
    assert others == ["jubako.cli.commands.run"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exec", "-e A=1 -u x box true"),
        ("start", "-ai box"),
        ("ps", "-a --filter name=x -q"),
        ("logs", "-f --tail 5 box"),
        ("stop", "-t 5 box"),
        ("rm", "-f box"),
    ],
)
def test_parsing_loads_only_the_command(command: str, words: str) -> None:
    program = f"""
import sys
before = set(sys.modules)
from jubako.cli import flags, main
from jubako.cli.commands.{command} import COMMAND
flags.parse(COMMAND.flags, {words.split()!r}, interspersed=COMMAND.interspersed)
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [name for name in loaded if name in FORBIDDEN or name.partition(".")[0] in FORBIDDEN]
    assert not {"re", "json", "sqlite3", "socket"} & set(loaded)
    others = [name for name in loaded if name.startswith("jubako.cli.commands.")]
    assert others == [f"jubako.cli.commands.{command}"]


def test_broken_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "jubako", "--help"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == -13  # SIGPIPE, as for any other program
    assert stderr == b""


def test_a_bug_is_named_and_debug_shows_where(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys\n"
        "from jubako.cli import main\n"
        "from jubako.cli.commands import ps\n"
        "ps.run = lambda session, call: 1 // 0\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "ps"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stderr.startswith("jubako: internal error: ZeroDivisionError: ")
    found = subprocess.run(
        [sys.executable, "-c", program, "-D", "ps"], capture_output=True, text=True, check=False
    )
    assert "Traceback" in found.stderr


def test_control_c_is_130() -> None:
    program = (
        "import sys\n"
        "from jubako.cli import main\n"
        "from jubako.cli.commands import ps\n"
        "def interrupted(session, call): raise KeyboardInterrupt\n"
        "ps.run = interrupted\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "ps"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (130, "", "")
