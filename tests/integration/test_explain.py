"""`--explain` tells what was done, all of it, and nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine, Explanation
from jubako.linux import caps, mountinfo, ns
from jubako.linux.explain.chapters import CHAPTERS
from tests.fixtures.engine import Jubako, use_storage_driver

OFF = ("--network", "none")
OFFLINE = {"NetworkMode": "none"}
OPTIONS = (
    *("-m", "64m", "--cpus", "0.5", "--pids-limit", "50", "--cap-drop", "MKNOD"),
    *("--ulimit", "nofile=100:200", "-u", "1000", "--tmpfs", "/scratch", "-v", "vol:/data:ro"),
)

Event = dict[str, Any]


def read(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def told(jubako: Jubako, busybox: str, tmp_path: Path) -> Iterator[tuple[list[Event], int]]:
    """What was told about the start of a container, and the PID of its first process."""
    path = tmp_path / "explanation"
    flags = ("--explain=json", "--explain-file", path)
    jubako.ok("run", "-d", "--name", "box", *flags, *OFF, *OPTIONS, busybox, "sleep", "60")
    yield read(path), int(jubako.ok("inspect", "-f", "{{.State.Pid}}", "box"))
    jubako.ok("rm", "-f", "-v", "box")


def of(events: list[Event], *ops: str, role: str = "init") -> list[Event]:
    return [event for event in events if event["op"] in ops and event["role"] == role]


def container_root(events: list[Event]) -> str:
    """Where the host had the container's root: the first mount that init puts in place."""
    root = of(events, "move_mount")[0]["arguments"]["target"]
    assert isinstance(root, str)
    return root


def test_told_are_the_mounts_that_are_there(told: tuple[list[Event], int]) -> None:
    events, pid = told
    root = container_root(events)
    targets = [event["arguments"]["target"] for event in of(events, "mount", "move_mount")]
    said = {target.removeprefix(root) or "/" for target in targets if target.startswith(root)}
    assert {entry.target for entry in mountinfo.read(pid)} == said


def test_told_are_the_options_of_mounts(told: tuple[list[Event], int]) -> None:
    events, pid = told
    root = container_root(events)
    there = {entry.target: set(entry.options) for entry in mountinfo.read(pid)}
    for event in of(events, "mount"):
        found = re.search(r"-o (\S+)", event["shell"])
        if found is None or not event["arguments"]["fstype"]:
            continue
        path = event["arguments"]["target"].removeprefix(root)
        flags = {"ro", "nosuid", "nodev", "noexec"} & set(found[1].split(","))
        assert flags <= there[path], event
    for event in of(events, "move_mount"):
        if "remount,bind,ro" in event["shell"]:
            assert "ro" in there[event["arguments"]["target"].removeprefix(root)], event


def test_told_are_the_namespaces_that_differ(told: tuple[list[Event], int]) -> None:
    events, pid = told
    said = {
        kind
        for event in events
        if event["op"] in ("unshare", "clone") and event["chapter"] == "isolation"
        for kind in event["arguments"]["namespaces"]
    }
    assert said == {kind for kind in ns.KINDS if ns.inode(pid, kind) != ns.inode("self", kind)}


def test_told_are_the_limits_that_hold(told: tuple[list[Event], int]) -> None:
    events, pid = told
    limits = {
        event["arguments"]["path"]: event["arguments"]["value"]
        for event in of(events, "write", role="monitor")
        if re.search(r"/(memory|pids|cpu)\.", event["arguments"]["path"])
    }
    assert {"67108864", "50"} <= {value.split()[0] for value in limits.values()}
    for path, value in limits.items():
        assert Path(path).read_text().split() == value.split(), path
    members = [
        event["arguments"]["path"]
        for event in of(events, "write")
        if event["arguments"]["path"].endswith(("/tasks", "/cgroup.procs")) and not event["error"]
    ]
    assert members
    for path in members:
        assert str(pid) in Path(path).read_text().split(), path
    (limit,) = of(events, "prlimit")
    assert limit["arguments"] == {"name": "RLIMIT_NOFILE", "soft": 100, "hard": 200}
    limits_text = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"^Max open files +100 +200 ", limits_text, re.MULTILINE)


