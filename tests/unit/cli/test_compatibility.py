"""`docs/compatibility.md` says of everything that Docker has what becomes of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from jubako.cli import compatibility, docker_help

HELP = """\
Usage:  docker container frob [OPTIONS] THING

Frob a thing

Aliases:
  docker container frob, docker frob

Options:
      --add-host list                    Add a custom host-to-IP mapping
                                         (host:ip)
  -a, --attach list                      Attach to STDIN, STDOUT or STDERR
      --cgroupns string                  Cgroup namespace to use (host|private)
                                         'host':    Run the container in
      --help                             Print usage
"""
GROUP = """\
Usage:  docker [OPTIONS] COMMAND

Common Commands:
  run         Create and run a new container from an image

Management Commands:
  buildx*     Docker Buildx

Global Options:
  -D, --debug              Enable debug mode

Run 'docker COMMAND --help' for more information on a command.
"""


def test_nothing_of_docker_is_left_without_an_answer() -> None:
    assert compatibility.problems() == []


def test_the_page_is_current(repository: Path) -> None:
    page = (repository / "docs" / "compatibility.md").read_text()
    assert page == compatibility.render(), "run `python -m jubako.cli.compatibility`"


def test_every_command_and_flag_is_on_the_page() -> None:
    page = compatibility.render()
    for path, command in compatibility.data()["commands"].items():
        assert not path or f"### {path}\n" in page or f"- `{path}`" in page
        for name in (*command["flags"], *command.get("hidden", ())):
            assert name == "help" or re.search(rf"--{name}`", page), f"{path} --{name}"


def test_what_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = compatibility.data()
    known["commands"]["container frob"] = {"aliases": [], "flags": {}}
    known["commands"]["container rename"]["flags"]["backwards"] = ""
    known["commands"]["container kill"]["flags"]["signal"] = "z"
    monkeypatch.setattr(compatibility, "data", lambda: known)
    monkeypatch.setitem(compatibility.FLAGS, ("container kill", "nothing"), "why not")
    monkeypatch.setitem(compatibility.COMMANDS, "container wait", "why not")
    assert sorted(compatibility.problems()) == [
        "`container frob` is not there and has no reason",
        "`container kill --nothing` has a reason here, but is not Docker's",
        "`container kill --signal` has another shorthand",
        "`container rename --backwards` is not there and has no reason",
        "`container wait` is there and has a reason not to be",
    ]


def test_help_pages_are_read() -> None:
    assert docker_help._page(HELP) == {
        "aliases": ["container frob", "frob"],
        "flags": {"add-host": "", "attach": "a", "cgroupns": "", "help": ""},
    }
    assert docker_help._subcommands(GROUP) == ["run", "buildx"]
    assert docker_help._page(GROUP)["flags"] == {"debug": "D"}


def test_the_data_are_those_of_the_client_here() -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("needs Docker's client")
    found = docker_help.read([docker])
    if found["version"] != compatibility.data()["version"]:
        pytest.skip("needs the version of Docker's client that docker.json describes")
    assert found == compatibility.data()
