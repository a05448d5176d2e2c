"""The init of a container as a process: finding it again, ending it."""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from jubako.errors import KernelError, Unavailable
from jubako.linux import cgroups, pidfd
from jubako.runtime.state import alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

KILL_TIMEOUT_S = 10.0  # from SIGKILL to the end; more means a process stuck in the kernel


def open_init(record: Record) -> int | None:
    """A pidfd of the container's init, surely of that one; None when it has ended."""
    if not alive(record):
        return None
    try:
        handle = pidfd.open(record["pid"])
    except KernelError as error:
        if error.errno == errno.ESRCH:
            return None
        raise
    if not alive(record):  # between the two it may have been another's number
        os.close(handle)
        return None
    return handle


def kill_and_wait(handle: int, record: Record) -> None:
    try:
        pidfd.send_signal(handle, signal.SIGKILL, why="the container's first process must end")
    except KernelError as error:
        if error.errno != errno.ESRCH:
            raise
    if record["cgroup"]:
        # thaws, too
        cgroups.Cgroup(record["cgroup"]).kill(why="no process of the container may be left")
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while not poll.poll(max(0, deadline - time.monotonic()) * 1000):
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"container {record['id']}: init (pid {record['pid']}) did not end within "
                f"{KILL_TIMEOUT_S:g} s after SIGKILL",
                subject=record["id"],
            )


def kill_and_reap(handle: int) -> None:
    """End a half made init, which is a child of ours."""
    try:
        pidfd.send_signal(handle, signal.SIGKILL, why="the container could not be made")
        pidfd.wait(handle)
    except KernelError as error:
        if error.errno not in (errno.ESRCH, errno.ECHILD):
            raise
    finally:
        os.close(handle)
