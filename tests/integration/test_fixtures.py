"""The fixtures themselves: the check for leaks sees each kind of leak and takes it away."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako
from tests.fixtures.leaks import Leaks, worker_name
from tests.fixtures.outside import Outside


def settled(before: Leaks) -> list[str]:
    """What is new once the processes that were killed have gone."""
    deadline = time.monotonic() + 5
    while (new := before.new()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return new


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        ("mount -t tmpfs leak {tmp}", "mount {tmp} (tmpfs)"),
        ("ip link add leak0 type bridge", "link leak0"),
        ("nft add table ip leak", "nftables table ip leak"),
        ("mkdir /run/jubako/leak", "directory /run/jubako/leak"),
        ("mkdir {cgroup}", "cgroup {cgroup}"),
        ("exec sleep 1000 >/dev/null 2>&1 &", "process "),
    ],
    ids=["mount", "link", "table", "directory", "cgroup", "process"],
)
def test_leak_is_seen_and_taken_away(make: str, seen: str, tmp_path: Path) -> None:
    hierarchy = Path("/sys/fs/cgroup")
    if not (hierarchy / "cgroup.procs").exists():  # version 1: one directory for each controller
        hierarchy = hierarchy / "pids"
    words = {"tmp": tmp_path, "cgroup": hierarchy / f"jbk-{worker_name()}-leak"}
    before = Leaks()
    subprocess.run(make.format(**words), shell=True, check=True)
    (line,) = before.new()
    assert line.startswith(seen.format(**words))
    before.clean()
    assert settled(before) == []


def test_descriptor_leak_is_seen() -> None:
    before = Leaks()
    fd = os.open(os.devnull, os.O_RDONLY)
    assert before.new() == [f"descriptor {fd} of the test process: {os.devnull}"]
    os.close(fd)
    assert before.new() == []


def test_outside_reaches_the_engine_and_nothing_else_does(outside: Outside) -> None:
    with socket.create_server((outside.engine_address, 7000)) as server:
        with outside.connect(outside.engine_address, 7000) as client:
            connection, address = server.accept()
            assert address[0] == outside.address
            connection.close()
            assert client.recv(1) == b""
    assert "eth0" in outside.run("ip", "-brief", "link")
    assert {name for _, name in socket.if_nameindex()} == {"lo", outside.link}


def test_command_that_hangs_is_killed(jubako: Jubako) -> None:
    with pytest.raises(pytest.fail.Exception, match="did not end in 0.2 s"):
        read, write = os.pipe()
        try:
            jubako("load", stdin=read, timeout_s=0.2)
        finally:
            os.close(read)
            os.close(write)
