"""`stats`: what containers use, as the Engine API's StatsResponse object.

A `Sampler` reads one container.  It keeps the files of the kernel open, and nothing is forked or
locked: a hundred containers cost some milliseconds.  `Watch` follows many of them.
"""

from __future__ import annotations

import os
import time

from jubako.containers.times import NEVER, now
from jubako.errors import NotFound
from jubako.linux.cgroups import Cgroup, files
from jubako.linux.cgroups.kept import KeptFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from jubako.containers.services import Services

INTERVAL_S = 1.0
ONCE_S = 0.5  # between the two samples of a single answer: 50 ticks of the clock that is counted
_NS_PER_TICK = 10_000_000  # USER_HZ is 100 on every architecture of ours
_SYSTEM_FIELDS = 7  # of the line `cpu` in /proc/stat: user to softirq, which Docker adds up
_FILES_EACH = 20  # on a host with version 1
_NET_FIELDS = (  # API name and column in /proc/PID/net/dev
    ("rx_bytes", 0),
    ("rx_packets", 1),
    ("rx_errors", 2),
    ("rx_dropped", 3),
    ("tx_bytes", 8),
    ("tx_packets", 9),
    ("tx_errors", 10),
    ("tx_dropped", 11),
)
_BLKIO_KEYS = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
_QUERY = "SELECT id, name, status, pid FROM containers"


class System:
    """What all containers of one round share: the machine's processors and memory."""

    def __init__(self) -> None:
        self._files = KeptFiles()
        self.memory_bytes = _memory_bytes()
        self.cpu_ns = 0
        self.cpus = 0
        self.read()

    def read(self) -> None:
        """Read the clock of all processors, and how many there are."""
        lines = (self._files.find("/proc/stat") or "").split("\n")
        fields = lines[0].split()[1 : 1 + _SYSTEM_FIELDS]
        self.cpu_ns = sum(map(int, fields)) * _NS_PER_TICK
        self.cpus = sum(1 for line in lines[1:] if line.startswith("cpu"))

    def close(self) -> None:
        self._files.close()


