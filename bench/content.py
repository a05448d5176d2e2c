"""What images cost: moved between a registry, an archive and the disk, and read by containers."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from images import CACHE, Sample
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
        for sample in self._samples:
            self._filled.copy(sample.archive, self._pulled(sample))

    def _pulled(self, sample: Sample) -> str:
        return f"{self._filled.address}/{PREFIX}/{sample.name}:latest"

    def _pushed(self, sample: Sample) -> str:
        return f"{self._empty.address}/{PREFIX}/{sample.name}:latest"

    def _of(self, sample: Sample) -> list[Job]:
        text = sample.text
        measures = {
            "pull": self._pull,
            "push": self._push,
            "load": self._load,
            "save": self._save,
            "import": self._import,
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
        _settle()
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
        _settle()
        seconds = side.timed("load", stdin=sample.archive)
        side("rmi", sample.reference)
        return seconds

    def _save(self, side: Side, sample: Sample) -> float:
        with self._loaded(side, sample) as name:
            os.sync()
            return _to_file(side, "save", name)

    def _import(self, side: Side, sample: Sample) -> float:
        name = f"{PREFIX}-imported:latest"
        _settle()
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


def _settle() -> None:
    """Let nothing of what was done before weigh upon what is measured next.

    ext4 gives no inode away in the minute after its file was deleted, as it finds in the device's
    buffers: whoever unpacks files then is made to search for others (fs/ext4/ialloc.c,
    recently_deleted).  Without the buffers it cannot tell; the files' own pages stay.
    """
    os.sync()
    found = subprocess.run(
        ["findmnt", "--noheadings", "--output", "SOURCE", "--target", CACHE],
        capture_output=True,
        text=True,
        check=True,
    )
    if found.stdout.startswith("/dev/"):
        subprocess.run(["blockdev", "--flushbufs", found.stdout.strip()], check=True)


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
