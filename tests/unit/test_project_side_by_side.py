"""The command lines to compare with Docker's miss no command and no flag, and no reason is idle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jubako.cli import compatibility, help, tree
from jubako.cli.flags import Command, Flag, HelpRequested, UsageError, parse
from jubako.cli.main import GLOBAL
from tests.compat import scenarios


def test_the_page_is_current(repository: Path) -> None:
    page = (repository / "docs" / "differences.md").read_text()
    assert page == scenarios.page(), "run `python -m tests.compat.scenarios`"


def test_every_difference_has_a_reason_and_every_reason_a_difference() -> None:
    used = {line.reason for group in scenarios.groups() for line in group.lines} - {""}
    assert used == set(scenarios.reasons())


def test_names_of_groups_are_unique() -> None:
    names = [group.name for group in scenarios.groups()]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def given() -> dict[str, set[str]]:
    """By the path of Docker's command: the flags with which it is called in any line."""
    found: dict[str, set[str]] = {}
    canonical = {
        alias: path
        for path, page in compatibility.data()["commands"].items()
        for alias in (path, *page["aliases"])
    }
    for words in _command_lines():
        path, module, rest = tree.find(words)
        if path not in canonical or module is None:
            continue
        flags = found.setdefault(canonical[path], set())
        flags.update(_flags(help.command(module), rest))
    return found


def _command_lines() -> Iterator[list[str]]:
    for group in scenarios.groups():
        for line in group.lines:
            for words in scenarios.commands(line.text):
                try:
                    yield parse(GLOBAL.flags, words, interspersed=False).args
                except (UsageError, HelpRequested):
                    continue


def _flags(command: Command, words: Sequence[str]) -> set[str]:
    """The names of the flags in a command line, whatever their values are."""
    known = [Flag(flag.name, flag.short, flag.kind, parse=str) for flag in command.flags]
    try:
        call = parse(known, words, interspersed=command.interspersed)
    except (UsageError, HelpRequested):
        return set()
    return {flag.name for flag in known if call.given(flag.name)}


def test_every_command_and_flag_is_compared(given: dict[str, set[str]]) -> None:
    missing = []
    for path, page in compatibility.data()["commands"].items():
        ours = compatibility.ours(path)
        if ours is None or not path:
            continue
        names = {*page["flags"], *page.get("hidden", ())} & set(ours)
        missing += [f"{path} --{name}" for name in sorted(names - given.get(path, set()))]
        if path not in given:
            missing.append(path)
    assert missing == []


def test_lines_are_taken_apart_as_the_shell_does() -> None:
    line = "echo docker | docker -D ps -q; sed x $(docker images -q $IMAGE) 'docker rm'"
    assert list(scenarios.commands(line)) == [["-D", "ps", "-q"], ["images", "-q", "$IMAGE"]]
