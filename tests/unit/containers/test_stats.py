"""The arithmetic of statistics, and what is read from files that stand in for the kernel's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jubako.cli.commands.stats import cpu_percent, memory_used
from jubako.containers.stats import System, _blkio, _cpu, _memory, _networks, nothing
from jubako.linux.cgroups import Cgroup, cpu, detect, memory
from jubako.linux.cgroups.kept import KeptFiles

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0
  eth0:     736      10    1    2    0     0          0         0       42       3    4    5    0
"""


def document(used: int, system: int, cpus: int = 2) -> dict[str, Any]:
    return {
        "cpu_usage": {"total_usage": used},
        "system_cpu_usage": system,
        "online_cpus": cpus,
    }


def test_cpu_percent() -> None:
    before = document(1_000, 1_000_000)
    after = document(251_000, 2_000_000)
    assert cpu_percent({"cpu_stats": after, "precpu_stats": before}) == 50.0
    assert cpu_percent({"cpu_stats": before, "precpu_stats": before}) == 0.0
    assert cpu_percent({"cpu_stats": before, "precpu_stats": after}) == 0.0
    assert cpu_percent(nothing("id", "name")) == 0.0


def test_memory_used() -> None:
    def used(usage: int, **raw: int) -> int:
        return memory_used({"memory_stats": {"usage": usage, "stats": raw}})

    assert used(100, inactive_file=40) == 60
    assert used(100, total_inactive_file=30, inactive_file=0) == 70
    assert used(100, inactive_file=100) == 100
    assert used(100) == 100
    assert memory_used({"memory_stats": {}}) == 0


def test_networks() -> None:
    assert _networks(NET_DEV) == {
        "eth0": {
            "rx_bytes": 736,
            "rx_packets": 10,
            "rx_errors": 1,
            "rx_dropped": 2,
            "tx_bytes": 42,
            "tx_packets": 3,
            "tx_errors": 4,
            "tx_dropped": 5,
        }
    }
    assert _networks("") == {}


def test_the_clock_of_the_machine() -> None:
    system = System()
    try:
        before = system.cpu_ns
        system.read()
        assert system.cpu_ns >= before > 0
        assert system.cpus == os.cpu_count()
    finally:
        system.close()


def fake_v2(tmp_path: Path) -> Cgroup:
    group = tmp_path / "sys/fs/cgroup/box"
    group.mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory pids io\n")
    for name, text in (
        ("cpu.stat", "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 7\n"),
        ("memory.current", "5000\n"),
        ("memory.max", "max\n"),
        ("memory.stat", "anon 1000\ninactive_file 2000\n"),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        ("io.stat", "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2\n"),
    ):
        (group / name).write_text(text)
    mountinfo = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    return Cgroup("/box", detect(mountinfo, str(tmp_path)))


def test_version_2(tmp_path: Path) -> None:
    """As Docker shows it there: no single processors, no failcnt, lower-case operations."""
    kept, system = KeptFiles(), System()
    try:
        usage = fake_v2(tmp_path).stats(kept.find)
        shown = _cpu(usage["cpu"], system, percpu=False)
        assert shown["cpu_usage"] == {
            "total_usage": 5_000_000,
            "usage_in_kernelmode": 2_000_000,
            "usage_in_usermode": 3_000_000,
        }
        assert shown["throttling_data"]["periods"] == 7
        assert _memory(usage["memory"], system, "v2") == {
            "usage": 5000,
            "stats": {"anon": 1000, "inactive_file": 2000},
            "limit": system.memory_bytes,
        }
        blocks = _blkio(usage["blkio"], "v2")
        assert blocks["io_service_bytes_recursive"] == [
            {"major": 254, "minor": 0, "op": "read", "value": 4096},
            {"major": 254, "minor": 0, "op": "write", "value": 8192},
        ]
        assert blocks["io_serviced_recursive"] is None
        assert usage["pids"] == {"current": 3, "limit": 0}
    finally:
        kept.close()
        system.close()


def test_version_1(tmp_path: Path) -> None:
    for name, text in (
        ("cpuacct.usage", "9000\n"),
        ("cpuacct.usage_percpu", "4000 5000 \n"),
        ("cpuacct.stat", "user 1\nsystem 2\n"),
        ("memory.usage_in_bytes", "5000\n"),
        ("memory.max_usage_in_bytes", "6000\n"),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.failcnt", "4\n"),
        ("memory.stat", "cache 10\ntotal_inactive_file 20\n"),
    ):
        (tmp_path / name).write_text(text)
    kept, system = KeptFiles(), System()
    path = str(tmp_path)
    try:
        shown = _cpu(cpu.stats_v1("", path, kept.find), system, percpu=True)
        assert shown["cpu_usage"]["percpu_usage"] == [4000, 5000]
        assert shown["cpu_usage"]["usage_in_kernelmode"] == 20_000_000
        assert _memory(memory.stats_v1(path, kept.find), system, "v1") == {
            "usage": 5000,
            "max_usage": 6000,
            "stats": {"cache": 10, "total_inactive_file": 20},
            "failcnt": 4,
            "limit": system.memory_bytes,
        }
    finally:
        kept.close()
        system.close()


def test_kept_files_are_read_anew_and_may_be_missing(tmp_path: Path) -> None:
    kept = KeptFiles()
    path = tmp_path / "file"
    try:
        assert kept.find(str(tmp_path / "none")) is None
        path.write_text("one")
        assert kept.find(str(path)) == "one"
        path.write_text("two")
        assert kept.find(str(path)) == "two"
        kept.close()
        path.unlink()
        assert kept.find(str(path)) is None
    finally:
        kept.close()
