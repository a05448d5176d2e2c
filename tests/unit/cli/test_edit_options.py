"""The flags of `container edit`: only what was asked for is a change."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.cli import edit_options
from jubako.cli.commands.container_edit import COMMAND
from jubako.cli.flags import parse
from tests.unit.cli.recorder import Recorder, run

# A value of each kind that the parser takes.
_SAMPLES = {
    "add-host": "a:1.1.1.1",
    "device": "/dev/null",
    "device-cgroup-rule": "c 1:3 rwm",
    "device-read-bps": "/dev/vda:1mb",
    "device-read-iops": "/dev/vda:1",
    "device-write-bps": "/dev/vda:1mb",
    "device-write-iops": "/dev/vda:1",
    "blkio-weight-device": "/dev/vda:100",
    "cgroupns": "host",
    "dns": "1.1.1.1",
    "dns-search": "a.b",
    "expose": "80",
    "gpus": "all",
    "health-interval": "1s",
    "health-start-interval": "1s",
    "health-start-period": "1s",
    "health-timeout": "1s",
    "health-on-failure": "kill",
    "label-file": "/dev/null",
    "env-file": "/dev/null",
    "link": "a:b",
    "mac-address": "02:42:ac:11:00:09",
    "mount": "type=tmpfs,dst=/x",
    "network": "none",
    "pid": "host",
    "publish": "80:80",
    "restart": "always",
    "security-opt": "no-new-privileges",
    "storage-opt": "size=1g",
    "sysctl": "net.ipv4.ip_forward=1",
    "tmpfs": "/t",
    "ulimit": "nofile=1",
    "userns": "host",
    "uts": "host",
    "volume": "v:/v",
}


def keys(*words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return edit_options.build(parse(COMMAND.flags, [*words, "box"], interspersed=False))


def test_no_flag_changes_nothing() -> None:
    assert keys() == ({}, {})


@pytest.mark.parametrize(
    "flag",
    [
        flag
        for flag in COMMAND.flags
        if not flag.refused and not flag.hidden and not flag.name.startswith("rm-")
        if flag.name not in ("dry-run", "reset", "restart-now", "secret")
    ],
    ids=lambda flag: flag.name,
)
def test_a_flag_is_a_change_of_one_thing(flag: Any) -> None:
    if not flag.kind.name:
        words = [f"--{flag.name}"]
    else:
        words = [f"--{flag.name}", _SAMPLES.get(flag.name, "1")]
    config, host = keys(*words)
    changed = [*config, *host]
    if flag.name == "publish":
        assert changed == ["ExposedPorts", "PortBindings"]
    else:
        assert len(changed) == 1, changed


def test_values_that_run_takes_for_granted_can_be_asked_for() -> None:
    assert keys("--tty=false") == ({"Tty": False}, {})
    assert keys("--interactive=false") == ({"OpenStdin": False}, {})
    assert keys("--network", "default") == ({}, {"NetworkMode": "default"})
    assert keys("--entrypoint", "") == ({"Entrypoint": None}, {})
    _, host = keys("--restart", "no")
    assert host["RestartPolicy"]["Name"] == "no"


def test_words_after_the_container_are_its_command() -> None:
    call = parse(COMMAND.flags, ["box", "ls", "-e", "A=1"], interspersed=False)
    assert edit_options.build(call) == ({"Cmd": ["ls", "-e", "A=1"]}, {})


def test_the_engine_is_asked_for_exactly_that() -> None:
    answer = {"Changes": [], "Warnings": ["careful"], "LeftVolumes": ["v1"], "Restarted": True}
    session = Recorder(containers={"edit": answer, "prepare_start": None})
    words = ("--restart-now", "--rm-env", "A", "--rm-publish", "80", "--reset", "Dns")
    assert run(session, "container_edit", *words, "--rm-secret", "s", "--rm-volumes", "box") == 0
    assert session.stdout == "box\n"
    assert session.stderr == (
        "WARNING: careful\nvolume v1 is not used by the container any more; it was kept\n"
    )
    assert session.calls == [
        ("prepare_start", (), {}),
        (
            "edit",
            ("box", {}, {}),
            {
                "remove": {"Env": ["A"], "Labels": [], "Ports": ["80"], "Mounts": []},
                "reset": ["Dns"],
                "secrets": [],
                "remove_secrets": ["s"],
                "restart_now": True,
                "remove_volumes": True,
                "dry_run": False,
            },
        ),
    ]


def test_dry_run_shows_the_difference() -> None:
    changes = [
        {"Path": "HostConfig.Memory", "Old": 0, "New": 1, "Live": True},
        {"Path": "Config.Env.A", "Old": None, "New": "b c", "Live": False},
    ]
    answer: dict[str, Any] = {"Changes": changes, "Warnings": [], "LeftVolumes": []}
    session = Recorder(containers={"edit": answer})
    run(session, "container_edit", "--dry-run", "--restart-now", "box")
    assert session.stdout == (
        'HostConfig.Memory: 0 -> 1\nConfig.Env.A: (none) -> "b c"  (needs a new start)\n'
    )
