"""The samples of a container: where their values are, and where they stay when it has ended."""

from __future__ import annotations

import json
import os

from jubako.containers.monitor.recorder import FILE, MAX_BYTES, Recorder
from jubako.errors import JubakoError
from jubako.linux.cgroups import Cgroup
from jubako.store import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.monitor.recorder import Place
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.linux.loop import EventLoop
    from jubako.store import Store

_V1 = (
    ("memory", "memory", "memory.usage_in_bytes", "", 1),
    ("peak", "memory", "memory.max_usage_in_bytes", "", 1),
    ("limit", "memory", "memory.limit_in_bytes", "", 1),
    ("oom_kills", "memory", "memory.oom_control", "oom_kill", 1),
    ("cpu_ns", "cpuacct", "cpuacct.usage", "", 1),
    ("throttled", "cpu", "cpu.stat", "nr_throttled", 1),
    ("throttled_ns", "cpu", "cpu.stat", "throttled_time", 1),
    ("pids", "pids", "pids.current", "", 1),
)
_V2 = (
    ("memory", "memory", "memory.current", "", 1),
    ("peak", "memory", "memory.peak", "", 1),
    ("limit", "memory", "memory.max", "", 1),
    ("oom_kills", "memory", "memory.events", "oom_kill", 1),
    ("cpu_ns", "cpu", "cpu.stat", "usage_usec", 1000),
    ("throttled", "cpu", "cpu.stat", "nr_throttled", 1),
    ("throttled_ns", "cpu", "cpu.stat", "throttled_usec", 1000),
    ("pids", "pids", "pids.current", "", 1),
)


def start(services: Services, container: Container, loop: EventLoop) -> Recorder | None:
    """The recorder of a container that was just started; None where nothing shall be sampled."""
    try:
        interval_s = settings.load(services.store.path).record_interval_s
        found = places(_cgroup(services, container))
    except JubakoError:
        return None  # what is wrong with the settings, commands that need them say
    if not interval_s or not found:
        return None
    return Recorder(
        loop,
        root=services.store.path,
        container_id=container.id,
        places=found,
        interval_s=interval_s,
    )


def _cgroup(services: Services, container: Container) -> Cgroup:
    parent = container.record["HostConfig"].get("CgroupParent", "")
    return Cgroup(services.cgroup_path(container.id, parent))


def places(cgroup: Cgroup) -> list[Place]:
    """Where this host keeps the values of a cgroup."""
    found: list[Place] = []
    for table, version in ((_V1, 1), (_V2, 2)):
        for name, controller, file, key, factor in table:
            hierarchy = cgroup.layout.find(controller)
            if hierarchy is not None and hierarchy.version == version:
                found.append((name, f"{hierarchy.path}{cgroup.path}/{file}", key, factor))
    return found


def keep(services: Services, container_id: str, last: str) -> None:
    """Move the samples of a container that has ended to the table, with the `last` one.

    In the transaction that records the end; `forget_file` follows it.  Idempotent.
    """
    lines = _lines(_path(services, container_id))
    if last:
        lines.append(last)
    rows = [(container_id, at_ns, line) for line in lines if (at_ns := _time_of(line))]
    if rows:
        with services.store.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?)", rows)


def forget_file(services: Services, container_id: str) -> None:
    """Delete the file whose samples are in the table."""
    try:
        os.unlink(_path(services, container_id))
    except OSError:
        return


def read(store: Store, container_id: str) -> list[dict[str, Any]]:
    """All samples of a container, running, ended or removed, in order."""
    query = "SELECT record FROM samples WHERE container_id = ? ORDER BY at_ns"
    lines = [row[0] for row in store.db.execute(query, (container_id,))]
    lines += _lines(f"{store.path}/containers/{container_id}/{FILE}")
    return [json.loads(line) for line in lines if _time_of(line)]


def _path(services: Services, container_id: str) -> str:
    return f"{services.directory(container_id)}/{FILE}"


def _lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return file.read(2 * MAX_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []


def _time_of(line: str) -> int:
    """The time of a sample; 0 for a line that is none, of a machine that lost its power."""
    try:
        sample = json.loads(line)
    except ValueError:
        return 0
    at_ns = sample.get("at") if isinstance(sample, dict) else None
    return at_ns if isinstance(at_ns, int) else 0
