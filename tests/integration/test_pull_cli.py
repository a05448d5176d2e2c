"""`pull`, `run --pull` and `outdated` as users see them, on a terminal and off it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.engine import Jubako, Terminal
from tests.fixtures.registry import Registry
from tests.fixtures.registry_faults import set_header
from tests.integration.pull_tools import layer_of, noise
from tests.integration.registry_images import JSON, Proxy, Repository, proxy_to

MIB = 1 << 20


@pytest.fixture
def repository(registry: Registry, tmp_path: Path) -> Repository:
    """One of the test's own."""
    return Repository(registry, f"cli/{tmp_path.name.replace('_', '-').lower()}")


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with proxy_to(registry) as running:
        yield running


@pytest.fixture
def runnable(repository: Repository, busybox_tar: Path) -> JSON:
    """The image `box` in the registry."""
    return repository.put_image([busybox_tar.read_bytes()], "box")


class Screen:
    """What a terminal shows that got some text: lines, among them those that have scrolled away."""

    def __init__(self, text: str, rows: int, columns: int):
        self.lines = [""]
        self.row = self.column = 0
        self._rows, self._columns = rows, columns
        for part in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+", text):
            self._take(part)

    def _take(self, part: str) -> None:
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self.row += 1
            if self.row == len(self.lines):
                self.lines.append("")
        elif part.endswith("A") and part[0] == "\x1b":
            self.row -= int(part[2:-1])
            top = len(self.lines) - self._rows
            assert self.row >= max(top, 0), "the cursor was sent above the screen"
        elif part == "\x1b[2K":
            self.lines[self.row] = ""
        elif part == "\x1b[J":
            del self.lines[self.row + 1 :]
            self.lines[self.row] = self.lines[self.row][: self.column]
        else:
            assert part[0] != "\x1b", f"not expected: {part!r}"
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
            self.column += len(part)
            assert self.column < self._columns, f"the line wraps: {self.lines[self.row]!r}"


def ended(terminal: Terminal, rows: int, columns: int) -> list[str]:
    """The screen of a command that succeeds."""
    assert terminal.wait(timeout_s=60) == 0, terminal.output
    return [line for line in Screen(terminal.output, rows, columns).lines if line]


def test_plain_output_is_dockers(jubako: Jubako, repository: Repository) -> None:
    put = repository.put_image([layer_of({"a": noise(2 * MIB)})], "latest")
    result = jubako("pull", repository.name)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:2] == ["Using default tag: latest", f"latest: Pulling from {repository.path}"]
    layer = lines[2][:12]
    assert lines[2:] == [
        f"{layer}: Pulling fs layer",
        f"{layer}: Verifying Checksum",
        f"{layer}: Download complete",
        f"{layer}: Pull complete",
        f"Digest: {put['digest']}",
        f"Status: Downloaded newer image for {repository.name}:latest",
        f"{repository.name}:latest",
    ]
    assert jubako.ok("pull", f"{repository.name}:latest").splitlines() == [
        f"latest: Pulling from {repository.path}",
        f"Digest: {put['digest']}",
        f"Status: Image is up to date for {repository.name}:latest",
        f"{repository.name}:latest",
    ]


def test_quiet_and_all_tags(jubako: Jubako, repository: Repository) -> None:
    for tag in ("one", "two"):
        repository.put_image([layer_of({"tag": tag.encode()})], tag)
    assert jubako.ok("pull", "-q", f"{repository.name}:one") == f"{repository.name}:one"
    lines = jubako.ok("image", "pull", "--all-tags", repository.name).splitlines()
    assert [line for line in lines if "Pulling from" in line and line[:3] in ("one", "two")]
    assert lines[-2:] == [
        f"Status: Downloaded newer image for {repository.name}",
        repository.name,
    ]
    names = jubako.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(names) == [f"{repository.name}:one", f"{repository.name}:two"]
    refused = jubako("pull", "-a", f"{repository.name}:one")
    assert (refused.status, refused.stderr) == (
        1,
        "jubako: tag can't be used with --all-tags/-a\n",
    )


def test_errors(jubako: Jubako, repository: Repository) -> None:
    missing = jubako("pull", f"{repository.name}:no")
    assert missing.status == 1
    assert f"manifest for {repository.name}:no not found: manifest unknown" in missing.stderr
    bad = jubako("pull", "upper/Case")
    assert (bad.status, bad.stderr) == (
        1,
        "jubako: invalid reference format: repository name (upper/Case) must be lowercase\n",
    )


