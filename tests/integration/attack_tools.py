"""What the tests of attacks share: programs that attack from inside, and how they report."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jubako import Engine
from tests.fixtures.engine import Jubako

PYTHON = os.path.realpath(sys.executable)
OFF = ("--network", "none")


def python_options() -> list[str]:
    """Options of `run` that show the container the host's Python, read-only."""
    options = []
    for path in ("/lib", "/lib64", "/usr", os.path.realpath(sys.base_prefix)):
        if os.path.isdir(path) and (path == "/usr" or not path.startswith("/usr")):
            options += ["-v", f"{os.path.realpath(path)}:{path}:ro"]
    return options


def python(script: str, *arguments: str) -> list[str]:
    """The command line of a probe: `script` run by the host's Python."""
    return [PYTHON, "-I", "-S", "-c", script, *arguments]


def probe(jubako: Jubako, image: str, script: str, *options: str) -> Any:
    """Run a probe in a container of its own; it prints one JSON document."""
    options = (*OFF, *python_options(), *options)
    return json.loads(jubako.ok("run", "--rm", *options, image, *python(script)))


def status_of(text: str) -> dict[str, str]:
    """/proc/PID/status by its keys."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}


def wait_for(condition: Callable[[], object], what: str, *, timeout_s: float = 10) -> None:
    """Wait until `condition()` is true; an AssertionError names `what` did not happen."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.01)


Member = tuple[str, bytes, str, int]  # name, tar type, link target or content, mode


def image_with(
    engine: Engine,
    busybox_tar: Path,
    members: Iterable[Member],
    *,
    name: str = "evil",
    without: Iterable[str] = (),
    changes: Iterable[str] = (),
) -> str:
    """An image of busybox with more members, and without some of its own directories."""
    gone = tuple(without)
    out = io.BytesIO()
    with tarfile.open(busybox_tar) as source, tarfile.open(fileobj=out, mode="w") as tar:
        for entry in source:
            if not any(entry.name == path or entry.name.startswith(f"{path}/") for path in gone):
                tar.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
        for path, kind, text, mode in members:
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = kind, mode
            if kind == tarfile.REGTYPE:
                entry.size = len(text.encode())
                tar.addfile(entry, io.BytesIO(text.encode()))
                continue
            if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                entry.devmajor, entry.devminor = map(int, text.split(":"))
            else:
                entry.linkname = text
            tar.addfile(entry)
    out.seek(0)
    engine.images.import_tar(out, f"{name}:latest", changes=list(changes))
    return name


def link(name: str, target: str) -> Member:
    return name, tarfile.SYMTYPE, target, 0o777


def file(name: str, text: str = "", mode: int = 0o644) -> Member:
    return name, tarfile.REGTYPE, text, mode


def directory(name: str, mode: int = 0o755) -> Member:
    return name, tarfile.DIRTYPE, "", mode


def pipe(name: str) -> Member:
    return name, tarfile.FIFOTYPE, "", 0o644


def device(name: str, kind: bytes, number: str) -> Member:
    return name, kind, number, 0o666
