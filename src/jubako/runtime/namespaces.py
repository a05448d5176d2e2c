"""Namespaces of a container: what is new, what is joined, and the fork into them.

The creating process has one thread and must stay where it is, so it changes only what its next
child gets: it unshares (or joins) the PID namespace, forks, and takes its own back.  Everything
else is done by the child.

A new user namespace has to own the new PID namespace, or the child could not mount /proc: both
come from one clone(2).  To join a user namespace and then make a PID namespace takes a process in
between, whose clone(CLONE_PARENT) makes init a child of the creator all the same.
"""

from __future__ import annotations

import os
import struct
import time

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import idmap, interface, ns, prctl, pseudofile, task, trace
from jubako.linux.clone import CLONE_PARENT, clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_PID_1 = "the container's first process, which is number 1 in there"
SAME, NEW = -1, -2  # instead of a descriptor: the caller's PID namespace, one that does not exist

# setns by the child, in this order: the mount namespace takes away the host's paths.  The user
# namespace comes before these, it gives the rights; PID and time have their own ways.
_JOINED = {
    "network": "its network stack is there already: made before, or that of another container",
    "ipc": "it shares memory and message queues with another container",
    "mount": "it sees the files of another container",
    "uts": "it has the name of another container",
    "cgroup": "it sees the groups of another container",
}
_ORDER = ("cgroup", "ipc", "uts", "network", "mount")


