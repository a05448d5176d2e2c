"""Ending the processes of a cgroup."""

from __future__ import annotations

import errno
import os
import signal
import time

from jubako.errors import KernelError, Unavailable, Unsupported
from jubako.linux import pidfd
from jubako.linux.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.cgroups.group import Cgroup

_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.05
_FREEZE_PATIENCE_S = 0.2


def kill_all(group: Cgroup, timeout_s: float, *, why: str = "") -> None:
    """See `Cgroup.kill`."""
    deadline = time.monotonic() + timeout_s
    wait_s = _FIRST_WAIT_S
    again = False
    while True:
        if not _kill_by_file(group, why):
            if again:
                _freeze_quietly(group, why)  # they fork faster than they are listed
            if not signal_each(group, signal.SIGKILL, why=why):
                return
            _thaw_quietly(group, why)  # v1: a frozen process dies only when it runs again
        again = True
        left = group.pids()
        if not left:
            return
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"kill {group.path}: {len(left)} processes left after {timeout_s:g} s",
                subject=group.path,
            )
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def _kill_by_file(group: Cgroup, why: str) -> bool:
    """`cgroup.kill` (5.14): the kernel does all of it at once."""
    if group.layout.kind != "v2":
        return False
    path = f"{group.unified().path}{group.path}/cgroup.kill"
    return files.write_if_exists(path, "1", why=why)


def _freeze_quietly(group: Cgroup, why: str) -> None:
    try:
        group.freeze(timeout_s=_FREEZE_PATIENCE_S, why=why)
    except (KernelError, Unavailable, Unsupported):
        pass  # then the race is run without


def _thaw_quietly(group: Cgroup, why: str) -> None:
    try:
        group.thaw(why=why)
    except (KernelError, Unsupported):
        pass


def signal_each(group: Cgroup, number: int, *, why: str = "") -> bool:
    """Send a signal to each process that is there now; whether there was one."""
    found = False
    for pid in group.pids():
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Only now is it certain that the number is not reused: look where the process is.
            if _is_member(group, pid):
                pidfd.send_signal(fd, number, why=why)
                found = True
        except KernelError as error:
            if error.errno != errno.ESRCH:
                raise KernelError("kill", error.errno or 0, path=f"pid {pid}") from error
        finally:
            os.close(fd)
    return found


def _is_member(group: Cgroup, pid: int) -> bool:
    directory = group.member_directory()
    (hierarchy,) = [h for h in group.layout.all() if directory == h.path + group.path]
    for line in (files.find(f"/proc/{pid}/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if hierarchy.version == 2:
            matches = names == ""
        else:
            matches = not hierarchy.controllers.isdisjoint(names.split(","))
        if matches:
            # The path is relative to the cgroup namespace's root, so only its end counts.
            return path.endswith(group.path) or f"{group.path}/" in path
    return False
