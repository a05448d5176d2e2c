"""Which cgroup hierarchies this host has, and where they are mounted."""

from __future__ import annotations

import os

from jubako.errors import KernelError, Unsupported
from jubako.linux.mountinfo import MountEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CONTROLLERS = frozenset(
    (
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "misc",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    )
)


class Hierarchy:
    """One mounted tree.

    path: the mount point.  version: 1 or 2.  controllers: those attached to it (v2: those listed in
    the root's `cgroup.controllers`).  name: of a named v1 hierarchy such as `systemd`, else "".
    """

    __slots__ = __match_args__ = ("path", "version", "controllers", "name")

    def __init__(self, path: str, version: int, controllers: Iterable[str], name: str = ""):
        self.path = path
        self.version = version
        self.controllers = frozenset(controllers)
        self.name = name

    def __repr__(self) -> str:
        words = self.name or ",".join(sorted(self.controllers))
        return f"Hierarchy(v{self.version} {self.path} {words})"


class Layout:
    """The hierarchies of a host.

    kind: "v1", "v2" or "hybrid".  v1: in mount order.  v2: the unified one, None on a v1 host.
    """

    __slots__ = ("kind", "v1", "v2", "_by_controller")

    def __init__(self, hierarchies: Iterable[Hierarchy]):
        self.v1: list[Hierarchy] = []
        self.v2: Hierarchy | None = None
        for hierarchy in hierarchies:
            if hierarchy.version == 2:
                self.v2 = self.v2 or hierarchy
            else:
                self.v1.append(hierarchy)
        if any(hierarchy.controllers for hierarchy in self.v1):
            self.kind = "hybrid" if self.v2 else "v1"
        elif self.v2:
            self.kind = "v2"
            self.v1 = []  # a lone `name=systemd` beside v2 limits nothing
        else:
            raise Unsupported("no cgroup hierarchy is mounted", hint="mount cgroup2 /sys/fs/cgroup")
        self._by_controller = {
            controller: hierarchy
            for hierarchy in ([self.v2] if self.v2 else []) + self.v1
            for controller in hierarchy.controllers
        }

    def find(self, controller: str) -> Hierarchy | None:
        """The hierarchy of a controller; a v1 hierarchy wins, as it does in the kernel."""
        return self._by_controller.get(controller)

    def all(self) -> list[Hierarchy]:
        """Every hierarchy, v1 first."""
        return self.v1 + ([self.v2] if self.v2 else [])

    def __repr__(self) -> str:
        return f"Layout({self.kind}, {self.all()})"


_detected: Layout | None = None


def detect(mountinfo: str | None = None, root: str = "") -> Layout:
    """Find the hierarchies among this process's mounts.

    mountinfo: text in the format of /proc/self/mountinfo, default the real one (read once for each
    process).  root: put before every mount point, for trees that stand in for the real one.
    Raises Unsupported (no cgroups), KernelError.
    """
    global _detected
    if mountinfo is None and not root:
        if _detected is None:
            _detected = _parse(_read("/proc/self/mountinfo"), "")
        return _detected
    return _parse(_read("/proc/self/mountinfo") if mountinfo is None else mountinfo, root)


def _parse(text: str, root: str) -> Layout:
    found: dict[tuple[int, str], Hierarchy] = {}
    for line in text.split("\n"):
        # Of hundreds of lines (one for each container of other engines) only these are parsed.
        if " - cgroup" not in line:
            continue
        entry = MountEntry(line)
        path = root + entry.target
        if entry.fstype == "cgroup2":
            controllers = _read(f"{path}/cgroup.controllers").split()
            found.setdefault((2, ""), Hierarchy(path, 2, controllers))
        elif entry.fstype == "cgroup":
            controllers = [word for word in entry.super_options if word in CONTROLLERS]
            names = [word[5:] for word in entry.super_options if word.startswith("name=")]
            key = ",".join(sorted(controllers)) or (names[0] if names else "")
            # The same hierarchy may be mounted again elsewhere: the first place counts.
            hierarchy = Hierarchy(path, 1, controllers, names[0] if names else "")
            found.setdefault((1, key), hierarchy)
    return Layout(found.values())


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read())
    except OSError as error:
        raise KernelError.from_oserror("read", error, path=path) from error
