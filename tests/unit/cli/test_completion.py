"""Completion scripts; the one for bash is tried out in bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jubako.cli import completion, help, tree

_DRIVER = """
source "$1"; shift
compgen_words=("$@")
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
jubako() { printf '%s\\n' "one:1" "two"; }
_jubako
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "jubako.bash"
    path.write_text(completion.script("bash"), encoding="utf-8")
    return path


def _complete(script: Path, *words: str, cwd: Path | None = None) -> list[str]:
    found = subprocess.run(
        ["bash", "--norc", "-c", _DRIVER, "bash", str(script), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
    )
    assert found.stderr == ""
    return found.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["jubako", "ru"], ["run"]),
        (["jubako", "imag"], ["image", "images"]),
        (["jubako", "container", "l"], ["list", "logs", "ls"]),
        (["jubako", "completion", ""], ["bash", "fish", "zsh"]),
        (["jubako", "run", "--na"], ["--name"]),
        (["jubako", "run", "-d", "--name", ""], []),
        (["jubako", "--root", "/x", "ren"], ["rename"]),
        (["jubako", "--ro"], ["--root"]),
        (["jubako", "rm", "-f", ""], ["one:1", "two"]),
        (["jubako", "container", "stop", "t"], ["two"]),
        (["jubako", "image", "rm", ""], ["one:1", "two"]),
        (["jubako", "volume", "inspect", ""], ["one:1", "two"]),
        (["jubako", "run", "--cpu-p"], ["--cpu-period"]),
        (["jubako", "nope", ""], []),
    ],
)
def test_bash(bash_script: Path, words: list[str], found: list[str]) -> None:
    assert _complete(bash_script, *words) == found


def test_bash_completes_files(bash_script: Path, tmp_path: Path) -> None:
    (tmp_path / "archive.tar").touch()
    for words in (["load", "-i"], ["image", "save", "--output"], ["import"], ["run", "--env-file"]):
        found = _complete(bash_script, "jubako", *words, "arch", cwd=tmp_path)
        assert found == ["archive.tar"], words


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_and_flag_is_there(shell: str) -> None:
    script = completion.script(shell)
    for path, module in completion.commands():
        assert path in script or path.replace(" ", "_") in script
        for flag in help.visible(help.command(module).flags):
            if not flag.refused:
                assert (f"-l {flag.name}" if shell == "fish" else f"--{flag.name}") in script


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_what_is_refused_is_not_offered(shell: str) -> None:
    script = completion.script(shell)
    assert "use-api-socket" not in script and "cpu-count" not in script


def test_functions_of_zsh_have_one_definition() -> None:
    lines = completion.script("zsh").splitlines()
    names = [line for line in lines if line.endswith("() {")]
    assert len(names) == len(set(names))
    assert set(tree.GROUPS) <= {name.removeprefix("_jubako_")[:-4] for name in names}
