"""What much of something costs: data, lines, containers."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from images import CACHE
from job import Job, running, timed
from side import BUSYBOX, PREFIX, Side, engine_pids, parent, pss_bytes

COPY_BYTES = 100_000_000
COPY_FILES = 10_000
FILE_BYTES = 500
LINES = 1_000_000
LINE = "a line of forty bytes, as programs write"
STATS_CONTAINERS = 100
STOPPED_CONTAINERS = 1_000
MANY_CONTAINERS = 200
EDGE = 20  # of the many, whose mean is one figure
IDLE_CONTAINERS = 100
SETTLE_S = 3  # a monitor makes itself small after a second
# Room for every line, so that both sides have all of them to show.
NO_ROTATION = ("--log-driver", "json-file", "--log-opt", "max-size=1g")


class Scale:
    """The jobs, with all counts multiplied by `factor`: less than 1 for a first look."""

    def __init__(self, factor: float):
        self._factor = factor

    def _count(self, full: int) -> int:
        return max(1, round(full * self._factor))

    def jobs(self) -> list[Job]:
        stats, stopped = self._count(STATS_CONTAINERS), self._count(STOPPED_CONTAINERS)
        lines = self._count(LINES)
        return [
            *self._copies(),
            Job(
                "logs",
                (f"`logs` of {lines:,} lines",),
                lambda side: (side.timed("logs", _LOGS, stdout=Path(os.devnull)),),
                lambda side: logged(side, lines),
                slow=True,
            ),
            Job(
                "log-throughput",
                ("lines a second that a container can log",),
                lambda side: (measure_logging(side, lines),),
                unit="/s",
                slow=True,
            ),
            Job(
                "stats",
                (f"`stats --no-stream` of {stats} containers",),
                timed("stats", "--no-stream"),
                lambda side: several(side, stats),
                slow=True,
            ),
            Job(
                "ps-stopped",
                (f"`ps -a` with {stopped:,} stopped containers",),
                timed("ps", "-a"),
                lambda side: several(side, stopped, "--network", "none", command=("true",)),
                slow=True,
            ),
            self._many(),
            Job(
                "memory-total",
                (f"memory of the engine with {self._count(IDLE_CONTAINERS)} idle containers",),
                lambda side: (measure_memory(side, self._count(IDLE_CONTAINERS)),),
                unit="MB",
                slow=True,
            ),
        ]

    def _copies(self) -> list[Job]:
        size, files = self._count(COPY_BYTES), self._count(COPY_FILES)
        jobs = []
        for key, what, make in (
            ("size", f"{size / 1e6:.0f} MB", lambda path: one_file(path, size)),
            ("files", f"{files:,} files", lambda path: many_files(path, files)),
        ):
            around = copying(make)
            jobs += [
                Job(f"cp-in-{key}", (f"`cp` of {what} into C",), copy_in, around, slow=True),
                Job(f"cp-out-{key}", (f"`cp` of {what} out of C",), copy_out, around, slow=True),
            ]
        return jobs

    def _many(self) -> Job:
        count = self._count(MANY_CONTAINERS)
        edge = max(1, min(EDGE, count // 2))
        return Job(
            "many",
            (
                f"`run -d`, mean of the first {edge} of {count}",
                f"`run -d`, mean of the last {edge} of {count}",
                f"`rm -f`, mean of the first {edge} of {count}",
                f"`rm -f`, mean of the last {edge} of {count}",
            ),
            lambda side: measure_many(side, count, edge),
            slow=True,
        )


# --- copies ---

_COPY = f"{PREFIX}-copy"


def one_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        block = os.urandom(1 << 20)
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


def many_files(path: Path, count: int) -> None:
    for number in range(count):
        directory = path / f"{number // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number}").write_bytes(b"x" * FILE_BYTES)


def copying(make: Callable[[Path], None]) -> Callable[[Side], AbstractContextManager[object]]:
    """A running container, and the data on both sides of it."""

    @contextmanager
    def around(side: Side) -> Iterator[None]:
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="copy-") as directory:
            make(_source(Path(directory)))
            _places[side.name] = Path(directory)
            with running(_COPY)(side):
                side("cp", str(_source(Path(directory))), f"{_COPY}:/original")
                yield

    return around


_places: dict[str, Path] = {}  # of each side, the directory of the job at work


def _source(directory: Path) -> Path:
    return directory / "source"


def copy_in(side: Side) -> tuple[float, ...]:
    os.sync()
    seconds = side.timed("cp", str(_source(_places[side.name])), f"{_COPY}:/copy")
    side("exec", _COPY, "rm", "-r", "/copy")
    return (seconds,)


def copy_out(side: Side) -> tuple[float, ...]:
    target = _places[side.name] / "target"
    os.sync()
    seconds = side.timed("cp", f"{_COPY}:/original", str(target))
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    return (seconds,)


# --- logs ---

_LOGS = f"{PREFIX}-logs"


def _write(lines: int) -> tuple[str, ...]:
    return ("sh", "-c", f"yes '{LINE}' | head -n {lines}")


@contextmanager
def logged(side: Side, lines: int) -> Iterator[None]:
    """A stopped container with a log; all of it is there."""
    try:
        side("run", "-d", "--name", _LOGS, *NO_ROTATION, BUSYBOX, *_write(lines))
        side("wait", _LOGS)
        found = side("logs", _LOGS).count("\n") + 1
        if found != lines:
            raise RuntimeError(f"{side.name}: {found} of {lines} lines are in the log")
        yield
    finally:
        side("rm", "-f", _LOGS)


def measure_logging(side: Side, lines: int) -> float:
    """Lines a second, from the start of the container to its end."""
    name = f"{PREFIX}-log-throughput"
    try:
        started = time.perf_counter()
        side("run", "-d", "--name", name, *NO_ROTATION, BUSYBOX, *_write(lines))
        side("wait", name)
        return lines / (time.perf_counter() - started)
    finally:
        side("rm", "-f", name)


# --- many containers ---


def _names(count: int) -> list[str]:
    return [f"{PREFIX}-many-{number}" for number in range(count)]


@contextmanager
def several(
    side: Side, count: int, *options: str, command: tuple[str, ...] = ("sleep", "100000")
) -> Iterator[None]:
    names = _names(count)
    try:
        for name in names:
            side("run", "-d", "--name", name, *options, BUSYBOX, *command)
        yield
    finally:
        side("rm", "-f", *names)


def measure_many(side: Side, count: int, edge: int) -> tuple[float, ...]:
    """Seconds to start each of the first and the last, then to remove them in the same order."""
    names = _names(count)
    try:
        starts = [
            side.timed("run", "-d", "--name", name, BUSYBOX, "sleep", "100000") for name in names
        ]
        removals = [side.timed("rm", "-f", name) for name in names]
    except BaseException:
        side("rm", "-f", *names)
        raise
    return tuple(
        statistics.mean(part)
        for times in (starts, removals)
        for part in (times[:edge], times[-edge:])
    )


def measure_memory(side: Side, count: int) -> float:
    """PSS of all that the engine runs, without the containers' own processes, in bytes."""
    names = _names(count)
    with several(side, count):
        time.sleep(SETTLE_S)
        own = {side.pid(name) for name in names}
        watchers = {parent(pid) for pid in own}
        return float(sum(map(pss_bytes, {*watchers, *engine_pids(side)} - own)))