def test_dry_run(jubako: Jubako, repository: Repository) -> None:
    put = repository.put_image([layer_of({"a": noise(100_000)}), layer_of({"b": b"1"})], "1")
    name = f"{repository.name}:1"
    lines = jubako.ok("pull", "--dry-run", name).splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["LAYER", "SIZE", "TO FETCH"]
    assert len(lines) == 6
    assert lines[3:5] == [
        f"Digest: {put['digest']}",
        f"Status: Would download newer image for {name}",
    ]
    assert re.fullmatch(r"[\d.]+kB to fetch in 2 of 2 layers, 0B here already", lines[5])
    assert jubako.ok("images", "-q") == ""
    jubako.ok("pull", name)
    assert jubako.ok("pull", "--dry-run", "-q", name).startswith("0B to fetch in 0 of 2 layers, ")


def test_run_pulls_what_is_missing(jubako: Jubako, repository: Repository, runnable: JSON) -> None:
    name = f"{repository.name}:box"
    never = jubako("run", "--rm", "--pull", "never", name, "true")
    assert (never.status, "No such image" in never.stderr) == (125, True)
    result = jubako("run", "--rm", "--network", "none", name, "echo", "hello")
    assert (result.status, result.stdout) == (0, "hello\n")
    lines = result.stderr.splitlines()
    assert lines[:2] == [
        f"Unable to find image '{name}' locally",
        f"box: Pulling from {repository.path}",
    ]
    assert lines[-1] == f"Status: Downloaded newer image for {name}"
    again = jubako("run", "--rm", "--network", "none", name, "true")
    assert (again.status, again.stderr) == (0, "")
    always = jubako("run", "--rm", "--network", "none", "--pull=always", name, "true")
    assert always.stderr.splitlines()[-1] == f"Status: Image is up to date for {name}"


def test_the_age_of_an_image_that_does_not_say_it(
    jubako: Jubako, repository: Repository, runnable: JSON
) -> None:
    name = f"{repository.name}:box"
    jubako.ok("pull", "-q", name)
    layout = "{{.CreatedSince}} {{.CreatedAt}}"
    assert jubako.ok("images", "--format", layout) == "N/A N/A"
    assert jubako.ok("history", "--format", layout, name) == "N/A N/A"
    assert jubako.ok("image", "inspect", "--format", "{{json .Created}}", name) == '""'


def test_create_quietly(jubako: Jubako, repository: Repository, runnable: JSON) -> None:
    result = jubako("create", "-q", f"{repository.name}:box")
    assert (result.status, result.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.stdout)


def test_run_for_another_platform(
    jubako: Jubako, repository: Repository, busybox_tar: Path
) -> None:
    tar = busybox_tar.read_bytes()
    here = repository.put_image([tar])
    there = repository.put_image([tar, layer_of({"arm": b""})], config={"architecture": "arm64"})
    repository.put_index(
        [
            (here, {"architecture": "amd64", "os": "linux"}),
            (there, {"architecture": "arm64", "os": "linux"}),
        ],
        "multi",
    )
    name = f"{repository.name}:multi"
    jubako.ok("pull", "--platform", "linux/amd64", name)
    result = jubako("create", "--platform", "linux/arm64", name)
    assert result.status == 0
    assert result.stderr.splitlines()[0] == f"Unable to find image '{name}' locally"
    assert jubako.ok("image", "inspect", "--format", "{{.Architecture}}", name) == "arm64"


@pytest.mark.parametrize(("command", "status"), [("pull", 1), ("create", 1), ("run", 125)])
def test_an_image_for_another_platform_only(
    jubako: Jubako, repository: Repository, runnable: JSON, command: str, status: int
) -> None:
    name = f"{repository.name}:box"
    result = jubako(command, "--platform", "linux/arm64", name)
    assert result.status == status
    assert (
        f"jubako: image with reference {name} was found but does not match the specified "
        "platform: wanted linux/arm64, actual: linux/amd64"
    ) in result.stderr.splitlines()
    told = result.stdout if command == "pull" else result.stderr
    assert f"Status: Downloaded newer image for {name}" in told.splitlines()
    assert jubako.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == name
    assert jubako.ok("ps", "-aq") == ""


def test_a_terminal(jubako: Jubako, repository: Repository, proxy: Proxy) -> None:
    repository.put_image([layer_of({"a": noise(8 * MIB, n)}) for n in range(3)], "3")
    proxy.stall_after = 4 * MIB
    terminal = jubako.terminal("pull", f"{proxy.host}/{repository.path}:3", rows=24, columns=100)
    assert proxy.stalled.wait(30)
    during = terminal.expect("Downloading [")
    during += terminal.expect("/8.391MB")
    assert re.search(r"[0-9a-f]{12}: Downloading \[=*> *\] +[\d.]+[kM]?B/8.391MB$", during)
    proxy.resume()
    terminal.output = during + terminal.output
    lines = ended(terminal, 24, 100)
    assert [line[12:] for line in lines[-6:-3]] == [": Pull complete"] * 3
    assert lines[-3].startswith("Digest: sha256:")
    assert lines[-2].startswith("Status: Downloaded newer image for ")
    assert not any("layers" in line for line in lines[-6:])


