"""One line of the table, and the containers that jobs need around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from side import BUSYBOX, Side


class Job(NamedTuple):
    """One job, which gives one line of the table for each of its texts.

    measure: does the job once on a side and returns a duration, a size or a rate for each line.
    around: makes what the job needs on a side, and removes it at the end.
    everywhere: also with Podman, and with both of Jubako's storage drivers.
    """

    name: str
    texts: tuple[str, ...]
    measure: Callable[[Side], tuple[float, ...]]
    around: Callable[[Side], AbstractContextManager[object]] = lambda side: nullcontext()
    unit: str = "ms"
    slow: bool = False
    everywhere: bool = False


def timed(*args: str) -> Callable[[Side], tuple[float, ...]]:
    """A job that is one command."""
    return lambda side: (side.timed(*args),)


def running(name: str) -> Callable[[Side], AbstractContextManager[object]]:
    """A container that runs around a job."""

    @contextmanager
    def around(side: Side) -> Iterator[None]:
        side("run", "-d", "--name", name, BUSYBOX, "sleep", "100000")
        try:
            yield
        finally:
            side("rm", "-f", name)

    return around


def made(name: str) -> Callable[[Side], AbstractContextManager[object]]:
    """A container that is created and does not run around a job."""

    @contextmanager
    def around(side: Side) -> Iterator[None]:
        side("create", "--name", name, BUSYBOX, "sleep", "100000")
        try:
            yield
        finally:
            side("rm", "-f", name)

    return around
