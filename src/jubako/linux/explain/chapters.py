"""The chapters of an explanation: which event belongs to which, and how each begins."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.trace import Event


class Chapter:
    """title, introduction: for the reader."""

    __slots__ = ("title", "introduction")

    def __init__(self, title: str, introduction: str):
        self.title = title
        self.introduction = introduction


# In the order in which they are told.
CHAPTERS = {
    "other": Chapter(
        "Other programs",
        "Programs of the host that were run, and what belongs to no other chapter.",
    ),
    "watch": Chapter(
        "A process that watches",
        "A container is no machine: it is a process of this host, with ancestors like any other. "
        "Its parent is a small process, the monitor, which makes the container, keeps its output, "
        "and clears up after it. Nothing that the monitor mounts is seen by the host.",
    ),
    "entering": Chapter(
        "Into the running container",
        "There is nothing that one could be inside of. A process that enters the namespaces of a "
        "container's first process sees what that one sees: that is all that `exec` and `cp` do.",
    ),
    "network": Chapter(
        "A network of its own",
        "A new network namespace is empty: no cards, no addresses, no routes. Two virtual cards "
        "that are the ends of one cable (veth) connect it with a bridge, a switch that is made of "
        "software. Rules of the firewall (nftables) let the container out under the host's "
        "address, and lead published ports to it.",
    ),
    "layers": Chapter(
        "The image's layers become one file system",
        "An image is a stack of directories, its layers. overlayfs shows them as one directory, "
        "where a file of a higher layer hides that of the same name below. What the container "
        "writes goes into a directory of its own on top. So nothing is copied, and all "
        "containers of an image share its files.",
    ),
    "limits": Chapter(
        "Limits",
        "A control group (cgroup) is a directory below /sys/fs/cgroup. Who writes a number into "
        "one of its files sets a limit for all processes of the group together. Processes are "
        "members from birth: what a member starts is a member, too. Limits of single "
        "processes (rlimits) exist besides.",
    ),
    "isolation": Chapter(
        "Isolation: what the container cannot see",
        "The kernel keeps several kinds of things in namespaces. A process sees those of its own "
        "namespace of each kind, and no others. What makes a container is a process that has "
        "most of them for itself.",
    ),
    "view": Chapter(
        "What the container sees as /",
        "In its own mount namespace the first process puts together a tree of directories: the "
        "layers as the root directory, views of the kernel, volumes, and covers over what tells "
        "or changes too much. At the end that tree becomes /, and the host's goes. The commands "
        "below call the tree by the path that it has on the host.",
    ),
    "privileges": Chapter(
        "Privileges given up",
        "Root's power comes in some 40 parts, the capabilities. Root in a container has only those "
        "that do no harm outside. A filter (seccomp) refuses system calls that containers do not "
        "need. None of that can be taken back.",
    ),
    "program": Chapter(
        "The program starts",
        "Until here the first process ran the engine's own code. Now it executes the program, "
        "which keeps everything: process number, namespaces, group, limits. From here on no code "
        "of the engine runs in the container, and nothing slows it down.",
    ),
    "pause": Chapter(
        "Stopping the clock",
        "The freezer is a file of the group, too. Frozen processes are not asked, and do not "
        "notice.",
    ),
    "signals": Chapter(
        "Signals",
        "The first process of a container is asked to end, or made to. When it ends, the kernel "
        "kills all others of its PID namespace.",
    ),
    "afterwards": Chapter(
        "Afterwards: what was taken down",
        "Namespaces and mounts vanish by themselves with their last process. What is left is "
        "removed: the group, rules of the firewall, the host's end of the cable.",
    ),
}
_ORDER = list(CHAPTERS)
_LAST = frozenset(("pause", "signals", "afterwards"))

# One sentence on what each namespace hides, by its OCI name.
NAMESPACES = {
    "mount": "the table of mounts: file systems of the host are not there, and what is mounted "
    "inside stays inside",
    "pid": "processes: inside are only the container's own, counted from 1; the host sees them, "
    "too, under other numbers",
    "network": "cards, addresses, ports, routes and the firewall",
    "uts": "the host's name: it may have another one inside",
    "ipc": "shared memory, semaphores and message queues",
    "cgroup": "the tree of groups: its own group looks like the top of it",
    "user": "users and groups: root inside is somebody else outside",
    "time": "the clocks that count since the start of the machine",
}

_BY_FACILITY = {
    "caps": "privileges",
    "credentials": "privileges",
    "seccomp": "privileges",
    "rlimit": "limits",
    "interface": "isolation",
    "idmap": "isolation",
    "clone": "isolation",
    "nft": "network",
    "trampoline": "program",
    "fds": "program",
    "pidfd": "signals",
    "overlayfs": "layers",
    "openat2": "view",
    "runtime.rootfs": "view",
    "runtime.init": "isolation",
}
_BY_OP = {
    "fork": "isolation",
    "set_scheduler": "limits",
    "set_nice": "limits",
    "set_io_priority": "limits",
    "join_session_keyring": "isolation",
    "set_personality": "privileges",
}


def rank(chapter: str) -> int:
    """The place of a chapter in the order of telling."""
    return _ORDER.index(chapter)


def parts(events: list[Event]) -> list[list[Event]]:
    """The events in pieces, each of which is told from the first chapter on: a container that is
    started after another was taken down is a story of its own."""
    found: list[list[Event]] = []
    ending = True
    for event in events:
        last = chapter_of(event) in _LAST
        if ending and not last or not found:
            found.append([])
        found[-1].append(event)
        ending = last
    return found


def chapter_of(event: Event) -> str:
    """The key of the chapter in CHAPTERS."""
    facility = event.facility
    if facility == "pidfd":
        return "signals"
    if facility.startswith("cgroups") and _freezes(event):
        return "pause"
    if event.stage == "end":
        return "afterwards"
    if event.stage == "layers":
        return "layers"
    if facility.startswith("cgroups"):
        return "limits"
    if facility.startswith("netlink"):
        return "network"
    if facility == "ns":
        return _of_namespaces(event)
    if facility in ("mount", "mountapi"):
        return _of_mount(event)
    if facility == "pseudofile":
        return _of_setting(str(event.facts.get("path", "")))
    if facility == "prctl":
        return _of_prctl(event)
    if event.role == "exec" and facility == "process":
        return "entering"
    if facility == "process" and event.op == "run":
        return "network" if event.facts.get("argv", [""])[0] == "nft" else "other"
    found = _BY_FACILITY.get(facility) or _BY_OP.get(event.op) or "other"
    if event.role == "exec" and found == "isolation":
        return "entering"
    return found


def _freezes(event: Event) -> bool:
    return str(event.facts.get("path", "")).endswith(("/freezer.state", "/cgroup.freeze"))


def _of_namespaces(event: Event) -> str:
    kinds = event.facts.get("namespaces", [])
    if event.role == "exec" or (not event.role and kinds == ["mount"]):
        return "entering"
    if event.role == "init" or "pid" in kinds or "user" in kinds:
        return "isolation"
    if "network" in kinds:
        return "network"
    return "watch" if event.op == "unshare" else "view"


def _of_mount(event: Event) -> str:
    if event.role == "init":
        return "view"
    commands = event.facts.get("commands") or [""]
    if commands[0].startswith("mount -t overlay"):
        return "layers"
    if event.facts.get("target") == "/":
        return "watch"
    return "view" if event.role else "layers"


def _of_setting(path: str) -> str:
    if path.endswith("/oom_score_adj"):
        return "limits"
    return "privileges" if "/attr/" in path else "isolation"


def _of_prctl(event: Event) -> str:
    if event.role == "init":
        return "privileges"
    if event.role == "exec":
        return "entering"
    return "watch" if event.op == "set_child_subreaper" else "isolation"
