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

from jubako.linux import caps, mountinfo, ns
from jubako.linux.explain.chapters import CHAPTERS
from tests.fixtures.engine import Jubako

OFF = ("--network", "none")
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
        assert "fd " not in event["shell"]  # nobody else knows the number


def test_the_commands_make_the_same_container(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
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
