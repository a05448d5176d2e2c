"""Images for tests of lazy starts, and what is there on the way."""

from __future__ import annotations

import os
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jubako import Engine
from tests.integration import estargz
from tests.integration.estargz import entry
from tests.integration.pull_tools import noise
from tests.integration.registry_images import Repository, digest_of

MIB = 1 << 20
BIG = noise(12 * MIB, 1)
SMALL = noise(100_000, 2)
APPLETS = ("sh", "cat", "sha256sum", "sleep", "true", "head", "dd", "ls")


def busybox_layer(more: Sequence[estargz.Member] = (), **options: Any) -> estargz.Layer:
    shell = Path("/bin/busybox").read_bytes()
    links = [(entry(f"bin/{name}", tarfile.SYMTYPE, linkname="busybox"), b"") for name in APPLETS]
    return estargz.make(
        [
            (entry("bin", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("bin/busybox", mode=0o755), shell),
            *links,
            (entry("big"), BIG),
            (entry("etc", tarfile.DIRTYPE, mode=0o755), b""),
            (entry("etc/small", mode=0o640, uid=7, gid=8), SMALL),
            (entry("etc/empty"), b""),
            (entry("etc/link", tarfile.LNKTYPE, linkname="etc/small"), b""),
            *more,
        ],
        chunk_bytes=256 << 10,
        **options,
    )


def put(repository: Repository, layer: estargz.Layer, tag: str = "latest") -> None:
    repository.put_manifest([layer.put(repository)], [digest_of(layer.tar)], tag)


def is_complete(engine: Engine, layer: estargz.Layer) -> bool:
    return engine.images.layers.exists(digest_of(layer.tar))


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def helpers(root: Path) -> list[int]:
    """The processes that fetch layers of a root: the guardian and its child, the worker."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            files = {os.readlink(fd) for fd in (process / "fd").iterdir()}
            if any(file.startswith(f"{root}/layers/.ingest/") for file in files):
                found.append(int(process.name))
    return sorted(found)


def wait_for_end(engine: Engine) -> None:
    """All has come, or been given up: nothing is left of the way there."""
    root = Path(engine.store.path)
    wait(lambda: not helpers(root), "the helper has not ended")
    # It lets go of the layer before it takes its own traces away.
    run_dir = Path(engine.store.run_dir)
    wait(lambda: not [*run_dir.glob("lazy/*")], "the helper has left traces")
    assert {path.name for path in (root / "layers/.ingest").iterdir()} <= {"empty"}


def wait_until_complete(engine: Engine, layer: estargz.Layer) -> None:
    wait(lambda: is_complete(engine, layer), "the layer has not arrived")
    wait_for_end(engine)
