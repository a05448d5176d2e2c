"""One cgroup: the directories of a path in all hierarchies."""

from __future__ import annotations

import errno
import os
import signal
import time

from jubako.errors import InvalidArgument, KernelError, Unsupported
from jubako.linux.cgroups import files, limits
from jubako.linux.cgroups.layout import detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jubako.linux.cgroups.files import Find
    from jubako.linux.cgroups.layout import Hierarchy, Layout

    Resources = Mapping[str, Any]

_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.05


class Cgroup:
    """The cgroup `path`, relative to the mount point of each hierarchy.

    No method keeps state but through the kernel, so that several processes may hold an object for
    the same path.  Nothing is made before `create`.
    """

    __slots__ = ("path", "layout")

    def __init__(self, path: str, layout: Layout | None = None):
        parts = [part for part in path.split("/") if part]
        if not parts or ".." in parts or "." in parts:
            raise InvalidArgument(f"cgroup path {path!r}", subject=path)
        self.path = "/" + "/".join(parts)
        self.layout = layout if layout is not None else detect()

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r}, {self.layout.kind})"

    # --- places ----------------------------------------------------------------------------------

    def directory(self, controller: str) -> str | None:
        """The directory in which `controller` is, whether it exists or not."""
        hierarchy = self.layout.find(controller)
        return None if hierarchy is None else hierarchy.path + self.path

    def _required(self) -> list[Hierarchy]:
        """The hierarchies in which the group always has a directory."""
        return self.layout.v1 or [self.unified()]

    def unified(self) -> Hierarchy:
        """The v2 hierarchy.  Raises Unsupported."""
        if self.layout.v2 is None:
            raise Unsupported(f"cgroup {self.path}: this host has no cgroup v2")
        return self.layout.v2

    def _directories(self) -> list[str]:
        return [hierarchy.path + self.path for hierarchy in self.layout.all()]

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return any(os.path.isdir(path) for path in self._directories())

    # --- making and limiting ---------------------------------------------------------------------

    def create(self, resources: Resources | None = None, *, why: str = "") -> None:
        """Make the directories and apply `resources` (OCI `linux.resources`).

        Idempotent.  After a failure the group is gone again, unless it was there before.
        Raises Unsupported (a limit whose controller is missing), InvalidArgument, KernelError.
        """
        resources = resources or {}
        made: list[str] = []
        try:
            for hierarchy in self.layout.v1:
                self._make(hierarchy, made, why)
                if "cpuset" in hierarchy.controllers:
                    from jubako.linux.cgroups import cpuset

                    path = hierarchy.path + self.path
                    why_set = "a cpuset is empty at first and takes no process until it is filled"
                    cpuset.ensure_v1(hierarchy.path, path, why=why_set)
            if limits.needs_unified(self.layout, resources):
                self._make(self.unified(), made, why)
                self._enable_controllers()
            self.apply(resources)
        except BaseException:
            for path in reversed(made):
                try:
                    files.rmdir(path, why="it could not be completed")
                except OSError:
                    pass  # the first failure is what the caller must hear of
            raise

    def _make(self, hierarchy: Hierarchy, made: list[str], why: str) -> None:
        """Make the directory and missing ancestors, which another process may remove at once."""
        path = hierarchy.path + self.path
        for _ in range(8):
            try:
                files.mkdir(path, why=why)
            except FileExistsError:
                return
            except FileNotFoundError:
                self._make_ancestors(hierarchy.path)
                continue
            except OSError as error:
                raise KernelError.from_oserror("mkdir", error, path=path) from error
            made.append(path)
            return
        raise KernelError("mkdir", errno.ENOENT, path=path)

    def _make_ancestors(self, mount: str) -> None:
        path = mount
        for name in self.path.split("/")[1:-1]:
            path = f"{path}/{name}"
            try:
                files.mkdir(path, why="the group of which it is a part")
            except FileExistsError:
                continue
            except OSError as error:
                raise KernelError.from_oserror("mkdir", error, path=path) from error

    def _enable_controllers(self) -> None:
        """Switch every controller on in each ancestor, from the top (cgroup-v2.rst, Enabling)."""
        unified = self.unified()
        parent = os.path.dirname(unified.path + self.path)
        available = files.read(f"{parent}/cgroup.controllers").split()
        enabled = files.read(f"{parent}/cgroup.subtree_control").split()
        if unified.controllers <= set(available) and set(available) <= set(enabled):
            return
        path = unified.path
        for name in self.path.split("/")[1:]:
            have = files.read(f"{path}/cgroup.controllers").split()
            on = files.read(f"{path}/cgroup.subtree_control").split()
            missing = [controller for controller in have if controller not in on]
            self._enable(path, missing)
            path = f"{path}/{name}"

    @staticmethod
    def _enable(path: str, controllers: list[str]) -> None:
        if not controllers:
            return
        file = f"{path}/cgroup.subtree_control"
        why = "the groups below may set limits of these kinds"
        try:
            files.write(file, " ".join(f"+{controller}" for controller in controllers), why=why)
        except KernelError:
            # One that cannot be had (cpu with real-time tasks: EINVAL) must not cost the others.
            # A limit that needs a missing one fails when it is applied.
            for controller in controllers:
                try:
                    files.write(file, f"+{controller}", why=why)
                except KernelError:
                    continue

    def apply(self, resources: Resources) -> None:
        """Set the limits in `resources`; others stay as they are.

        Raises Unsupported (no controller for it), InvalidArgument, KernelError (EBUSY: more memory
        is in use than the new limit).
        """
        limits.apply(self.layout, self.path, resources)

    # --- members ---------------------------------------------------------------------------------

    def join_self(self, *, why: str = "") -> None:
        """Move the calling process, which has one thread, into the group.

        v1: "0" to `tasks` moves the writer alone and takes no global lock: 15 us a hierarchy, where
        `cgroup.procs` waits for all processors (10 ms).  v2 has no such way.
        Raises KernelError (ENOENT: not created; ENOSPC: a cpuset without processors).
        """
        for hierarchy in self.layout.v1:
            files.write(f"{hierarchy.path}{self.path}/tasks", "0", why=why)
        if self.layout.v2 is not None:
            path = f"{self.layout.v2.path}{self.path}/cgroup.procs"
            if not self.layout.v1:
                files.write(path, "0", why=why)
            else:
                files.write_if_exists(path, "0", why=why)

    def add(self, pid: int, *, why: str = "") -> None:
        """Move another process with all its threads.  Raises KernelError (ESRCH, ENOENT)."""
        for hierarchy in self._required():
            files.write(f"{hierarchy.path}{self.path}/cgroup.procs", str(pid), why=why)
        if self.layout.kind == "hybrid":
            path = f"{self.unified().path}{self.path}/cgroup.procs"
            files.write_if_exists(path, str(pid), why=why)

    def pids(self) -> list[int]:
        """The processes in the group and in those below, as this PID namespace sees them."""
        found: dict[int, None] = {}
        for directory in _tree(self.member_directory()):
            for word in (files.find(f"{directory}/cgroup.procs") or "").split():
                found[int(word)] = None
        found.pop(0, None)  # a process of a PID namespace that we do not see
        return list(found)

    def member_directory(self) -> str:
        """A hierarchy in which a container cannot have moved itself elsewhere."""
        for controller in ("freezer", "pids", "devices", "memory"):
            hierarchy = self.layout.find(controller)
            if hierarchy is not None and hierarchy.version == 1:
                return hierarchy.path + self.path
        return self._required()[0].path + self.path

    # --- stopping --------------------------------------------------------------------------------

    def _freezer(self) -> tuple[str, int]:
        hierarchy = self.layout.find("freezer")
        if hierarchy is not None:
            return hierarchy.path + self.path, 1
        if self.layout.kind != "v2":
            raise Unsupported(f"cgroup {self.path}: this host has no freezer controller")
        return self.unified().path + self.path, 2

    def freeze(self, *, timeout_s: float = 10.0, why: str = "") -> None:
        """Stop all processes.  Idempotent.

        Raises Unavailable (not stopped in time; they run again), Unsupported, KernelError.
        """
        from jubako.linux.cgroups import freezer

        freezer.freeze(*self._freezer(), timeout_s, why=why)

    def thaw(self, *, why: str = "") -> None:
        """Let them run again.  Idempotent."""
        from jubako.linux.cgroups import freezer

        freezer.thaw(*self._freezer(), why=why)

    def frozen(self) -> bool:
        """Whether the processes are stopped."""
        from jubako.linux.cgroups import freezer

        return freezer.is_frozen(*self._freezer())

    def kill(self, sig: int = signal.SIGKILL, *, timeout_s: float = 5.0, why: str = "") -> None:
        """Signal every process in the group and below.

        SIGKILL: repeated until none is left, also when they fork meanwhile; Unavailable when some
        are left after `timeout_s` (uninterruptible sleep).  They may still be zombies afterwards.
        Another signal is sent once to each.
        """
        from jubako.linux.cgroups import killing

        if sig == signal.SIGKILL:
            killing.kill_all(self, timeout_s, why=why)
        else:
            killing.signal_each(self, sig, why=why)

    def remove(self, *, timeout_s: float = 2.0, why: str = "") -> None:
        """Remove the directories and those that the container made below.  Idempotent.

        A process that is just ending keeps its group busy: waited for, up to `timeout_s`.
        Raises the last KernelError (EBUSY: processes are left) after all else was removed.
        """
        deadline = time.monotonic() + timeout_s
        failed: KernelError | None = None
        for path in self._directories():
            wait_s = _FIRST_WAIT_S
            while (error := _remove(path, why)) is not None:
                if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                    failed = KernelError.from_oserror("rmdir", error, path=path)
                    break
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        if failed is not None:
            raise failed

    # --- reading ---------------------------------------------------------------------------------

    def stats(self, find: Find = files.find) -> dict[str, Any]:
        """Usage in the shape of `runc events --stats`: cpu, memory, pids, blkio.

        find: reads a file, for example that of a KeptFiles for who asks again and again.
        Parts whose controller is missing are left out; times are nanoseconds, sizes bytes.
        """
        from jubako.linux.cgroups import blkio, cpu, memory, pids

        result: dict[str, Any] = {}
        if self.layout.kind == "v2":
            result["cpu"] = cpu.stats_v2(self.unified().path + self.path, find)
        else:
            accounting = self.directory("cpuacct") or ""
            result["cpu"] = cpu.stats_v1(self.directory("cpu") or "", accounting, find)
        for key, controller, v1, v2 in (
            ("memory", "memory", memory.stats_v1, memory.stats_v2),
            ("pids", "pids", pids.stats, pids.stats),
            ("blkio", "blkio", blkio.stats_v1, blkio.stats_v2),
        ):
            path, version = limits.place(self.layout, self.path, controller, {})
            if path:
                result[key] = v1(path, find) if version == 1 else v2(path, find)
        return result

    def oom_kills(self) -> int:
        """How many of its processes were killed for want of memory; 0 when it cannot be known."""
        from jubako.linux.cgroups import memory

        path, version = limits.place(self.layout, self.path, "memory", {})
        if not path:
            return 0
        return (memory.oom_kills_v1 if version == 1 else memory.oom_kills_v2)(path)


def _tree(path: str) -> Iterator[str]:
    """The directory and all below it, parents first; what disappears meanwhile is skipped."""
    yield path
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in below:
        yield from _tree(child)


def _remove(path: str, why: str) -> OSError | None:
    """Remove a directory tree of groups; the error that stopped it."""
    try:
        files.rmdir(path, why=why)
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            return error
    for directory in reversed(list(_tree(path))):
        try:
            files.rmdir(directory, why=why)
        except FileNotFoundError:
            continue
        except OSError as error:
            return error
    return None
