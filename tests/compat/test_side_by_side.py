"""The same command lines with a real Docker and with Jubako: exit code, stdout and stderr.

    JUBAKO_TEST_DOCKER='docker -H unix:///run/docker.sock' pytest tests/compat/test_side_by_side.py

The variable says how to call Docker; without it, everything here is skipped.  What is made there
has names of its own and is removed again; what others have there is not touched.  See `scenarios`.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat import scenarios
from tests.compat.scenarios import Group, Line
from tests.fixtures.engine import COMMAND, Jubako, Result

_TIMEOUT_S = 60.0
_SHELL = """\
docker() { command $PROGRAM "$@"; }
eventually() {
    for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
    do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
    return 1
}
"""
_RMI = "docker rmi -f"
_GENERATIONS = 4
_GROUPS = scenarios.groups()


class Side:
    """One of the two programs, as the shell gets to see it."""

    def __init__(self, program: str, environment: dict[str, str]):
        self._environment = {**os.environ, "PROGRAM": program, **environment}

    def start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", "-c", _SHELL + line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=self._environment,
        )

    def finish(self, process: subprocess.Popen[str]) -> Result:
        try:
            stdout, stderr = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            return Result(-1, stdout, f"{stderr}did not end in {_TIMEOUT_S} s\n")
        return Result(process.returncode, stdout, stderr)

    def run(self, line: str) -> Result:
        return self.finish(self.start(line))

    def ok(self, line: str) -> str:
        result = self.run(line)
        assert result.status == 0, f"{line}: {result}"
        return result.stdout


@pytest.fixture(scope="session")
def docker_program() -> str:
    """How to call a real Docker."""
    program = os.environ.get("JUBAKO_TEST_DOCKER")
    if not program:
        pytest.skip("needs a Docker: JUBAKO_TEST_DOCKER is not set (e.g. to `docker`)")
    return program


@pytest.fixture
def sides(
    docker_program: str, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> Iterator[tuple[Side, Side]]:
    """Docker and Jubako, with the same image; all of the group is removed from Docker again."""
    prefix = "side" + "".join(random.choices("ghijklmnopqrstuvwxyz", k=6))
    names = {
        "PREFIX": prefix,
        "IMAGE": f"{prefix}image",
        **{name: prefix + name.lower() for name in "ABCVW"},
    }
    archive = tmp_path / "image.tar"
    made = ["import", "-c", 'CMD ["sh"]', "-c", f"LABEL side={prefix}", str(busybox_tar)]
    jubako.ok(*made, names["IMAGE"])
    jubako.ok("save", "-o", str(archive), names["IMAGE"])
    pair = []
    for name, program, more in (
        ("docker", docker_program, {"DOCKER_CLI_HINTS": "false"}),
        ("jubako", str(COMMAND), jubako.environment),
    ):
        # the same length, so that what is wrapped or padded is so in the same way
        directory = tmp_path / f"dir-{name}"
        directory.mkdir()
        pair.append(Side(program, {**names, **more, "DIR": str(directory)}))
    docker, ours = pair
    docker.ok(f"docker load -i {archive}")
    yield docker, ours
    _clean(docker, prefix)


def _clean(docker: Side, prefix: str) -> None:
    """Remove what the lines of a group have left in Docker; images after those made of them."""
    labelled = f"--filter label=side={prefix}"
    for listing, remove in (
        (f"docker ps -aq {labelled}", "docker rm -fv"),
        (f"docker volume ls -q --filter name={prefix}", "docker volume rm"),
        (f"docker images -aq {labelled}", _RMI),
        (f"docker images -q --filter reference='{prefix}*' --filter reference='{prefix}*/*'", _RMI),
    ):
        for _ in range(_GENERATIONS):
            left = sorted(set(docker.ok(listing).split()))
            if not left:
                break
            result = docker.run(f"{remove} {' '.join(left)}")
        else:
            pytest.fail(f"stays behind: {left}: {result.stderr}")


def _compare(line: Line, docker: Side, jubako: Side) -> str:
    """Run a line on both sides; what differs and should not, or "" ."""
    started = [(side, side.start(line.text)) for side in (docker, jubako)]
    theirs, ours = (side.finish(process) for side, process in started)
    if not line.compared:
        return ""
    directories = [side._environment["DIR"] for side in (docker, jubako)]
    found, report = set(), [f"    {line.text}"]
    for part, one, other in zip(scenarios.PARTS, theirs, ours, strict=True):
        texts = [
            scenarios.normalised(str(value).replace(directory, "<DIR>"))
            for value, directory in zip((one, other), directories, strict=True)
        ]
        if texts[0] != texts[1]:
            found.add(part)
            if part not in line.differs:
                report += [f"        {part} of Docker: {texts[0]!r}"]
                report += [f"        {part} of Jubako: {texts[1]!r}"]
    if line.differs - found:
        report.append(f"        no longer differs in {', '.join(sorted(line.differs - found))}")
    return "\n".join(report) if found != line.differs else ""


@pytest.mark.slow
@pytest.mark.parametrize("group", _GROUPS, ids=lambda group: group.name)
def test_the_same_line_does_the_same(group: Group, sides: tuple[Side, Side]) -> None:
    reports = [_compare(line, *sides) for line in group.lines]
    bad = [report for report in reports if report]
    if bad:
        pytest.fail(f"{len(bad)} of {len(reports)} lines:\n" + "\n".join(bad), pytrace=False)