def test_told_are_the_privileges_that_are_left(told: tuple[list[Event], int]) -> None:
    events, pid = told
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    (bounding,) = of(events, "drop_bounding")
    kept = bounding["arguments"]["kept"]
    assert caps.names(int(status["CapBnd"], 16)) == kept
    assert "CAP_MKNOD" in bounding["arguments"]["dropped"]
    assert status["CapEff"] == "0" * 16 and "begins without any" in of(events, "capset")[-1]["why"]
    assert status["Seccomp"] == "2" and len(of(events, "seccomp")) == 1
    assert of(events, "setuid")[-1]["arguments"] == {"uid": 1000}
    assert status["Uid"].split() == ["1000"] * 4


def test_told_are_the_devices_and_the_name(told: tuple[list[Event], int], jubako: Jubako) -> None:
    events, pid = told
    root = container_root(events)
    made = {Path(event["arguments"]["path"]).name: event for event in of(events, "mknod")}
    there = {
        path.name: path.stat().st_rdev
        for path in Path(f"/proc/{pid}/root/dev").iterdir()
        if path.is_char_device() and not path.is_symlink()
    }
    assert {
        name: os.makedev(event["arguments"]["major"], event["arguments"]["minor"])
        for name, event in made.items()
    } == there
    assert all(event["arguments"]["path"].startswith(root) for event in made.values())
    (name,) = of(events, "sethostname")
    assert name["arguments"]["name"] == jubako.ok("exec", "box", "hostname")


def test_every_event_has_all_fields_and_a_reason(told: tuple[list[Event], int]) -> None:
    events, _pid = told
    fields = set(events[0])
    documented = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text()
    assert fields == set(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE))
    times = [event["time_s"] for event in events]
    assert max(times) - min(times) < 60
    for event in events:
        assert set(event) == fields
        assert event["why"], event
        assert event["chapter"] in CHAPTERS
        assert event["role"] in ("command", "monitor", "init")
        assert event["duration_s"] >= 0
        assert event["shell"].startswith("# ") or shlex.split(event["shell"])
        assert not re.search(r"(?<!/)\bfd \d", event["shell"])  # nobody else knows the number


@pytest.fixture
def overlay_only(root_dir: Path) -> None:
    """Layers as directories: mount(8) of Debian 12 does not know EROFS images without a device."""
    use_storage_driver(root_dir, "overlay")


