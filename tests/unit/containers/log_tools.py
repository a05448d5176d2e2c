"""What the tests of logs share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jubako.containers.logs.render import Renderer
from jubako.linux.loop import EventLoop


def file_options(path: Path, **changes: Any) -> dict[str, Any]:
    """A plan's part for a file, without limits but for `changes`."""
    limits = {"max_size": -1, "max_files": 1, "compress": False, "max_age_s": 0.0}
    return {"path": str(path), "attributes": {}, **limits, **changes}


def text(blocks: Iterable[bytes], **chosen: Any) -> bytes:
    """What `logs` shows of blocks of records, both streams together."""
    renderer = Renderer(streams={"stdout", "stderr"}, **chosen)
    return b"".join(data for block in blocks for _, data in renderer.feed(block))


def turn_until(loop: EventLoop, condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Let a loop work until something is so."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        loop.run_once(0.02)
