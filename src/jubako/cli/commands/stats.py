"""`jubako stats`: what containers use, once or as a table that is refreshed."""

from __future__ import annotations

import time

from jubako.cli import listing, units
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.session import is_terminal
from jubako.containers.stats import INTERVAL_S, ONCE_S, pause_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

    Stats = dict[str, Any]  # StatsResponse of the Engine API
    Row = tuple[str, Stats | None]  # as asked for; None does not exist any more
    Rows = Sequence[Row]

COMMAND = Command(
    "[OPTIONS] [CONTAINER...]",
    (
        Flag("all", "a"),
        Flag("format", "", STRING),
        Flag("no-stream"),
        Flag("no-trunc"),
    ),
    maximum=None,
)
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def run(session: Session, call: Call) -> int:
    _allow_files()
    watch = session.engine.containers.watch(call.args, everything=call.flag("all"))
    try:
        screen = _Screen(session, call)
        watch.round()
        time.sleep(ONCE_S)  # a percentage takes two samples
        if call.flag("no-stream"):
            screen.write(watch.round())
            return 0
        due_s = time.monotonic()
        while True:
            screen.show(watch.round())
            due_s = pause_until(due_s + INTERVAL_S)
    finally:
        watch.close()


class _Screen:
    """Where the rounds are shown."""

    def __init__(self, session: Session, call: Call):
        self._session = session
        self._layout = call.text("format")
        self._listing = _list(not call.flag("no-trunc"))
        self._terminal = is_terminal(1)

    def show(self, found: Rows) -> None:
        """One of many rounds: on a terminal it takes the place of the last."""
        if not self._terminal:
            self.write(found)
            return
        text = self._listing.render(found, self._layout)
        lines = text.split("\n") if text else []
        body = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
        self._session.out(f"{_HOME}{body}{_CLEAR_BELOW}", end="")

    def write(self, found: Rows) -> None:
        self._listing.write(self._session, found, self._layout)


def _list(trunc: bool) -> listing.Listing:
    def identity(stats: Stats) -> str:
        return listing.short_id(stats["id"]) if trunc else str(stats["id"])

    def of(function: Callable[[Stats], str], unknown: str = "--") -> Callable[[Row], str]:
        return lambda row: unknown if row[1] is None else function(row[1])

    fields: listing.Fields = {
        "Container": ("CONTAINER", lambda row: row[0]),
        "ID": ("CONTAINER ID", of(identity, "")),
        "Name": ("NAME", of(lambda stats: stats["name"].removeprefix("/"))),
        "CPUPerc": ("CPU %", of(lambda stats: f"{cpu_percent(stats):.2f}%")),
        "MemUsage": ("MEM USAGE / LIMIT", of(_memory_usage, "-- / --")),
        "MemPerc": ("MEM %", of(_memory_percent)),
        "NetIO": ("NET I/O", of(_network)),
        "BlockIO": ("BLOCK I/O", of(_block)),
        "PIDs": ("PIDS", of(lambda stats: str(stats["pids_stats"].get("current", 0)))),
    }
    return listing.Listing("*container.statsContext", fields, _COLUMNS, "ID")


def cpu_percent(stats: Stats) -> float:
    """How much of one processor was used between the two samples, by Docker's formula."""
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or system <= 0:
        return 0.0
    cpus = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return float(used / system * cpus * 100)


def memory_used(stats: Stats) -> int:
    """Without the part of the page cache that the kernel would give up first."""
    memory = stats["memory_stats"]
    usage: int = memory.get("usage", 0)
    raw = memory.get("stats", {})
    inactive: int = raw.get("total_inactive_file", raw.get("inactive_file", 0))
    return usage - inactive if inactive < usage else usage


def _memory_usage(stats: Stats) -> str:
    limit = stats["memory_stats"].get("limit", 0)
    return f"{units.binary_size(memory_used(stats))} / {units.binary_size(limit)}"


def _memory_percent(stats: Stats) -> str:
    limit = stats["memory_stats"].get("limit", 0)
    return f"{memory_used(stats) / limit * 100 if limit else 0.0:.2f}%"


def _network(stats: Stats) -> str:
    networks = stats.get("networks", {}).values()
    received = sum(network["rx_bytes"] for network in networks)
    sent = sum(network["tx_bytes"] for network in networks)
    return f"{units.human_size(received, 3)} / {units.human_size(sent, 3)}"


def _block(stats: Stats) -> str:
    done = {"r": 0, "w": 0}
    for entry in stats["blkio_stats"]["io_service_bytes_recursive"] or ():
        kind = entry["op"][:1].lower()
        if kind in done:
            done[kind] += entry["value"]
    return f"{units.human_size(done['r'], 3)} / {units.human_size(done['w'], 3)}"


def _allow_files() -> None:
    """Files of each container stay open: as many as this process may have at all."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
