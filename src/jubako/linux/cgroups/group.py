"""One cgroup: the directories of a path in all hierarchies."""

from __future__ import annotations

import errno
import os
import signal
import time

from jubako.errors import InvalidArgument, KernelError, Unavailable, Unsupported
from jubako.linux.cgroups import files
from jubako.linux.cgroups.layout import detect
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from jubako.linux.cgroups.layout import Hierarchy, Layout

    Resources = Mapping[str, Any]

_FIRST_WAIT_S = 0.0005
_LONGEST_WAIT_S = 0.05

# OCI key of `resources` -> controller, for what may live in the v2 hierarchy of a hybrid host
_CONTROLLERS_OF = {
    "memory": "memory",
    "pids": "pids",
    "blockIO": "blkio",
    "hugepageLimits": "hugetlb",
    "rdma": "rdma",
}


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
        return self.layout.v1 or [self._unified()]

    def _unified(self) -> Hierarchy:
        if self.layout.v2 is None:
            raise Unsupported(f"cgroup {self.path}: this host has no cgroup v2")
        return self.layout.v2

    def _directories(self) -> list[str]:
        return [hierarchy.path + self.path for hierarchy in self.layout.all()]

    def exists(self) -> bool:
        """Whether any hierarchy has it."""
        return any(os.path.isdir(path) for path in self._directories())

    # --- making and limiting ---------------------------------------------------------------------

    @traced(lambda self, resources=None, *, why="": f"cgcreate -g '*':{self.path}")
    def create(self, resources: Resources | None = None, *, why: str = "") -> None:
        """Make the directories and apply `resources` (OCI `linux.resources`).

        Idempotent.  After a failure the group is gone again, unless it was there before.
        Raises Unsupported (a limit whose controller is missing), InvalidArgument, KernelError.
        """
        resources = resources or {}
        made: list[str] = []
        try:
            for hierarchy in self.layout.v1:
                self._make(hierarchy, made)
                if "cpuset" in hierarchy.controllers:
                    from jubako.linux.cgroups import cpuset

                    cpuset.ensure_v1(hierarchy.path, hierarchy.path + self.path)
            if self._needs_unified(resources):
                self._make(self._unified(), made)
                self._enable_controllers()
            self.apply(resources)
        except BaseException:
            for path in reversed(made):
                try:
                    os.rmdir(path)
                except OSError:
                    pass  # the first failure is what the caller must hear of
            raise

    def _make(self, hierarchy: Hierarchy, made: list[str]) -> None:
        """Make the directory and missing ancestors, which another process may remove at once."""
        path = hierarchy.path + self.path
        for _ in range(8):
            try:
                os.mkdir(path, 0o755)
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
                os.mkdir(path, 0o755)
            except FileExistsError:
                continue
            except OSError as error:
                raise KernelError.from_oserror("mkdir", error, path=path) from error

    def _needs_unified(self, resources: Resources) -> bool:
        """On a hybrid host the v2 hierarchy is left alone unless a limit can only be there.

        A process that joins it waits for the global lock (5 ms and more); v1's `tasks` does not.
        """
        if self.layout.kind != "hybrid":
            return self.layout.kind == "v2"
        if resources.get("unified"):
            return True
        if resources.get("devices") and self.layout.find("devices") is None:
            return True
        wanted = {_CONTROLLERS_OF[key] for key in _CONTROLLERS_OF if resources.get(key)}
        if resources.get("cpu"):
            wanted |= {"cpu", "cpuset"}
        v2 = self._unified()
        names = {"blkio": "io"}
        return any(
            names.get(controller, controller) in v2.controllers
            and self.layout.find(controller) in (None, v2)
            for controller in wanted
        )

    def _enable_controllers(self) -> None:
        """Switch every controller on in each ancestor, from the top (cgroup-v2.rst, Enabling)."""
        unified = self._unified()
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
        try:
            files.write(file, " ".join(f"+{controller}" for controller in controllers))
        except KernelError:
            # One that cannot be had (cpu with real-time tasks: EINVAL) must not cost the others.
            # A limit that needs a missing one fails when it is applied.
            for controller in controllers:
                try:
                    files.write(file, f"+{controller}")
                except KernelError:
                    continue

    @traced(lambda self, resources, *, why="": f"cgset {self.path} {dict(resources)}")
    def apply(self, resources: Resources, *, why: str = "") -> None:
        """Set the limits in `resources`; others stay as they are.

        Raises Unsupported (no controller for it), InvalidArgument, KernelError (EBUSY: more memory
        is in use than the new limit).
        """
        # Lazily: a container without limits has devices only, and every module costs time.
        if resources.get("devices"):
            from jubako.linux.cgroups import devices

            hierarchy = self.layout.find("devices")
            if hierarchy is not None:
                devices.apply_v1(hierarchy.path + self.path, resources["devices"])
            else:
                devices.apply_v2(self._unified().path + self.path, resources["devices"])
        if resources.get("memory"):
            from jubako.linux.cgroups import memory

            path, version = self._place("memory", resources["memory"])
            if path:
                (memory.apply_v1 if version == 1 else memory.apply_v2)(path, resources["memory"])
        if resources.get("cpu"):
            self._apply_cpu(resources["cpu"])
        if resources.get("pids"):
            from jubako.linux.cgroups import pids

            path, _ = self._place("pids", resources["pids"])
            if path:
                pids.apply(path, resources["pids"])
        if resources.get("blockIO"):
            from jubako.linux.cgroups import blkio

            path, version = self._place("blkio", resources["blockIO"])
            if path:
                (blkio.apply_v1 if version == 1 else blkio.apply_v2)(path, resources["blockIO"])
        if resources.get("hugepageLimits"):
            from jubako.linux.cgroups import hugetlb

            limits = resources["hugepageLimits"]
            path, version = self._place("hugetlb", {"limits": limits})
            if path:
                (hugetlb.apply_v1 if version == 1 else hugetlb.apply_v2)(path, limits)
        if resources.get("network"):
            self._apply_network(resources["network"])
        if resources.get("rdma"):
            self._apply_rdma(resources["rdma"])
        for name, value in (resources.get("unified") or {}).items():
            if "/" in name:
                raise InvalidArgument(f"unified cgroup file {name!r}", subject=name)
            # One write a line: several disks of io.max.
            for line in str(value).splitlines():
                files.write(f"{self._unified().path}{self.path}/{name}", line)

    def _place(self, controller: str, settings: Mapping[str, Any]) -> tuple[str, int]:
        """Directory and version of a controller; ("", 0) when nothing is asked of a missing one."""
        hierarchy = self.layout.find(controller)
        if hierarchy is None and controller == "blkio":
            hierarchy = self.layout.find("io")
        if hierarchy is not None:
            return hierarchy.path + self.path, hierarchy.version
        if any(settings.values()):
            raise Unsupported(
                f"cgroup {self.path}: this host has no {controller} controller", subject=controller
            )
        return "", 0

    def _apply_cpu(self, settings: Mapping[str, Any]) -> None:
        from jubako.linux.cgroups import cpu, cpuset

        of_set = {key: settings.get(key) for key in ("cpus", "mems")}
        if any(of_set.values()):
            path, _ = self._place("cpuset", of_set)
            cpuset.apply(path, of_set)
        rest = {key: value for key, value in settings.items() if key not in of_set}
        if any(value is not None for value in rest.values()):
            path, version = self._place("cpu", rest)
            if path:
                (cpu.apply_v1 if version == 1 else cpu.apply_v2)(path, rest)

    def _apply_network(self, settings: Mapping[str, Any]) -> None:
        """v1 only; ignored on v2, where nftables and BPF look at the cgroup itself."""
        class_id = self.layout.find("net_cls")
        if settings.get("classID") and class_id is not None:
            path = f"{class_id.path}{self.path}/net_cls.classid"
            files.write(path, str(settings["classID"]))
        priorities = self.layout.find("net_prio")
        if priorities is not None:
            for item in settings.get("priorities") or ():
                path = f"{priorities.path}{self.path}/net_prio.ifpriomap"
                files.write(path, f"{item['name']} {item['priority']}")

    def _apply_rdma(self, settings: Mapping[str, Mapping[str, int]]) -> None:
        path, _ = self._place("rdma", settings)
        for device, limits in settings.items():
            words = [device]
            if limits.get("hcaHandles") is not None:
                words.append(f"hca_handle={limits['hcaHandles']}")
            if limits.get("hcaObjects") is not None:
                words.append(f"hca_object={limits['hcaObjects']}")
            files.write(f"{path}/rdma.max", " ".join(words))

    # --- members ---------------------------------------------------------------------------------

    @traced(lambda self, *, why="": f"cgexec -g '*':{self.path} $$")
    def join_self(self, *, why: str = "") -> None:
        """Move the calling process, which has one thread, into the group.

        v1: "0" to `tasks` moves the writer alone and takes no global lock: 15 us a hierarchy, where
        `cgroup.procs` waits for all processors (10 ms).  v2 has no such way.
        Raises KernelError (ENOENT: not created; ENOSPC: a cpuset without processors).
        """
        for hierarchy in self.layout.v1:
            files.write(f"{hierarchy.path}{self.path}/tasks", "0")
        if self.layout.v2 is not None:
            path = f"{self.layout.v2.path}{self.path}/cgroup.procs"
            if not self.layout.v1:
                files.write(path, "0")
            else:
                files.write_if_exists(path, "0")

    @traced(lambda self, pid, *, why="": f"cgclassify -g '*':{self.path} {pid}")
    def add(self, pid: int, *, why: str = "") -> None:
        """Move another process with all its threads.  Raises KernelError (ESRCH, ENOENT)."""
        for hierarchy in self._required():
            files.write(f"{hierarchy.path}{self.path}/cgroup.procs", str(pid))
        if self.layout.kind == "hybrid":
            files.write_if_exists(f"{self._unified().path}{self.path}/cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """The processes in the group and in those below, as this PID namespace sees them."""
        found: dict[int, None] = {}
        for directory in _tree(self._member_directory()):
            for word in (files.find(f"{directory}/cgroup.procs") or "").split():
                found[int(word)] = None
        found.pop(0, None)  # a process of a PID namespace that we do not see
        return list(found)

    def _member_directory(self) -> str:
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
        return self._unified().path + self.path, 2

    @traced(lambda self, *, timeout_s=10.0, why="": f"cgfreeze {self.path}")
    def freeze(self, *, timeout_s: float = 10.0, why: str = "") -> None:
        """Stop all processes.  Idempotent.

        Raises Unavailable (not stopped in time; they run again), Unsupported, KernelError.
        """
        from jubako.linux.cgroups import freezer

        freezer.freeze(*self._freezer(), timeout_s)

    @traced(lambda self, *, why="": f"cgthaw {self.path}")
    def thaw(self, *, why: str = "") -> None:
        """Let them run again.  Idempotent."""
        from jubako.linux.cgroups import freezer

        freezer.thaw(*self._freezer())

    def frozen(self) -> bool:
        """Whether the processes are stopped."""
        from jubako.linux.cgroups import freezer

        return freezer.is_frozen(*self._freezer())

    @traced(lambda self, sig=signal.SIGKILL, *, timeout_s=5.0, why="": f"cgkill -{sig} {self.path}")
    def kill(self, sig: int = signal.SIGKILL, *, timeout_s: float = 5.0, why: str = "") -> None:
        """Signal every process in the group and below.

        SIGKILL: repeated until none is left, also when they fork meanwhile; Unavailable when some
        are left after `timeout_s` (uninterruptible sleep).  They may still be zombies afterwards.
        Another signal is sent once to each.
        """
        if sig != signal.SIGKILL:
            self._signal(sig)
            return
        deadline = time.monotonic() + timeout_s
        wait_s = _FIRST_WAIT_S
        patient = False
        while True:
            if not self._kill_by_file():
                if patient:
                    self._freeze_quietly()  # they fork faster than they are listed
                if not self._signal(sig):
                    return
                self._thaw_quietly()  # v1: a frozen process dies only when it runs again
            patient = True
            left = self.pids()
            if not left:
                return
            if time.monotonic() >= deadline:
                raise Unavailable(
                    f"kill {self.path}: {len(left)} processes left after {timeout_s:g} s",
                    subject=self.path,
                )
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _kill_by_file(self) -> bool:
        """`cgroup.kill` (5.14): the kernel does all of it at once."""
        if self.layout.kind != "v2":
            return False
        path = f"{self._unified().path}{self.path}/cgroup.kill"
        return files.write_if_exists(path, "1")

    def _freeze_quietly(self) -> None:
        try:
            self.freeze(timeout_s=0.2)
        except (KernelError, Unavailable, Unsupported):
            pass

    def _thaw_quietly(self) -> None:
        try:
            self.thaw()
        except (KernelError, Unsupported):
            pass

    def _signal(self, sig: int) -> bool:
        """Send to each process that is there now; whether there was one."""
        found = False
        for pid in self.pids():
            try:
                fd = os.pidfd_open(pid)
            except OSError:
                continue
            try:
                # Only now is it certain that the number is not reused: ask again through the list.
                if self._is_member(pid):
                    signal.pidfd_send_signal(fd, sig)
                    found = True
            except ProcessLookupError:
                pass
            except OSError as error:
                raise KernelError.from_oserror("kill", error, path=f"pid {pid}") from error
            finally:
                os.close(fd)
        return found

    def _is_member(self, pid: int) -> bool:
        directory = self._member_directory()
        for hierarchy in self.layout.all():
            if directory != hierarchy.path + self.path:
                continue
            wanted = hierarchy.controllers or {""}
            for line in (files.find(f"/proc/{pid}/cgroup") or "").splitlines():
                _, _, rest = line.partition(":")
                names, _, path = rest.partition(":")
                if hierarchy.version == 2:
                    matches = names == ""
                else:
                    matches = not wanted.isdisjoint(names.split(","))
                if matches:
                    # The path is relative to the cgroup namespace's root, so only its end counts.
                    return path.endswith(self.path) or f"{self.path}/" in path
        return False

    @traced(lambda self, *, timeout_s=2.0, why="": f"cgdelete -r -g '*':{self.path}")
    def remove(self, *, timeout_s: float = 2.0, why: str = "") -> None:
        """Remove the directories and those that the container made below.  Idempotent.

        A process that is just ending keeps its group busy: waited for, up to `timeout_s`.
        Raises the last KernelError (EBUSY: processes are left) after all else was removed.
        """
        deadline = time.monotonic() + timeout_s
        failed: KernelError | None = None
        for path in self._directories():
            wait_s = _FIRST_WAIT_S
            while (error := _remove(path)) is not None:
                if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                    failed = KernelError.from_oserror("rmdir", error, path=path)
                    break
                time.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        if failed is not None:
            raise failed

    # --- reading ---------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Usage in the shape of `runc events --stats`: cpu, memory, pids, blkio.

        Parts whose controller is missing are left out; times are nanoseconds, sizes bytes.
        """
        from jubako.linux.cgroups import blkio, cpu, memory, pids

        result: dict[str, Any] = {}
        if self.layout.kind == "v2":
            result["cpu"] = cpu.stats_v2(self._unified().path + self.path)
        else:
            accounting = self.directory("cpuacct") or ""
            result["cpu"] = cpu.stats_v1(self.directory("cpu") or "", accounting)
        for key, controller, v1, v2 in (
            ("memory", "memory", memory.stats_v1, memory.stats_v2),
            ("pids", "pids", pids.stats, pids.stats),
            ("blkio", "blkio", blkio.stats_v1, blkio.stats_v2),
        ):
            path, version = self._place(controller, {})
            if path:
                result[key] = v1(path) if version == 1 else v2(path)
        return result

    def oom_kills(self) -> int:
        """How many of its processes were killed for want of memory; 0 when it cannot be known."""
        from jubako.linux.cgroups import memory

        path, version = self._place("memory", {})
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


def _remove(path: str) -> OSError | None:
    """Remove a directory tree of groups; the error that stopped it."""
    try:
        os.rmdir(path)
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            return error
    for directory in reversed(list(_tree(path))):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            return error
    return None


def remove_all(groups: Iterable[Cgroup]) -> None:
    """Remove several groups, going on after a failure; raises what failed."""
    from jubako.errors import JubakoError, raise_all

    failures: list[JubakoError] = []
    for group in groups:
        try:
            group.remove()
        except JubakoError as error:
            failures.append(error)
    raise_all(failures)