class Namespaces:
    """The namespaces of one container.

    new: the OCI kinds to make.  joined: OCI kind -> open descriptor, which this object owns.
    """

    __slots__ = ("_own_pid", "joined", "new")

    def __init__(self, new: set[str], joined: dict[str, int]):
        self.new = new
        self.joined = joined
        self._own_pid = -1

    @classmethod
    def of_spec(cls, entries: list[dict[str, Any]]) -> Namespaces:
        """Open what linux.namespaces names.  Raises InvalidArgument, KernelError."""
        self = cls(set(), {})
        try:
            for entry in entries:
                kind, path = entry["type"], entry.get("path") or ""
                if kind not in ns.KINDS:
                    raise InvalidArgument(f"unknown namespace {kind!r}")
                if kind in self.new or kind in self.joined:
                    raise InvalidArgument(f"namespace {kind} is given twice")
                if not path:
                    self.new.add(kind)
                    continue
                try:
                    self.joined[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise KernelError.from_oserror(f"open {kind} namespace", error) from error
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        for fd in self.joined.values():
            os.close(fd)
        self.joined.clear()

    def own(self, kind: str) -> bool:
        """Whether the container has this namespace apart from the caller's."""
        return kind in self.new or kind in self.joined

    # --- the creator's side ------------------------------------------------------------------

    def fork(self) -> int:
        """Fork into the PID namespace; 0 in the child, which then calls `enter_user` and so on."""
        if "user" in self.new and "pid" in self.new:
            return clone(ns.CLONE_NEWUSER | ns.CLONE_NEWPID, why=_PID_1)
        if "user" in self.joined and "pid" in self.new:
            return self._fork_through_user()
        if not self.own("pid"):
            return fork_in(SAME)
        return fork_in(self.joined.get("pid", NEW))

    def _fork_through_user(self) -> int:
        read, write = os.pipe2(os.O_CLOEXEC)
        between = fork()
        if between == 0:
            try:
                os.close(read)
                ns.setns(
                    self.joined["user"],
                    ns.CLONE_NEWUSER,
                    why="the user namespace that is to own the new processes",
                )
                pid = clone(ns.CLONE_NEWPID | CLONE_PARENT, why=_PID_1)
                if pid == 0:
                    os.close(write)
                    return 0
                os.write(write, struct.pack("=ii", pid, 0))
            except KernelError as error:
                os.write(write, struct.pack("=ii", 0, error.errno))
            finally:
                if os.getpid() != 1:
                    os._exit(0)
        os.close(write)
        try:
            data = os.read(read, 8)
        finally:
            os.close(read)
            os.waitpid(between, 0)
        pid, number = struct.unpack("=ii", data) if len(data) == 8 else (0, 0)
        if pid == 0:
            raise KernelError("join user namespace", number)
        return int(pid)

    # --- the child's side --------------------------------------------------------------------

    def enter_user(self) -> None:
        """The user namespace; a new one has no maps when this returns."""
        if "user" in self.joined and "pid" not in self.new:
            ns.setns(
                self.joined["user"],
                ns.CLONE_NEWUSER,
                why="the container shares it with another one",
            )
        elif "user" in self.new and "pid" not in self.new:
            ns.unshare(ns.CLONE_NEWUSER, why="users in the container are others on the host")

    def enter_time(self, offsets: Mapping[str, Any] | None = None) -> None:
        """The time namespace; offsets: OCI timeOffsets of a new one."""
        if "time" in self.joined:
            ns.setns(
                self.joined["time"],
                ns.CLONE_NEWTIME,
                why="the container shares it with another one",
            )
        elif "time" in self.new:
            ns.unshare(ns.CLONE_NEWTIME, why="the container gets clocks of its own")
            _enter_time(offsets or {})

    def enter(self) -> None:
        """Join and make all others; needs the rights of the user namespace."""
        for kind in _ORDER:
            fd = self.joined.get(kind)
            if fd is not None:
                ns.setns(fd, ns.KINDS[kind][0], why=_JOINED[kind])
        flags = 0
        for kind in _ORDER:
            if kind in self.new:
                flags |= ns.KINDS[kind][0]
        if flags:
            ns.unshare(flags, why="the container gets its own of each of these")
        if "network" in self.new:
            interface.set_up("lo", why="programs in the container reach one another")


def fork_in(namespace: int) -> int:
    """Fork; only the child is in the PID namespace open as `namespace`, or in one that is NEW."""
    if namespace == SAME:
        return fork()
    own = ns.open_ns("self", "pid")
    try:
        if namespace == NEW:
            ns.unshare(
                ns.CLONE_NEWPID, why="the next process that this one starts is number 1 in there"
            )
        else:
            ns.setns(
                namespace, ns.CLONE_NEWPID, why="the next process that this one starts is in there"
            )
        pid = -1
        try:
            pid = fork()
        finally:
            if pid != 0:
                ns.setns(own, ns.CLONE_NEWPID, why="all others that it starts stay outside")
        return pid
    finally:
        os.close(own)


def fork_quietly(fork: Callable[[], int], child: Callable[[], Any]) -> int:
    """`fork()` a process into which nobody in the container may look, from its first instruction.

    It runs `child` and never comes back; the parent gets its PID.  Its command line, which /proc
    shows to everybody, is empty: the caller's has paths of the host, and what else was typed.
    """
    dumpable = prctl.prctl(prctl.PR_GET_DUMPABLE)
    prctl.set_dumpable(False, why="nobody may look into the process that is about to be made")
    try:
        with task.hidden_command_line():
            pid = fork()
            if pid == 0:
                try:
                    child()
                finally:
                    os._exit(1)
        return pid
    finally:
        if dumpable == 1:
            prctl.set_dumpable(True, why="this process itself has nothing to hide")


def fork() -> int:
    """fork(2).  Raises KernelError."""
    started = time.monotonic()
    try:
        pid = os.fork()
    except OSError as error:
        raise KernelError.from_oserror("fork", error) from error
    if pid and trace.listening():
        trace.note("fork", "process", "# fork(2)", "the process that becomes the program", started)
    return pid


def _enter_time(offsets: Mapping[str, Any]) -> None:
    # A process enters a new time namespace only at exec (since 6.1) or by setns; the offsets must
    # be written before anybody is inside (time_namespaces(7)).
    lines = "".join(
        f"{clock} {offset.get('secs', 0)} {offset.get('nanosecs', 0)}\n"
        for clock, offset in offsets.items()
    )
    path = "/proc/self/timens_offsets"
    try:
        if lines:
            pseudofile.write(path, lines, why="how far its clocks are from the host's")
        fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError.from_oserror("open", error) from error
    try:
        before = time.monotonic()
        ns.setns(fd, ns.CLONE_NEWTIME, why="this process has the container's clocks, too")
        trace.clock_moved(time.monotonic() - before)
    finally:
        os.close(fd)


def open_user_namespace(uid_map: list[dict[str, int]], gid_map: list[dict[str, int]]) -> int:
    """A user namespace with these ID maps and nobody in it, for an ID-mapped mount."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = -1
    try:
        pid = clone(ns.CLONE_NEWUSER, why="a table of users, for a mount that shows other owners")
        if pid == 0:
            os.close(theirs)
            os.read(ours, 1)  # until the parent has what it wants
            os._exit(0)
        idmap.write(
            pid, uid_map, gid_map, why="which owners of files the mount shows as which others"
        )
        return ns.open_ns(pid, "user")
    finally:
        os.close(ours)
        os.close(theirs)
        if pid > 0:
            os.waitpid(pid, 0)