def test_the_commands_make_the_same_container(
    overlay_only: None, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    """Given to a shell one after the other, with the tools of the distribution."""
    path = tmp_path / "explanation"
    flags = ("--explain=json", "--explain-file", path, "--name", "box")
    command = ("sh", "-c", "hostname; ulimit -n; cut -d' ' -f5,6 /proc/self/mountinfo")
    expected = jubako.ok("run", *flags, *OFF, *OPTIONS, busybox, *command)
    events = read(path)
    before_exec = [
        event for event in events if event["chapter"] != "afterwards" and not event["error"]
    ]
    groups = [
        event["shell"]
        for event in of(before_exec, "mkdir", role="monitor")
        if not Path(event["arguments"]["path"]).exists()
    ]
    limits = [
        event["shell"]
        for event in of(before_exec, "write", role="monitor")
        if event["arguments"]["path"].startswith("/sys/fs/cgroup")
    ]
    outside = [event["shell"] for event in before_exec if event["chapter"] in ("watch", "layers")]
    inside = [
        event["shell"]
        for event in of(
            before_exec,
            *("write", "mount", "mount_setattr", "move_mount", "mknod", "symlink", "sethostname"),
            *("mkdir", "create", "pivot_root", "umount2"),
        )
    ]
    # chroot: a shell that runs on has the tools of the root that it came from
    program = ["ulimit -S -n 100", f"exec chroot . {shlex.join(['/bin/busybox', *command])}"]
    script = tmp_path / "script"
    steps = [*groups, *limits, *[step for step in outside if not step.startswith("unshare")]]
    script.write_text("\n".join(["set -e", *steps, "unshare --mount --uts --ipc --net --pid "
                                 f"--fork sh {script}.inside"]))  # fmt: skip
    root = container_root(events)
    for name in ("upper", "work"):  # as they were before
        shutil.rmtree(Path(root).with_name(name))
        Path(root).with_name(name).mkdir()
    last = [step for step in inside if step.startswith(("cd ", "umount -l ."))]
    first = [step for step in inside if step not in last]
    Path(f"{script}.inside").write_text(
        "\n".join(["set -e", *first, *last[:1], "umount -l .", *program])
    )
    assert last[0] == f"cd {root} && pivot_root . ."
    try:
        done = subprocess.run(
            ["unshare", "--mount", "sh", script], capture_output=True, text=True, timeout=30
        )
    finally:
        for event in events:
            if event["op"] == "rmdir":
                subprocess.run(["sh", "-c", event["shell"]], stderr=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == expected.split("\n")[:2]
    assert sorted(done.stdout.split("\n")[2:]) == sorted([*expected.split("\n")[2:], ""])


# --- when it is told, and to whom -----------------------------------------------------------------

CHAPTER = re.compile(r"^(\S.*?) {2,}[\d.]+ ms, by ", re.MULTILINE)


def titles(text: str) -> list[str]:
    return CHAPTER.findall(text)


def test_start_is_told_before_the_output_and_the_end_after_it(jubako: Jubako, busybox: str) -> None:
    script = "read line; echo out; echo err >&2; exit 3"  # input comes when the start is told
    flags = ("--rm", "-i", "--explain")
    found = jubako("run", *flags, *OFF, busybox, "sh", "-c", script, stdin="\n")
    assert found.status == 3 and found.stdout == "out\n"
    start, end = found.stderr.split("\nerr\n")
    assert titles(start) == [
        CHAPTERS[key].title
        for key in ("watch", "layers", "limits", "isolation", "view", "privileges", "program")
    ]
    assert titles(end) == [CHAPTERS["afterwards"].title]
    assert "ms  exec -a sh /bin/sh -c" in start and "ms  rmdir " in end


def test_only_chapters_that_occur(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "60")
    wanted = {
        ("exec", "box", "true"): ("entering", "limits", "privileges", "program"),
        ("pause", "box"): ("pause",),
        ("unpause", "box"): ("pause",),
        ("stop", "-t", "0", "box"): ("signals", "afterwards"),
        ("rm", "box"): (),
    }
    for (command, *arguments), chapters in wanted.items():
        found = jubako(command, "--explain", *arguments)
        assert found.status == 0, found.stderr
        assert titles(found.stderr) == [CHAPTERS[key].title for key in chapters], command


def test_network_is_told_with_rules_that_nft_takes(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    path = tmp_path / "explanation"
    flags = ("--rm", "--explain=json", "--explain-file", path)
    jubako.ok("run", *flags, "-p", "127.0.0.1::80", busybox, "true")
    shells = [event["shell"] for event in read(path) if event["chapter"] == "network"]
    (table,) = [shell for shell in shells if shell.startswith("nft -f -")]
    checked = subprocess.run(
        ["sh", "-c", table.replace("nft -f -", "nft --check -f -")], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    words = " ".join(shells)
    for part in ("ip link add veth", "ip addr add 172.", "ip route add default", "unshare --net"):
        assert part in words


def test_the_terminal_of_the_container_stays_clean(jubako: Jubako, busybox: str) -> None:
    terminal = jubako.terminal("run", "-it", "--rm", "--explain", *OFF, busybox, "sh")
    assert CHAPTERS["program"].title in terminal.expect("/ # ")
    terminal.send("echo a''b\r")
    terminal.expect("ab\r\n/ # ")
    terminal.send("exit 4\r")
    terminal.expect(CHAPTERS["afterwards"].title)
    assert terminal.wait() == 4


def test_what_fails_is_told_before_the_error(jubako: Jubako, busybox: str) -> None:
    found = jubako("run", "--rm", "--explain", *OFF, busybox, "no-such-program")
    assert found.status == 127
    told, _, error = found.stderr.rpartition("jubako: ")
    assert "no-such-program" in error
    assert titles(told)[-1] == CHAPTERS["afterwards"].title
    assert "exec -a" not in told


def test_nothing_of_it_reaches_the_program(jubako: Jubako, busybox: str) -> None:
    command = ("sh", "-c", "ls /proc/self/fd; env; cat /proc/1/limits; cat /proc/1/status")
    plain = jubako.ok("run", "--rm", "--hostname", "box", *OFF, busybox, *command)
    told = jubako.ok("run", "--rm", "--hostname", "box", "--explain", *OFF, busybox, *command)
    asked = {"JUBAKO_EXPLAIN": "1"}
    by_environment = jubako.ok(
        "run", "--rm", "--hostname", "box", *OFF, busybox, *command, env=asked
    )

    def same(text: str) -> str:
        return re.sub(r"(?m)^(Vm|Rss|Hugetlb|SigQ|\w*ctxt|voluntary|nonvol).*$", "", text)

    assert same(told) == same(plain) == same(by_environment)


def test_a_file_takes_it_and_a_small_file_limit_does_not_matter(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    path = tmp_path / "explanation"
    flags = ("--rm", "--explain-file", path, "--ulimit", "fsize=0:0")
    found = jubako("run", *flags, *OFF, busybox, "echo", "hello")
    assert found == (0, "hello\n", "")
    assert titles(path.read_text())[-1] == CHAPTERS["afterwards"].title
    assert "\033" not in path.read_text()


def test_commands_that_only_look_have_no_such_flag(jubako: Jubako) -> None:
    found = jubako("ps", "--explain")
    assert found.status == 125 and "unknown flag: --explain" in found.stderr
    assert jubako.ok("ps", "-q", env={"JUBAKO_EXPLAIN": "json"}) == ""


def test_a_wrong_format_is_refused(jubako: Jubako) -> None:
    found = jubako("rm", "--explain=yaml", "box")
    assert found.status == 125 and "must be text or json" in found.stderr
    found = jubako("rm", "box", env={"JUBAKO_EXPLAIN": "yaml"})
    assert found.status == 125 and "JUBAKO_EXPLAIN=yaml: must be text or json" in found.stderr


def test_restart_is_told_as_an_end_and_a_start(jubako: Jubako, busybox: str) -> None:
    jubako.ok("run", "-d", "--name", "box", *OFF, busybox, "sleep", "60")
    found = jubako("restart", "--explain", "-t", "0", "box")
    assert found.status == 0, found.stderr
    told = titles(found.stderr)
    assert told[:3] == [CHAPTERS[key].title for key in ("signals", "afterwards", "watch")]
    assert told[-1] == CHAPTERS["program"].title


def test_the_page_shows_what_is_told(overlay_only: None, jubako: Jubako, busybox: str) -> None:
    """Every chapter, sentence and kind of command of docs/explain.md, by its own example."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text()
    options = ("--rm", "--explain", "-m", "64m", "-p", "8080:80", "--hostname", "box")
    found = jubako("run", *options, busybox, "echo", "hello")
    assert (found.status, found.stdout) == (0, "hello\n"), found.stderr
    headings = [line[4:] for line in page.splitlines() if line.startswith("### ")]
    assert headings == titles(found.stderr)
    told = found.stderr.splitlines()
    for line in page.splitlines():
        if line.startswith("            "):
            kind = line.split(" ms  ")[1].split()[:2]
            if "/memory/" in line:
                kind = kind[:1]  # the path is another one with cgroup v2
            assert any(text.split(" ms  ")[-1].split()[: len(kind)] == kind for text in told), line
        elif line.startswith("      "):
            assert line[4:] in told, line


def test_layers_that_are_mounted_from_their_archives(
    root_dir: Path, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> None:
    use_storage_driver(root_dir, "erofs")
    jubako.ok("import", busybox_tar, "busybox:latest")
    path = tmp_path / "explanation"
    flags = ("--rm", "--explain=json", "--explain-file", path)
    jubako.ok("run", *flags, *OFF, "busybox", "true")
    events = [event for event in read(path) if event["chapter"] == "layers"]
    assert {event["role"] for event in events} == {"monitor"} and not any(
        event["error"] for event in events
    )
    (layer,) = root_dir.glob("layers/[!.]*")
    words = f"mount -t erofs -o ro,device={layer}/tar {layer}/index {layer}/tree"
    assert words in [event["shell"] for event in events]
    assert all(event["why"] for event in events)
    assert f"lowerdir={layer}/tree" in next(
        event["shell"] for event in events if event["shell"].startswith("mount -t overlay")
    )


def test_from_python(engine: Engine, busybox: str, capfd: pytest.CaptureFixture[str]) -> None:
    with Explanation() as explanation:
        assert engine.containers.run(busybox, ["echo", "hi"], host_config=OFFLINE) == b"hi\n"
    assert explanation.lost == 0
    assert {event.role for event in explanation.events} == {"monitor", "init"}
    assert titles(explanation.text())[0] == CHAPTERS["watch"].title
    count = len(explanation.events)
    engine.containers.run(busybox, ["true"], host_config=OFFLINE)
    assert len(explanation.events) == count  # it is over
    assert capfd.readouterr() == ("", "")
