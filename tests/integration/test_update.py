"""`update`: limits of running and of stopped containers, in the kernel and in the record."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import Conflict, InvalidArgument, KernelError, NotFound
from jubako.linux.cgroups import detect
from tests.fixtures.engine import Jubako

pytestmark = pytest.mark.usefixtures("busybox")

MB = 1 << 20


def start(engine: Engine, name: str = "one", **host: Any) -> str:
    config: Any = {"Image": "busybox", "Cmd": ["sleep", "60"]}
    identity: str = engine.containers.create(config, {"NetworkMode": "none", **host}, name=name)[
        "Id"
    ]
    engine.containers.start(identity)
    return identity


def kernel(jubako: Jubako, *files: str) -> str:
    """The first of the container's cgroup files that is there (v1 or v2)."""
    paths = " ".join(f"/sys/fs/cgroup/{file}" for file in files)
    return jubako.ok("exec", "one", "sh", "-c", f"cat {paths} 2>/dev/null | head -1")


def host_config(engine: Engine, name: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = engine.containers.inspect(name)["HostConfig"]
    return found


def is_v1(controller: str) -> bool:
    hierarchy = detect().find(controller)
    return hierarchy is not None and hierarchy.version == 1


def test_a_running_container(engine: Engine, jubako: Jubako) -> None:
    start(engine, Memory=32 * MB, MemorySwap=64 * MB)
    result = engine.containers.update(
        "one", Memory=48 * MB, MemorySwap=96 * MB, CpuShares=512, NanoCpus=1_500_000_000,
        CpusetCpus="0", PidsLimit=77, MemoryReservation=16 * MB,
    )  # fmt: skip
    assert result == {"Warnings": []}
    memory = ("memory/memory.limit_in_bytes", "memory.max")
    assert kernel(jubako, *memory) == str(48 * MB)
    swap = str(96 * MB) if is_v1("memory") else str(48 * MB)
    assert kernel(jubako, "memory/memory.memsw.limit_in_bytes", "memory.swap.max") == swap
    assert kernel(jubako, "memory/memory.soft_limit_in_bytes", "memory.low") == str(16 * MB)
    assert kernel(jubako, "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "150000"
    assert kernel(jubako, "cpu/cpu.shares", "cpu.weight") in ("512", "20")
    assert kernel(jubako, "cpuset/cpuset.cpus", "cpuset.cpus") == "0"
    assert kernel(jubako, "pids/pids.max", "pids.max") == "77"
    host = host_config(engine)
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (48 * MB, 96 * MB, 77)
    assert (host["CpusetCpus"], host["NanoCpus"]) == ("0", 1_500_000_000)


@pytest.mark.parametrize("steps", [(32, 64), (64, 32), (96, 16)])
def test_memory_and_swap_up_and_down(
    engine: Engine, jubako: Jubako, steps: tuple[int, ...]
) -> None:
    """At every moment the kernel wants the limit of memory below that of the sum."""
    start(engine, Memory=48 * MB, MemorySwap=48 * MB)
    for size in steps:
        engine.containers.update("one", Memory=size * MB, MemorySwap=size * MB)
        found = kernel(jubako, "memory/memory.limit_in_bytes", "memory.max")
        assert found == str(size * MB)
    engine.containers.update("one", MemorySwap=-1)
    found = kernel(jubako, "memory/memory.memsw.limit_in_bytes", "memory.swap.max")
    assert found == "max" or int(found) > 1 << 60
    assert host_config(engine)["MemorySwap"] == -1


def test_a_stopped_container_gets_it_at_its_next_start(engine: Engine, jubako: Jubako) -> None:
    config: Any = {"Image": "busybox", "Cmd": ["sleep", "60"]}
    engine.containers.create(config, {"NetworkMode": "none"}, name="one")
    engine.containers.update("one", PidsLimit=55, RestartPolicy={"Name": "unless-stopped"})
    assert host_config(engine)["RestartPolicy"] == {
        "Name": "unless-stopped",
        "MaximumRetryCount": 0,
    }
    engine.containers.update("one", RestartPolicy={"Name": "no"})
    engine.containers.start("one")
    assert kernel(jubako, "pids/pids.max", "pids.max") == "55"


def test_a_paused_container(engine: Engine, jubako: Jubako) -> None:
    start(engine)
    engine.containers.pause("one")
    engine.containers.update("one", PidsLimit=44)
    engine.containers.unpause("one")
    assert kernel(jubako, "pids/pids.max", "pids.max") == "44"


def test_it_survives_a_restart(engine: Engine, jubako: Jubako) -> None:
    start(engine, PidsLimit=10)
    engine.containers.update("one", PidsLimit=33)
    engine.containers.restart("one", timeout_s=0)
    assert kernel(jubako, "pids/pids.max", "pids.max") == "33"


def test_what_does_not_go_together_changes_nothing(engine: Engine, jubako: Jubako) -> None:
    start(engine, Memory=32 * MB, MemorySwap=64 * MB, NanoCpus=1_000_000_000)
    before = host_config(engine)
    with pytest.raises(
        Conflict, match="^Cannot update container [0-9a-f]{64}: Memory limit should"
    ):
        engine.containers.update("one", Memory=128 * MB, PidsLimit=5)
    with pytest.raises(Conflict, match="CPU Quota cannot be updated as NanoCPUs"):
        engine.containers.update("one", CpuQuota=5000)
    with pytest.raises(InvalidArgument, match="Minimum memory limit allowed is 6MB"):
        engine.containers.update("one", Memory=1 * MB)
    with pytest.raises(NotFound, match="No such container: nope"):
        engine.containers.update("nope", PidsLimit=5)
    assert host_config(engine) == before
    assert kernel(jubako, "pids/pids.max", "pids.max") == "max"


def test_what_the_kernel_refuses_changes_nothing(engine: Engine, jubako: Jubako) -> None:
    """Memory that cannot be given up; what was applied before it is taken back."""
    start(engine, Memory=256 * MB, MemorySwap=256 * MB)
    jubako.ok("exec", "one", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60")
    before = host_config(engine)
    with pytest.raises(KernelError, match="Cannot update container"):
        engine.containers.update("one", Memory=16 * MB, MemorySwap=16 * MB, PidsLimit=5)
    assert host_config(engine) == before
    assert kernel(jubako, "memory/memory.limit_in_bytes", "memory.max") == str(256 * MB)
    assert kernel(jubako, "pids/pids.max", "pids.max") == "max"


def test_a_failure_after_the_kernel_puts_it_back(
    engine: Engine, jubako: Jubako, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jubako.containers import update

    start(engine, PidsLimit=10)

    def full(*args: object) -> None:
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr(update, "_write", full)
    with pytest.raises(sqlite3.OperationalError):
        engine.containers.update("one", PidsLimit=20, CpuShares=300)
    assert kernel(jubako, "pids/pids.max", "pids.max") == "10"
    assert host_config(engine)["PidsLimit"] == 10


def test_the_command(jubako: Jubako, engine: Engine) -> None:
    start(engine, "one")
    start(engine, "two")
    out = jubako.ok("update", "--pids-limit", "20", "--restart", "on-failure:3", "one", "two")
    assert out == "one\ntwo"
    for name in ("one", "two"):
        host = host_config(engine, name)
        assert host["PidsLimit"] == 20
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    result = jubako("container", "update", "--cpu-shares", "7", "one", "nope", "two")
    assert result.status == 1 and result.stdout == "one\ntwo\n"
    assert result.stderr == "jubako: No such container: nope\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one"], "you must provide one or more flags when using this command"),
        ([], "'jubako update' requires at least 1 argument"),
        (["--restart", "foo", "one"], "invalid restart policy: unknown policy 'foo'"),
        (["--restart", "always:x", "one"],
         "invalid restart policy format: maximum retry count must be an integer"),
        (["--restart", ":3", "one"],
         "invalid restart policy format: no policy provided before colon"),
        (["-m", "5m", "one"], "Minimum memory limit allowed is 6MB"),
        (["--cpus", "900", "one"], "Range of CPUs is from 0.01 to "),
        (["--cpuset-cpus", "900", "one"], "Requested CPUs are not available - requested 900"),
    ],
)  # fmt: skip
def test_refused_in_dockers_words(jubako: Jubako, words: list[str], message: str) -> None:
    jubako.ok("create", "--name=one", "busybox", "true")
    result = jubako("update", *words)
    assert result.status == 1 and message in result.stderr


def test_the_restart_policy_and_rm_exclude_each_other(jubako: Jubako) -> None:
    jubako.ok("create", "--rm", "--name=one", "busybox", "true")
    result = jubako("update", "--restart", "always", "one")
    assert result.status == 1 and "because AutoRemove is enabled" in result.stderr
    jubako.ok("update", "--restart", "no", "one")


def test_an_event_tells_of_it(engine: Engine, root_dir: Path) -> None:
    identity = start(engine)
    engine.containers.update("one", PidsLimit=20)
    with pytest.raises(Conflict):
        engine.containers.update("one", Memory=16 * MB)
    with sqlite3.connect(root_dir / "state.db") as db:
        query = "SELECT actor, attributes FROM events WHERE action = 'update'"
        rows = db.execute(query).fetchall()
    db.close()
    assert [row[0] for row in rows] == [identity]
    assert json.loads(rows[0][1])["name"] == "one"
