"""Cgroups: what the kernel makes of them.

Each test runs on this host's own layout, and on its v2 hierarchy alone where it has both.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako.errors import KernelError, Unavailable, Unsupported
from jubako.linux.cgroups import Cgroup, Hierarchy, Layout, detect
from tests.fixtures.leaks import worker_name

MIB = 1 << 20
NULL = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
ZERO = {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
DENY_ALL = {"allow": False, "access": "rwm"}


def _is_hybrid() -> bool:
    try:
        return detect().kind == "hybrid"
    except (KernelError, Unsupported):
        return False


HYBRID = _is_hybrid()


@pytest.fixture(params=["host", "v2 alone"] if HYBRID else ["host"])
def layout(request: pytest.FixtureRequest) -> Layout:
    found = detect()
    if request.param == "host" or found.v2 is None:
        return found
    return Layout([found.v2])


# For what needs controllers that the v2 tree of a hybrid host hardly ever has.
on_host = pytest.mark.parametrize("layout", ["host"], indirect=True)


@pytest.fixture
def group(layout: Layout, request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    parent = f"/jbk-{worker_name()}-linux"
    group = Cgroup(f"{parent}/{os.getpid()}-{abs(hash(request.node.nodeid))}", layout)
    yield group
    group.kill()
    group.remove()
    Cgroup(parent, layout).remove()


def need(group: Cgroup, *controllers: str) -> None:
    for controller in controllers:
        if group.layout.find(controller) is None:
            pytest.skip(f"needs the {controller} controller in this hierarchy")


class Member:
    """A child in the group that runs `function` and reports what it returned."""

    def __init__(self, group: Cgroup, function: Callable[[], Any]):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 77
            try:
                group.join_self()
                os.write(write, b"joined\n")
                os.write(write, repr(function()).encode())
                status = 0
            except OSError as error:
                os.write(write, repr(error.errno).encode())
            finally:
                os._exit(status)
        os.close(write)
        assert os.read(self._read, 7) == b"joined\n"

    def answer(self) -> Any:
        """The result, and the exit status when there was none."""
        with open(self._read) as file:
            text = file.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return eval(text) if text else status

    def wait(self) -> int:
        os.close(self._read)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def sleeper(group: Cgroup) -> Member:
    return Member(group, lambda: time.sleep(60))


def test_a_member_is_listed_and_has_the_path(group: Cgroup) -> None:
    group.create()
    group.create()  # idempotent
    assert group.exists()
    assert group.pids() == []
    member = sleeper(group)
    assert group.pids() == [member.pid]
    paths = [line.rpartition(":")[2] for line in _cgroup_lines(member.pid)]
    expected = len(group.layout.v1) or 1
    assert sum(path == group.path for path in paths) == expected
    group.kill()
    assert member.wait() == -signal.SIGKILL


def _cgroup_lines(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cgroup").read_text().splitlines()


def test_another_process_can_be_moved(group: Cgroup) -> None:
    group.create()
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    group.add(pid)
    assert group.pids() == [pid]
    group.kill()
    os.waitpid(pid, 0)
    with pytest.raises(KernelError) as caught:
        group.add(pid)
    assert caught.value.errno == errno.ESRCH


def test_joining_what_does_not_exist(group: Cgroup) -> None:
    with pytest.raises(KernelError) as caught:
        group.join_self()
    assert caught.value.errno == errno.ENOENT
    assert not group.exists()


def test_freezing_stops_and_thawing_goes_on(group: Cgroup) -> None:
    group.create()
    read, write = os.pipe()
    os.set_blocking(read, False)

    def tick() -> None:
        while True:
            os.write(write, b"x")
            time.sleep(0.001)

    member = Member(group, tick)
    assert not group.frozen()
    group.freeze()
    group.freeze()  # idempotent
    assert group.frozen()
    _drain(read)
    time.sleep(0.02)
    assert _drain(read) == 0
    group.thaw()
    group.thaw()
    assert not group.frozen()
    deadline = time.monotonic() + 5
    while not _drain(read):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    group.kill()
    member.wait()
    os.close(read)
    os.close(write)


def _drain(fd: int) -> int:
    try:
        return len(os.read(fd, 1 << 16))
    except BlockingIOError:
        return 0


def test_a_frozen_group_can_be_killed(group: Cgroup) -> None:
    group.create()
    member = sleeper(group)
    group.freeze()
    group.kill()
    assert member.wait() == -signal.SIGKILL


def test_kill_reaches_groups_below_and_those_who_fork(group: Cgroup) -> None:
    group.create()
    # v2: only leaves have members once controllers are on
    below = [Cgroup(f"{group.path}/{name}", group.layout) for name in ("a", "b/c")]
    for one in below:
        one.create()

    def fork_on() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if os.fork() == 0 and len(group.pids()) > 40:
                signal.pause()

    members = [sleeper(below[0]), Member(below[1], fork_on)]
    deadline = time.monotonic() + 5
    while len(group.pids()) < 10 and time.monotonic() < deadline:
        time.sleep(0.001)
    group.kill(timeout_s=20)
    assert group.pids() == []
    for member in members:
        assert member.wait() == -signal.SIGKILL


def test_another_signal_is_sent_once_to_each(group: Cgroup) -> None:
    group.create()
    members = [sleeper(group), sleeper(group)]
    group.kill(signal.SIGTERM)
    assert [member.wait() for member in members] == [-signal.SIGTERM] * 2


def test_a_group_with_a_member_is_not_removed(group: Cgroup) -> None:
    group.create()
    member = sleeper(group)
    started = time.monotonic()
    with pytest.raises(KernelError) as caught:
        group.remove(timeout_s=0.05)
    assert caught.value.errno == errno.EBUSY
    assert time.monotonic() - started < 3
    group.kill()
    member.wait()


def test_removing_takes_what_the_container_made_and_is_idempotent(group: Cgroup) -> None:
    group.create()
    Cgroup(f"{group.path}/a/b", group.layout).create()
    group.remove()
    assert not group.exists()
    group.remove()


@on_host
def test_the_number_of_processes_is_limited(group: Cgroup) -> None:
    need(group, "pids")
    group.create({"pids": {"limit": 3}})

    def fork_on() -> int:
        for count in range(10):
            try:
                pid = os.fork()
            except BlockingIOError:
                return count
            if pid == 0:
                os.closerange(3, 100)  # the reader waits for the end of the pipe
                signal.pause()
        return -1

    assert Member(group, fork_on).answer() == 2
    assert group.stats()["pids"]["limit"] == 3


@on_host
def test_memory_is_limited_and_the_kill_is_counted(group: Cgroup) -> None:
    need(group, "memory")
    group.create({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    assert group.oom_kills() == 0

    def fill() -> int:
        return len(bytearray(os.urandom(1)) * (96 * MIB))

    assert Member(group, fill).answer() == -signal.SIGKILL
    assert group.oom_kills() == 1
    usage = group.stats()["memory"]["usage"]
    assert usage["limit"] == 24 * MIB
    assert 12 * MIB < usage["max"] <= 24 * MIB


@on_host
def test_memory_limits_go_up_and_down_in_any_order(group: Cgroup) -> None:
    need(group, "memory")
    group.create()
    for limit, swap in ((32, 64), (128, 256), (16, 16), (64, -1), (-1, -1), (32, 48), (-1, 0)):
        sizes = {"limit": limit * MIB if limit > 0 else limit}
        sizes["swap"] = swap * MIB if swap > 0 else swap
        group.apply({"memory": sizes})
        stats = group.stats()["memory"]
        assert stats["usage"]["limit"] == sizes["limit"]
        wanted = -1 if swap <= 0 else sizes["swap"]
        assert stats["swap"]["limit"] in (wanted, 0)


@on_host
def test_less_memory_than_is_in_use(group: Cgroup) -> None:
    need(group, "memory")
    group.create({"memory": {"limit": 256 * MIB, "swap": 256 * MIB}})
    read, write = os.pipe()

    def hold() -> None:
        data = bytearray(os.urandom(MIB)) * 64
        os.write(write, b"x")
        time.sleep(60)
        del data

    member = Member(group, hold)
    os.read(read, 1)
    with pytest.raises(KernelError) as caught:
        group.apply({"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}})
    assert caught.value.errno == errno.EBUSY
    assert group.pids() == [member.pid]
    group.kill()
    member.wait()
    os.close(read)
    os.close(write)


@on_host
def test_processor_time_is_limited(group: Cgroup) -> None:
    need(group, "cpu")
    group.create({"cpu": {"quota": 10_000, "period": 100_000, "shares": 512}})

    def spin() -> float:
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
        return time.process_time()

    assert Member(group, spin).answer() < 0.3
    cpu = group.stats()["cpu"]
    assert cpu["throttling"]["throttledPeriods"] > 0
    assert 0 < cpu["usage"]["total"] < 400_000_000


@on_host
def test_a_quota_for_another_period(group: Cgroup) -> None:
    need(group, "cpu")
    group.create({"cpu": {"quota": 50_000, "period": 100_000}})
    for quota, period in ((1_000, 1_000), (900_000, 1_000_000), (-1, 50_000), (10_000, 20_000)):
        group.apply({"cpu": {"quota": quota, "period": period}})


@on_host
def test_processors_are_chosen(group: Cgroup) -> None:
    need(group, "cpuset")
    group.create({"cpu": {"cpus": "0", "mems": "0"}})
    assert Member(group, lambda: os.sched_getaffinity(0)).answer() == {0}
    with pytest.raises(KernelError) as caught:
        group.apply({"cpu": {"cpus": "4095"}})
    assert "4095" in str(caught.value)


@on_host
def test_a_group_without_a_cpuset_gets_its_parents(group: Cgroup) -> None:
    need(group, "cpuset")
    group.create()
    assert Member(group, lambda: os.sched_getaffinity(0)).answer() == os.sched_getaffinity(0)


def attempts(directory: Path) -> Callable[[], list[int]]:
    """errno of: /dev/null for writing, /dev/zero for reading, for writing, mknod of both."""

    def attempt(call: Callable[[], object]) -> int:
        try:
            result = call()
        except OSError as error:
            return error.errno or -1
        if isinstance(result, int):
            os.close(result)
        return 0

    def probe() -> list[int]:
        return [
            attempt(lambda: os.open("/dev/null", os.O_WRONLY)),
            attempt(lambda: os.open("/dev/zero", os.O_RDONLY)),
            attempt(lambda: os.open("/dev/zero", os.O_WRONLY)),
            attempt(lambda: os.open("/dev/zero", os.O_RDWR)),
            attempt(lambda: os.mknod(directory / "null", 0o20600, os.makedev(1, 3))),
            attempt(lambda: os.mknod(directory / "zero", 0o20600, os.makedev(1, 5))),
        ]

    return probe


EPERM = errno.EPERM
NO_BLOCK = {"allow": False, "type": "b", "major": 7, "minor": None, "access": "rwm"}
ANY_MKNOD = {"allow": True, "type": "c", "major": None, "minor": None, "access": "m"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([DENY_ALL], [EPERM] * 6),
        ([DENY_ALL, NULL], [0, EPERM, EPERM, EPERM, 0, EPERM]),
        ([DENY_ALL, NULL, ANY_MKNOD], [0, EPERM, EPERM, EPERM, 0, 0]),
        ([DENY_ALL, {**ZERO, "access": "r"}], [EPERM, 0, EPERM, EPERM, EPERM, EPERM]),
        (
            [DENY_ALL, {**ZERO, "access": "r"}, {**ZERO, "access": "w"}],
            [EPERM, 0, 0, 0, EPERM, EPERM],
        ),
        ([DENY_ALL, {**ZERO, "minor": -1}], [0, 0, 0, 0, 0, 0]),
        ([DENY_ALL, {"allow": True, "access": "rwm"}], [0] * 6),
        ([{**ZERO, "allow": False, "access": "w"}], [0, 0, EPERM, EPERM, 0, 0]),
        ([NO_BLOCK], [0] * 6),
    ],
)
def test_devices(
    group: Cgroup, tmp_path: Path, rules: list[dict[str, Any]], expected: list[int]
) -> None:
    group.create({"devices": rules})
    assert Member(group, attempts(tmp_path)).answer() == expected


def test_device_rules_are_replaced(group: Cgroup, tmp_path: Path) -> None:
    group.create({"devices": [DENY_ALL, NULL]})
    for rules, expected in (
        ([DENY_ALL, ZERO], [EPERM, 0, 0, 0, EPERM, 0]),
        ([{"allow": True}], [0] * 6),
        ([DENY_ALL, NULL], [0, EPERM, EPERM, EPERM, 0, EPERM]),
    ):
        group.apply({"devices": rules})
        assert Member(group, attempts(tmp_path)).answer() == expected
        for name in ("null", "zero"):
            (tmp_path / name).unlink(missing_ok=True)


def test_a_group_below_cannot_have_more_devices(group: Cgroup, tmp_path: Path) -> None:
    group.create({"devices": [DENY_ALL, NULL]})
    below = Cgroup(f"{group.path}/below", group.layout)
    below.create()
    if group.layout.find("devices") is None:
        below.apply({"devices": [{"allow": True}]})
    expected = [0, EPERM, EPERM, EPERM, 0, EPERM]
    assert Member(below, attempts(tmp_path)).answer() == expected


def test_the_unified_tree_of_a_hybrid_host_is_used_only_when_it_must() -> None:
    layout = detect()
    if layout.kind != "hybrid" or layout.v2 is None:
        pytest.skip("needs a host with cgroup v1 and v2")
    parent = f"/jbk-{worker_name()}-hybrid"
    group = Cgroup(f"{parent}/a", layout)
    unified = Path(layout.v2.path + group.path)
    try:
        group.create({"pids": {"limit": 10}, "devices": [DENY_ALL]})
        assert not unified.exists()
        group.create({"unified": {"cgroup.max.depth": "3"}})
        assert (unified / "cgroup.max.depth").read_text() == "3\n"
        member = sleeper(group)
        assert f"0::{group.path}" in _cgroup_lines(member.pid)
        group.kill()
        member.wait()
    finally:
        group.remove()
        Cgroup(parent, layout).remove()


def test_statistics_of_a_group_that_did_something(group: Cgroup) -> None:
    group.create()

    def work() -> int:
        return sum(range(2_000_000)) and len(bytes(8 * MIB))

    assert Member(group, work).answer() == 8 * MIB
    stats = group.stats()
    assert stats["cpu"]["usage"]["total"] > 0
    if group.layout.find("memory"):
        assert stats["memory"]["usage"]["max"] >= 0
        assert stats["memory"]["raw"]
    if group.layout.find("blkio") or group.layout.find("io"):
        assert set(stats["blkio"]) == {"ioServiceBytesRecursive", "ioServicedRecursive"}


def test_errors_of_a_hierarchy_that_lacks_a_freezer(tmp_path: Path) -> None:
    layout = Layout([Hierarchy(str(tmp_path), 1, ["pids"])])
    with pytest.raises(Unsupported):
        Cgroup("/a", layout).freeze()


def test_freezing_is_bounded(tmp_path: Path) -> None:
    """A tree of plain files never says FROZEN, like a process that cannot be stopped."""
    layout = Layout([Hierarchy(str(tmp_path), 1, ["freezer"])])
    (tmp_path / "a").mkdir()
    (tmp_path / "a/freezer.state").mkdir()
    with pytest.raises(KernelError):
        Cgroup("/a", layout).freeze(timeout_s=0.01)
    (tmp_path / "a/freezer.state").rmdir()
    os.symlink(os.devnull, tmp_path / "a/freezer.state")
    started = time.monotonic()
    with pytest.raises(Unavailable):
        Cgroup("/a", layout).freeze(timeout_s=0.05)
    assert time.monotonic() - started < 5
