"""What a container and an image cost: one at a time."""

from __future__ import annotations

import statistics
import time

from job import Job, made, running, timed
from side import BUSYBOX, PREFIX, Side, engine_pids, parent, pss_bytes

CONTAINERS_FOR_MEMORY = 10


def measure_start(side: Side) -> tuple[float, ...]:
    seconds = side.timed("start", f"{PREFIX}-start")
    side("kill", f"{PREFIX}-start")
    side("wait", f"{PREFIX}-start")
    return (seconds,)


def measure_stop(side: Side) -> tuple[float, ...]:
    side("start", f"{PREFIX}-stop")
    return (side.timed("stop", "-t", "0", f"{PREFIX}-stop"),)


def measure_rm(side: Side) -> tuple[float, ...]:
    side("run", "-d", "--name", f"{PREFIX}-rm", BUSYBOX, "sleep", "100000")
    return (side.timed("rm", "-f", f"{PREFIX}-rm"),)


def measure_watchers(side: Side) -> tuple[float, ...]:
    """PSS per container of the processes that watch over containers, in bytes.

    It is the parent of the container's init: Docker's shim, Jubako's monitor.
    """
    names = [f"{PREFIX}-memory-{number}" for number in range(CONTAINERS_FOR_MEMORY)]
    try:
        for name in names:
            side("run", "-d", "--name", name, BUSYBOX, "sleep", "100000")
        time.sleep(3)  # a monitor makes itself small after a second
        return (statistics.mean(pss_bytes(parent(side.pid(name))) for name in names),)
    finally:
        side("rm", "-f", *names)


def measure_idle(side: Side) -> tuple[float, ...]:
    """PSS of everything that an engine keeps running while no container runs, in bytes."""
    return (float(sum(map(pss_bytes, engine_pids(side)))),)


def jobs() -> list[Job]:
    return [
        Job(
            "run",
            ("`run --rm IMAGE true`, bridge network",),
            timed("run", "--rm", BUSYBOX, "true"),
        ),
        Job(
            "run-none",
            ("`run --rm --network none IMAGE true`",),
            timed("run", "--rm", "--network", "none", BUSYBOX, "true"),
        ),
        Job(
            "exec",
            ("`exec C true`",),
            timed("exec", f"{PREFIX}-exec", "true"),
            running(f"{PREFIX}-exec"),
        ),
        Job("start", ("`start C`",), measure_start, made(f"{PREFIX}-start")),
        Job("stop", ("`stop -t 0 C`",), measure_stop, made(f"{PREFIX}-stop")),
        Job("rm", ("`rm -f C`, running",), measure_rm),
        Job("ps", ("`ps`, one container",), timed("ps"), running(f"{PREFIX}-ps")),
        Job("memory", ("memory per running container",), measure_watchers, unit="MB", slow=True),
        Job("idle", ("memory with nothing running",), measure_idle, unit="MB", slow=True),
    ]