@pytest.mark.parametrize(("rows", "columns"), [(10, 40), (24, 80), (6, 200)])
def test_more_layers_than_lines(
    jubako: Jubako, repository: Repository, rows: int, columns: int
) -> None:
    repository.put_image([layer_of({f"f{n}": noise(50_000, n)}) for n in range(30)], "30")
    name = f"{repository.name}:30"
    # The full name may be longer than the terminal is wide: that line is not ours to cut.
    terminal = jubako.terminal("run", "--rm", name, "x", rows=rows, columns=columns)
    terminal.wait(timeout_s=60)
    block = re.split(r"Digest: ", terminal.output.partition("Pulling from")[2])[0]
    lines = Screen(block.partition("\n")[2], rows, columns).lines
    assert sum(line.endswith(": Pull complete") for line in lines) == 30


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_terminals_that_want_less(
    jubako: Jubako, repository: Repository, environment: dict[str, str]
) -> None:
    repository.put_image([layer_of({"a": noise(MIB)})], "1")
    terminal = jubako.terminal("pull", f"{repository.name}:1", env=environment, columns=200)
    assert terminal.wait(timeout_s=30) == 0
    assert not re.search(r"\x1b\[[\d;]*m", terminal.output)
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in terminal.output


def test_outdated(jubako: Jubako, repository: Repository, busybox: str) -> None:
    for tag in ("current", "old", "lost"):
        repository.put_image([layer_of({"tag": tag.encode()})], tag)
        jubako.ok("pull", "-q", f"{repository.name}:{tag}")
    new = repository.put_image([layer_of({"tag": b"newer"})], "old")
    lost = jubako.ok("image", "inspect", "-f", "{{json .RepoDigests}}", f"{repository.name}:lost")
    repository.delete(json.loads(lost)[0].partition("@")[2])
    result = jubako("outdated")
    assert result.status == 0
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    assert lines[0] == ["NAME", "CURRENT", "NEWEST", "STATE"]
    states = {line[0].rpartition(":")[2]: line[1:] for line in lines[1:]}
    assert states["latest"] == ["<none>", "<none>", "unknown"]  # busybox was never pulled
    assert states["current"][0] == states["current"][1]
    assert states["current"][2] == "up to date"
    assert states["old"][1:] == [new["digest"][7:19], "newer"]
    assert states["lost"][1:] == ["<none>", "gone"]
    assert jubako.ok("outdated", "-q") == f"{repository.name}:old"
    assert jubako.ok("outdated", "-q", f"{repository.name}:current") == ""
    one = json.loads(jubako.ok("outdated", "--format", "json", f"{repository.name}:old"))
    assert (one["State"], one["Name"]) == ("newer", f"{repository.name}:old")
    assert jubako("outdated", "nothing/here").status == 1
    jubako.ok("pull", "-q", f"{repository.name}:old")
    assert jubako.ok("image", "outdated", "-q") == ""


def test_outdated_when_the_registry_is_away(jubako: Jubako, registry: Registry) -> None:
    with proxy_to(registry) as proxy:
        repository = Repository(registry, "cli/away")
        repository.put_image([layer_of({"a": b"1"})], "1")
        name = f"{proxy.host}/cli/away:1"
        jubako.ok("pull", "-q", name)
    result = jubako("outdated")
    assert result.status == 0
    assert re.split(r"\s{2,}", result.stdout.splitlines()[1])[-1] == "unknown"
    assert result.stderr.startswith(f"{name}: ")


def test_quota_and_warnings(jubako: Jubako, bad_registry: BadRegistry) -> None:
    bad_registry.add_image("app", [layer_of({"a": b"1"})])
    name = f"{bad_registry.host}/app"
    bad_registry.on(
        ".*/manifests/",
        set_header("RateLimit-Limit", "100;w=21600"),
        set_header("RateLimit-Remaining", "76;w=21600"),
        set_header("Warning", '299 - "this registry moves"'),
    )
    result = jubako("pull", name)
    assert result.status == 0
    assert result.stderr == f"{bad_registry.host} allows 76 of 100 more pulls in 6h00m\n"
    assert "WARNING: this registry moves" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1] == f"{name}:latest"
    quiet = jubako("pull", "-q", name)
    assert (quiet.stdout, quiet.stderr) == (f"{name}:latest\n", "")
