"""The documents say what is there: dependencies, commands, files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md")])
_OPTIONS_WITH_VALUE = {"--root"}


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split(r"[<>=~! ;\[]", requirement)[0]
        for requirement in [
            *project["dependencies"],
            *project["optional-dependencies"]["dev"],
            *tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"],
        ]
    }
    packages = (REPOSITORY / "scripts" / "packages").read_text()
    for block in re.findall(r"^(?:run|test)='\n(.*?)'", packages, re.DOTALL | re.MULTILINE):
        wanted.update(block.split())
    table = (REPOSITORY / "docs" / "dependencies.md").read_text()
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == wanted


def code_blocks(document: Path, language: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.DOTALL | re.M)
    return "\n".join(blocks)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^make (\w+)|`make (\w+)", document.read_text(), re.MULTILINE)
    assert {first or second for first, second in named} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    """Every `jubako COMMAND` of a shell block has a help text, and its long options are in it."""
    for line in code_blocks(document, "sh").splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] not in ("jubako", "jubako-runtime"):
            continue
        command: list[str] = []
        for word in words[1:]:
            if not re.fullmatch(r"[a-z-]+", word) or len(command) == 2 or word.startswith("-"):
                break
            command.append(word)
        for path in (command, command[:1]):  # `volume ls`, else `run` with the image `debian`
            done = _help(words[0], path)
            if done.returncode == 0:
                break
        assert done.returncode == 0, f"{line}: {done.stderr}"
        for option in re.findall(r"(?<= )--[a-z-]+", line.split(" -- ")[0]):
            if option not in _OPTIONS_WITH_VALUE and words[0] == "jubako":
                assert option in done.stdout, f"{line}: {option} is not in the help text"


def _help(program: str, path: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(program), *path, "--help"], capture_output=True, text=True
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_paths_named_in_the_architecture_exist() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    for path in re.findall(r"`((?:src|tests|bench|docs|scripts)/[^`]*)`", text):
        assert (REPOSITORY / path).exists(), f"docs/architecture.md names {path}"


def test_scripts_are_executable() -> None:
    for path in ("scripts/demo", "scripts/packages", "scripts/setup", "bench/compare", ".ci/run"):
        assert os.access(REPOSITORY / path, os.X_OK), path
