"""What images cost: moved between a registry, an archive and the disk, and read by containers."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from images import CACHE, TINY, Sample
from job import Job
from registry import Registry
from side import PREFIX, Side

_OUTPUT = CACHE / "output.tar"
_READER = f"{PREFIX}-reader"
# Everything below /usr, one file after the other: `cat` is told their names by `find`.
_READ_ALL = "find /usr -xdev -type f -exec cat {} + >/dev/null"
_READS = 5


class Content:
    """The jobs with the images `samples`.

    filled: a registry that has them.  empty: one to push to, which is emptied before each time.
    """

    def __init__(self, samples: list[Sample], filled: Registry, empty: Registry):
        self._samples = samples
        self._filled = filled
        self._empty = empty

    def jobs(self) -> list[Job]:
        made = [job for sample in self._samples for job in self._of(sample)]
        debian = self._samples[0]
        return [
            *made,
            self._job("rmi", debian, f"`rmi` of {debian.text}", self._rmi),
            self._job(
                "pull-memory", debian, f"peak memory of a `pull` of {debian.text}", self._peak, "MB"
            ),
            Job(
                "read",
                ("first read of all files of it", "reading them again"),
                _reads,
                lambda side: self._reader(side, debian),
                slow=True,
                everywhere=True,
            ),
        ]

    def fill(self) -> None:
        """Put what is missing into the first registry."""
        for sample in [*self._samples, TINY]:
            self._filled.copy(sample.archive, self._pulled(sample))

    def _pulled(self, sample: Sample) -> str:
        return f"{self._filled.address}/{PREFIX}/{sample.name}:latest"

    def _pushed(self, sample: Sample) -> str:
        return f"{self._empty.address}/{PREFIX}/{sample.name}:latest"

    def _of(self, sample: Sample) -> list[Job]:
        text = sample.text
        measures = {
            "pull": _settled(self._pull, self._filled.files),
            "push": self._push,
            "load": _settled(self._load, lambda: [sample.archive]),
            "save": self._save,
            "import": _settled(self._import, lambda: [sample.layer]),
            "export": self._export,
        }
        return [
            self._job(f"{verb}-{sample.name}", sample, f"`{verb}` of {text}", measure)
            for verb, measure in measures.items()
            if verb in sample.verbs
        ]

    @staticmethod
    def _job(
        name: str,
        sample: Sample,
        text: str,
        measure: Callable[[Side, Sample], float],
        unit: str = "ms",
    ) -> Job:
        return Job(
            name, (text,), lambda side: (measure(side, sample),), unit=unit, slow=True,
            everywhere=True,
        )  # fmt: skip

    def _pull(self, side: Side, sample: Sample) -> float:
        name = self._pulled(sample)
        seconds = side.timed("pull", "-q", *side.registry_flags, name)
        side("rmi", name)
        return seconds

    def _peak(self, side: Side, sample: Sample) -> float:
        name = self._pulled(sample)
        peak = side.peak_bytes("pull", "-q", *side.registry_flags, name)
        side("rmi", name)
        return peak

    def _push(self, side: Side, sample: Sample) -> float:
        name = self._pushed(sample)
        self._empty.empty()
        with self._loaded(side, sample) as loaded:
            side("tag", loaded, name)
            os.sync()
            try:
                return side.timed("push", "-q", *side.registry_flags, name)
            finally:
                side("rmi", name)

    def _load(self, side: Side, sample: Sample) -> float:
        seconds = side.timed("load", stdin=sample.archive)
        side("rmi", sample.reference)
        return seconds

    def _save(self, side: Side, sample: Sample) -> float:
        with self._loaded(side, sample) as name:
            os.sync()
            return _to_file(side, "save", name)

    def _import(self, side: Side, sample: Sample) -> float:
        name = f"{PREFIX}-imported:latest"
        seconds = side.timed("import", "-", name, stdin=sample.layer)
        side("rmi", name)
        return seconds

    def _export(self, side: Side, sample: Sample) -> float:
        name = f"{PREFIX}-export"
        with self._loaded(side, sample) as image:
            side("create", "--name", name, image, "true")
            try:
                os.sync()
                return _to_file(side, "export", name)
            finally:
                side("rm", name)

    def _rmi(self, side: Side, sample: Sample) -> float:
        side("load", stdin=sample.archive)
        os.sync()
        return side.timed("rmi", sample.reference)

    @contextmanager
    def _loaded(self, side: Side, sample: Sample) -> Iterator[str]:
        side("load", stdin=sample.archive)
        try:
            yield sample.reference
        finally:
            side("rmi", sample.reference)

    @contextmanager
    def _reader(self, side: Side, sample: Sample) -> Iterator[None]:
        with self._loaded(side, sample) as image:
            side("run", "-d", "--name", _READER, "--network", "none", image, "sleep", "100000")
            try:
                yield
            finally:
                side("rm", "-f", _READER)


def _settled(
    measure: Callable[[Side, Sample], float], reads: Callable[[], Iterable[Path]]
) -> Callable[[Side, Sample], float]:
    """The same from caches that hold what it reads, and by a tiny image the engine, and no more."""

    def measured(side: Side, sample: Sample) -> float:
        _settle(reads())
        measure(side, TINY)
        return measure(side, sample)

    return measured


def _settle(reads: Iterable[Path]) -> None:
    """Let nothing of what was done before weigh upon what is measured next.

    ext4 gives no inode away in the minute after its file was deleted, as it finds in the device's
    buffers: whoever unpacks files then is made to search for others (fs/ext4/ialloc.c,
    recently_deleted).  So all caches go, and what is read next comes back into memory.
    """
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    for path in reads:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def _reads(side: Side) -> tuple[float, float]:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    side("exec", _READER, "true")  # the engine itself is to be in memory again
    command = ("exec", _READER, "sh", "-c", _READ_ALL)
    first = side.timed(*command)
    return first, statistics.median(side.timed(*command) for _ in range(_READS))


def _to_file(side: Side, *args: str) -> float:
    try:
        return side.timed(*args, stdout=_OUTPUT)
    finally:
        with suppress(FileNotFoundError):
            _OUTPUT.unlink()