class Sampler:
    """Reads what one running container uses."""

    def __init__(self, container_id: str, name: str, pid: int, cgroup: str, *, keep: bool = True):
        """pid: of its init.  cgroup: its path.  keep: the files stay open."""
        self.id = container_id
        self.name = name
        self.pid = pid
        self._files = KeptFiles()
        self._find = self._files.find if keep else files.find
        self._cgroup = Cgroup(cgroup)
        self._has_network = _has_network(pid, container_id)
        self._last: dict[str, Any] | None = None

    def sample(self, system: System) -> dict[str, Any]:
        """The StatsResponse object of this moment; `precpu_stats` is of the last call."""
        usage = self._cgroup.stats(self._find)
        result = nothing(self.id, self.name)
        last = self._last
        result["read"] = now()
        result["cpu_stats"] = _cpu(usage["cpu"], system, percpu=self._cgroup.layout.kind != "v2")
        if last is not None:
            result["preread"], result["precpu_stats"] = last["read"], last["cpu_stats"]
        if "pids" in usage:
            limit = usage["pids"]["limit"]
            result["pids_stats"] = {
                "current": usage["pids"]["current"],
                **({"limit": limit} if limit else {}),
            }
        if "memory" in usage:
            result["memory_stats"] = _memory(usage["memory"], system, self._cgroup.layout.kind)
        if "blkio" in usage:
            result["blkio_stats"] = _blkio(usage["blkio"], self._cgroup.layout.kind)
        if self._has_network:
            networks = _networks(self._find(f"/proc/{self.pid}/net/dev") or "")
            if networks:
                result["networks"] = networks
        self._last = result
        return result

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class Watch:
    """The statistics of several containers, again and again.

    references: names or IDs; none stands for all that run at the time, or with `everything` for
    all that there are.
    """

    def __init__(
        self, services: Services, references: Sequence[str] = (), *, everything: bool = False
    ):
        """Raises NotFound."""
        self._services = services
        self._everything = everything
        self._chosen = {services.table.get(name).id: name for name in references}
        self._samplers: dict[str, Sampler] = {}
        self._system = System()
        self._most_kept = _most_kept()

    def round(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Each container's name or ID as it was asked for, and its statistics now.

        Those chosen come in that order, others the newest first.  One that does not run has used
        nothing; None is one that was chosen and does not exist any more.
        """
        self._system.read()
        rows = self._rows()
        found: list[tuple[str, dict[str, Any] | None]] = []
        for container_id in self._chosen or rows:
            row = rows.get(container_id)
            given = self._chosen.get(container_id, container_id)
            found.append((given, None if row is None else self._sample(row)))
        for gone in self._samplers.keys() - rows.keys():
            self._samplers.pop(gone).close()
        return found

    def _rows(self) -> dict[str, sqlite3.Row]:
        query = _QUERY
        if not self._chosen and not self._everything:
            query += " WHERE status IN ('running', 'paused')"
        query += " ORDER BY created_ns DESC, id"
        rows = {row["id"]: row for row in self._services.store.db.execute(query).fetchall()}
        return {key: rows[key] for key in self._chosen if key in rows} if self._chosen else rows

    def _sample(self, row: sqlite3.Row) -> dict[str, Any]:
        if row["status"] not in ("running", "paused"):
            return nothing(row["id"], row["name"])
        sampler = self._samplers.get(row["id"])
        if sampler is None or sampler.pid != row["pid"]:
            if sampler is not None:  # it was started anew
                sampler.close()
            sampler = self._samplers[row["id"]] = self._open(row)
        sampler.name = row["name"]
        return sampler.sample(self._system)

    def _open(self, row: sqlite3.Row) -> Sampler:
        container = self._services.table.find(row["id"])
        parent = container.record["HostConfig"].get("CgroupParent", "") if container else ""
        path = self._services.cgroup_path(row["id"], parent)
        keep = len(self._samplers) < self._most_kept
        return Sampler(row["id"], row["name"], row["pid"], path, keep=keep)

    def close(self) -> None:
        """Close every file."""
        self._system.close()
        for sampler in self._samplers.values():
            sampler.close()
        self._samplers = {}


def stats(
    services: Services, reference: str, *, stream: bool, one_shot: bool
) -> Iterator[dict[str, Any]]:
    """See `ContainerService.stats`."""
    watch = Watch(services, [reference])
    try:
        due_s = time.monotonic()
        result = _of(watch, reference)
        while stream:
            yield result
            due_s = pause_until(due_s + INTERVAL_S)
            result = _of(watch, reference)
        if not one_shot and result["read"] != NEVER:
            time.sleep(ONCE_S)
            result = _of(watch, reference)
        yield result
    except NotFound:
        return  # it was removed: the stream is at its end
    finally:
        watch.close()


def _of(watch: Watch, reference: str) -> dict[str, Any]:
    ((_, result),) = watch.round()
    if result is None:
        raise NotFound(f"No such container: {reference}", subject=reference)
    return result


def pause_until(due_s: float) -> float:
    """Sleep until the monotonic clock says `due_s`; returns that, or now if it is over."""
    present_s = time.monotonic()
    if due_s <= present_s:
        return present_s
    time.sleep(due_s - present_s)
    return due_s


def nothing(container_id: str, name: str) -> dict[str, Any]:
    """The StatsResponse object of a container that does not run."""
    cpu = {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    return {
        "read": NEVER,
        "preread": NEVER,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLKIO_KEYS),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu,
        "precpu_stats": cpu,
        "memory_stats": {},
        "name": f"/{name}",
        "id": container_id,
    }


def _cpu(usage: Mapping[str, Any], system: System, *, percpu: bool) -> dict[str, Any]:
    times = usage["usage"]
    throttling = usage["throttling"]
    return {
        "cpu_usage": {
            "total_usage": times["total"],
            **({"percpu_usage": times["percpu"]} if percpu else {}),
            "usage_in_kernelmode": times["kernel"],
            "usage_in_usermode": times["user"],
        },
        "system_cpu_usage": system.cpu_ns,
        "online_cpus": system.cpus,
        "throttling_data": {
            "periods": throttling["periods"],
            "throttled_periods": throttling["throttledPeriods"],
            "throttled_time": throttling["throttledTime"],
        },
    }


def _memory(memory: Mapping[str, Any], system: System, kind: str) -> dict[str, Any]:
    usage = memory["usage"]
    limit = usage["limit"]
    if not 0 < limit <= system.memory_bytes:
        limit = system.memory_bytes
    result = {"usage": usage["usage"]}
    if kind != "v2":
        result["max_usage"] = usage["max"]
    result["stats"] = memory["raw"]
    if kind != "v2" and usage["failcnt"]:
        result["failcnt"] = usage["failcnt"]
    result["limit"] = limit
    return result


def _blkio(blkio: Mapping[str, Any], kind: str) -> dict[str, Any]:
    result: dict[str, Any] = dict.fromkeys(_BLKIO_KEYS, None if kind == "v2" else [])
    entries = blkio["ioServiceBytesRecursive"]
    if kind == "v2":  # Docker names the operations as each version of the kernel's files does
        entries = [{**entry, "op": entry["op"].lower()} for entry in entries]
    else:
        result["io_serviced_recursive"] = blkio["ioServicedRecursive"]
    result["io_service_bytes_recursive"] = entries
    return result


def _networks(text: str) -> dict[str, dict[str, int]]:
    """What /proc/PID/net/dev says of each interface but the loopback."""
    found = {}
    for line in text.split("\n")[2:]:
        name, colon, rest = line.partition(":")
        name = name.strip()
        if colon and name != "lo":
            columns = rest.split()
            found[name] = {key: int(columns[at]) for key, at in _NET_FIELDS}
    return found


def _has_network(pid: int, container_id: str) -> bool:
    """Whether init has a network that is not the host's, which is nobody's to count."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            if container_id not in file.read():
                return False  # another process has the number by now
        return os.stat(f"/proc/{pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return False


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _most_kept() -> int:
    """Of how many containers the files may stay open: half of what this process may have open."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft // 2 // _FILES_EACH
