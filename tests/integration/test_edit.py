"""Containers that get another configuration: same ID, same files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from jubako import Conflict, Engine, InvalidArgument
from tests.fixtures.engine import Jubako

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


def make(engine: Engine, image: str, **host: Any) -> str:
    """A container that runs, does nothing, and ends when asked."""
    return engine.containers.run_detached(
        image, SLEEP, name="box", host_config={"NetworkMode": "none", **host}
    )


def inside(engine: Engine, *command: str) -> str:
    """What a command in the container prints."""
    from jubako.containers.streams.collect import collect

    execution = engine.containers.exec("box", command)
    assert execution is not None
    try:
        return collect(execution, None).stdout.decode().strip()
    finally:
        execution.close()


def test_a_stopped_container(engine: Engine, busybox: str) -> None:
    identity = engine.containers.create(
        {"Image": busybox, "Cmd": ["sh", "-c", "echo $A$B; hostname; date >/kept"]},
        {"NetworkMode": "none"},
        name="box",
    )["Id"]
    engine.containers.start("box")
    engine.containers.wait("box")
    done = engine.containers.edit(
        "box",
        {"Env": ["A=1", "B=2"], "Hostname": "other", "Cmd": ["sh", "-c", "echo $A$B; ls /kept"]},
    )
    assert done["Id"] == identity and not done["Restarted"]
    assert {one["Path"] for one in done["Changes"]} == {
        "Config.Env.A",
        "Config.Env.B",
        "Config.Hostname",
        "Config.Cmd",
    }
    shown = engine.containers.inspect(identity)
    assert (shown["Name"], shown["Path"], shown["Args"][-1]) == (
        "/box",
        "sh",
        "echo $A$B; ls /kept",
    )
    engine.containers.start("box")
    engine.containers.wait("box")
    output = b"".join(data for _, data in engine.containers.logs("box"))
    assert output.endswith(b"12\n/kept\n"), "the files are those of before"


def test_a_running_container_gets_limits_and_labels_at_once(engine: Engine, busybox: str) -> None:
    make(engine, busybox)
    pid = engine.containers.inspect("box")["State"]["Pid"]
    done = engine.containers.edit(
        "box",
        {"Labels": {"a": "b"}},
        {"PidsLimit": 50, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}},
    )
    assert not done["Restarted"] and all(one["Live"] for one in done["Changes"])
    shown = engine.containers.inspect("box")
    assert shown["State"]["Pid"] == pid
    assert shown["Config"]["Labels"] == {"a": "b"}
    assert shown["HostConfig"]["PidsLimit"] == 50
    assert shown["HostConfig"]["RestartPolicy"]["Name"] == "on-failure"
    assert "50" in _limits(pid)
    engine.containers.edit("box", {}, {"PidsLimit": 0})
    assert "50" not in _limits(pid) and "max" in _limits(pid)


def _limits(pid: int) -> list[str]:
    """The pids limits of the groups that a process is in."""
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        top = "/sys/fs/cgroup" + (f"/{controllers}" if controllers else "")
        file = Path(f"{top}{path}/pids.max")
        if file.exists():
            found.append(file.read_text().strip())
    return found


def test_limits_that_the_kernel_refuses_are_not_written_down(engine: Engine, busybox: str) -> None:
    make(engine, busybox, Memory=64 << 20)
    command = "head -c 30m /dev/zero >/dev/shm/full"
    engine.containers.exec("box", ["sh", "-c", command], detach=True)
    deadline = time.monotonic() + 20
    while inside(engine, "stat", "-c", "%s", "/dev/shm/full") != str(30 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(Exception, match=".") as caught:
        engine.containers.edit(
            "box",
            {"Labels": {"a": "b"}},
            {"Memory": 8 << 20, "MemorySwap": 8 << 20, "PidsLimit": 9},
        )
    assert "does not start" not in str(caught.value)
    shown = engine.containers.inspect("box")
    assert shown["HostConfig"]["Memory"] == 64 << 20 and shown["Config"]["Labels"] == {}
    assert "9" not in _limits(shown["State"]["Pid"])


def test_the_rest_needs_a_new_start(engine: Engine, busybox: str) -> None:
    identity = make(engine, busybox)
    with pytest.raises(Conflict) as caught:
        engine.containers.edit("box", {"Env": ["A=1"]}, {"PidsLimit": 50})
    assert str(caught.value) == 'cannot change Env of container "/box" while it runs'
    assert "--restart-now" in (caught.value.hint or "")
    assert engine.containers.inspect("box")["HostConfig"]["PidsLimit"] is None, "all or nothing"
    inside(engine, "touch", "/kept")
    done = engine.containers.edit("box", {"Env": ["A=1"]}, restart_now=True)
    assert done["Restarted"] and done["Id"] == identity
    assert inside(engine, "sh", "-c", "echo $A; ls /kept") == "1\n/kept"


def test_a_configuration_that_does_not_start_is_taken_back(engine: Engine, busybox: str) -> None:
    make(engine, busybox, Binds=["data:/data"])
    before = engine.containers.inspect("box")
    with pytest.raises(Conflict) as caught:
        engine.containers.edit(
            "box",
            {"Cmd": ["/no/such/program"], "Volumes": {"/anon": {}}},
            {"Binds": ["other:/data"]},
            restart_now=True,
        )
    text = str(caught.value)
    assert text.startswith("box does not start with the new configuration: ")
    assert "/no/such/program" in text
    assert text.endswith("its old configuration was put back, and it runs again")
    after = engine.containers.inspect("box")
    assert after["State"]["Running"] and after["Id"] == before["Id"]
    for key in ("Config", "HostConfig", "Mounts", "Path", "Args"):
        assert after[key] == before[key]
    names = {volume["Name"] for volume in engine.volumes.list()}
    assert names == {"data", "other"}, "no anonymous volume is left"
    engine.volumes.remove("other")
    with pytest.raises(Conflict):
        engine.volumes.remove("data")


def test_what_can_never_be_is_refused_before_anything_stops(engine: Engine, busybox: str) -> None:
    make(engine, busybox)
    pid = engine.containers.inspect("box")["State"]["Pid"]
    for host in (
        {"Memory": 1},
        {"LogConfig": {"Type": "nonsense"}},
        {"NetworkMode": "container:nobody"},
        {"Runtime": "nonsense"},
        {"RestartPolicy": {"Name": "sometimes"}},
    ):
        with pytest.raises(Exception, match=".") as caught:
            engine.containers.edit("box", {"Env": ["A=1"]}, host, restart_now=True)
        assert "does not start" not in str(caught.value)
    assert engine.containers.inspect("box")["State"]["Pid"] == pid


def test_mounts(engine: Engine, busybox: str, tmp_path: Path) -> None:
    identity = engine.containers.create(
        {"Image": busybox, "Cmd": SLEEP, "Volumes": {"/anon": {}, "/gone": {}}},
        {"NetworkMode": "none", "Binds": ["data:/data", f"{tmp_path}:/bind"]},
        name="box",
    )["Id"]
    kept = {point["Destination"]: point for point in _mounts(engine)}
    done = engine.containers.edit(
        "box",
        host_config={"Binds": ["new:/new", "data:/data:ro"], "Tmpfs": {"/tmpfs": ""}},
        remove={"Mounts": ["/bind", "/gone"]},
    )
    now = {point["Destination"]: point for point in _mounts(engine)}
    assert set(now) == {"/anon", "/data", "/new"}
    assert now["/anon"] == kept["/anon"], "what was not named keeps its volume"
    assert (now["/data"]["Name"], now["/data"]["RW"]) == ("data", False)
    assert done["LeftVolumes"] == [kept["/gone"]["Name"]]
    assert engine.volumes.inspect(kept["/gone"]["Name"]), "kept unless asked"
    engine.volumes.remove(kept["/gone"]["Name"])
    with pytest.raises(Conflict):
        engine.volumes.remove("new")
    with pytest.raises(Conflict):
        engine.volumes.remove(kept["/anon"]["Name"])
    done = engine.containers.edit("box", remove={"Mounts": ["/anon"]}, remove_volumes=True)
    assert done["LeftVolumes"] == [] and not engine.volumes.exists(kept["/anon"]["Name"])
    engine.containers.start(identity)
    assert inside(engine, "sh", "-c", "grep -c tmpfs.*tmpfs /proc/mounts") != "0"


def _mounts(engine: Engine) -> list[Any]:
    found: list[Any] = engine.containers.inspect("box")["Mounts"]
    return found


def test_an_edit_that_is_refused_takes_no_volume(engine: Engine, busybox: str) -> None:
    engine.containers.create(
        {"Image": busybox, "Volumes": {"/anon": {}}}, {"Binds": ["data:/data"]}, name="box"
    )
    before = _mounts(engine)
    with pytest.raises(InvalidArgument):
        engine.containers.edit(
            "box", {"Volumes": {"/more": {}}}, {"Mounts": [{"Type": "bind", "Target": "/x"}]}
        )
    assert _mounts(engine) == before
    assert len(engine.volumes.list()) == 2
    for point in before:
        with pytest.raises(Conflict):
            engine.volumes.remove(point["Name"])


def test_a_container_of_rm_survives_its_edit(engine: Engine, busybox: str) -> None:
    identity = engine.containers.run_detached(
        busybox, SLEEP, name="box", remove=True, host_config={"NetworkMode": "none"}
    )
    engine.containers.edit("box", {"Env": ["A=1"]}, restart_now=True)
    with pytest.raises(Conflict, match="put back, and it runs again"):
        engine.containers.edit("box", {"Cmd": ["/no/such/program"]}, restart_now=True)
    shown = engine.containers.inspect("box")
    assert shown["Id"] == identity and shown["HostConfig"]["AutoRemove"]
    assert shown["State"]["Running"]
    engine.containers.kill("box")
    assert engine.containers.list(all=True) == []


def test_secrets_change_too(jubako: Jubako, busybox: str, root_dir: Path) -> None:
    jubako.ok(
        *("create", "--network", "none", "--name", "box", "--secret", "ONE", busybox),
        *("sh", "-c", "cat /run/secrets/*"),
        env={"ONE": "first"},
    )
    jubako.ok("container", "edit", "--secret", "TWO", "box", env={"TWO": "second"})
    assert jubako.ok("start", "-a", "box") == "firstsecond"
    jubako.ok("container", "edit", "--secret", "ONE", "box", env={"ONE": "anew"})
    jubako.ok("container", "edit", "--rm-secret", "TWO", "box")
    assert jubako.ok("start", "-a", "box") == "anew"
    done = jubako("container", "edit", "--rm-secret", "TWO", "box")
    assert (done.status, done.stderr) == (1, "jubako: the container has no secret TWO\n")


def test_the_command(jubako: Jubako, busybox: str) -> None:
    words = ("create", "--network", "none", "--name", "box", "-e", "A=1", "-v", "/data")
    jubako.ok(*words, "--label", "x=y", "-m", "64m", busybox)
    shown = jubako.ok(
        *("container", "edit", "--dry-run", "-e", "A=2", "--rm-label", "x", "--reset", "Memory"),
        *("--rm-volume", "/data", "-p", "8080:80", "box", "echo", "hello"),
    )
    assert shown.splitlines() == [
        "Config.ExposedPorts.80/tcp: (none) -> true  (needs a new start)",
        'Config.Env.A: "1" -> "2"  (needs a new start)',
        'Config.Cmd: ["sh"] -> ["echo", "hello"]  (needs a new start)',
        "Config.Volumes./data: true -> (none)  (needs a new start)",
        'Config.Labels.x: "y" -> (none)',
        'HostConfig.PortBindings.80/tcp: (none) -> [{"HostIp": "", "HostPort": "8080"}]'
        "  (needs a new start)",
        "HostConfig.Memory: 67108864 -> 0",
        "HostConfig.MemorySwap: 134217728 -> 0",
    ]
    assert jubako.ok("inspect", "-f", "{{.HostConfig.Memory}}", "box") == "67108864"
    done = jubako("container", "edit", "--rm-volume", "/data", "box")
    volume = jubako.ok("volume", "ls", "-q")
    assert (done.status, done.stdout) == (0, "box\n")
    assert done.stderr == f"volume {volume} is not used by the container any more; it was kept\n"
    assert jubako.ok("container", "edit", "--dry-run", "-e", "A=1", "box") == "nothing would change"
    done = jubako("container", "edit", "nobody")
    assert (done.status, done.stderr) == (1, "jubako: No such container: nobody\n")
    done = jubako("container", "edit", "--rm-env", "NOPE", "box")
    assert (done.status, done.stderr) == (1, "jubako: the container has no variable NOPE\n")


def test_an_edit_is_an_event(engine: Engine, busybox: str) -> None:
    engine.containers.create({"Image": busybox}, {}, name="box")
    engine.containers.edit("box", {"Env": ["A=1"]}, {"Memory": 64 << 20})
    rows = engine.store.db.execute("SELECT attributes FROM events WHERE action = 'edit'").fetchall()
    assert [json.loads(row[0])["changed"] for row in rows] == ["Env,Memory,MemorySwap"]


@pytest.mark.parametrize("point", ["edit.mounts", "edit.written", "edit.stopped"])
def test_a_killed_edit_loses_nothing(jubako: Jubako, busybox: str, point: str) -> None:
    words = ("run", "-d", "--network", "none", "--name", "box", "-v", "/anon", busybox, *SLEEP)
    jubako.ok(*words)
    volume = jubako.ok("volume", "ls", "-q")
    jubako.ok("exec", "box", "touch", "/kept", "/anon/kept")
    edit = ("container", "edit", "--restart-now", "-e", "A=1", "-v", "/more", "box")
    assert jubako(*edit, env={"JUBAKO_FAULT": f"containers.{point}"}).status == -9
    jubako.ok("create", busybox)  # sweeps
    jubako.ok(*edit)
    jubako.ok("start", "box")
    assert jubako.ok("exec", "box", "sh", "-c", "ls /kept /anon/kept; echo $A") == (
        "/anon/kept\n/kept\n1"
    )
    assert volume in jubako.ok("volume", "ls", "-q").splitlines()
    assert len(jubako.ok("volume", "ls", "-q").splitlines()) == 2


def test_an_image_that_is_mounted_no_more_can_go(jubako: Jubako, busybox: str) -> None:
    other = jubako.ok("commit", jubako.ok("create", busybox), "other")
    mount = ("--mount", "type=image,src=other,dst=/image")
    jubako.ok("create", "--name", "box", "--network", "none", busybox, "ls", "/image/bin/busybox")
    jubako.ok("container", "edit", *mount, "box")
    assert jubako("rmi", "other").status == 1
    assert jubako.ok("start", "-a", "box") == "/image/bin/busybox"
    jubako.ok("rmi", "-f", "other")
    assert jubako.ok("start", "-a", "box") == "/image/bin/busybox", "kept for the container"
    jubako.ok("container", "edit", "--rm-volume", "/image", "box")
    assert jubako("inspect", other).status == 1
