"""One more process in a running container.

    parent                         between                          child
      │ open init's pidfd, root      │                                │
      │ not dumpable                 │                                │
      │ ─────────── fork ──────────▶ │ cgroup, scores, labels         │    (the host's paths)
      │                              │ setns: all at once; root       │
      │ ◀─────────── PID ─────────── │ ─── clone (CLONE_PARENT) ────▶ │
      │                              ╵                                │ terminal, directory, user
      │ ◀────────────────────── console, failed ───────────────────── │
      │ ◀──────────────────────── end of file ─────────────────────── │ exec by the trampoline

The container's processes see the child (its PID is theirs), and of what they see /proc/PID shows
the mounts and the network to everybody: so it is made when nothing of the host is left, by a
process between that they never see.  The child is not dumpable: they can neither read its memory
nor open /proc/PID/exe, which is the host's Python (CVE-2019-5736).  A container that was given
CAP_SYS_PTRACE over the host's user namespace can all the same: with that capability it is trusted.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct

from jubako.errors import KernelError, StartError, WrongState
from jubako.linux import cgroups, ns, pidfd, prctl, signals, trace
from jubako.linux.clone import CLONE_PARENT, clone
from jubako.linux.openat2 import open_in_root
from jubako.runtime import process, words
from jubako.runtime import spec as specs
from jubako.runtime.becoming import (
    EXIT_FAILED,
    become_namespace_root,
    connect_stdio,
    connect_terminal,
    open_terminal,
    report,
)
from jubako.runtime.channel import Channel, Errno
from jubako.runtime.interface import OpenStdio, Process, Stdio
from jubako.runtime.namespaces import fork, fork_quietly
from jubako.runtime.state import alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from jubako.runtime.process import Identity

    Record = dict[str, Any]


class Entry:
    """What the child needs, opened by the parent."""

    __slots__ = (
        "cgroup",
        "channel",
        "console_size",
        "die_with_parent",
        "flags",
        "identity",
        "init",
        "preserve_fds",
        "root",
        "stdio",
        "terminal",
    )

    cgroup: cgroups.Cgroup | None
    channel: Channel
    console_size: tuple[int, int] | None
    die_with_parent: bool
    flags: int  # CLONE_NEW* of the namespaces to join
    identity: Identity
    init: int  # a pidfd
    preserve_fds: int
    root: int
    stdio: Stdio
    terminal: bool


def run(
    record: Record,
    spec_process: dict[str, Any],
    identity: Identity,
    stdio: Stdio,
    *,
    die_with_parent: bool = False,
    preserve_fds: int = 0,
    cgroup: str | None = None,
) -> Process:
    """Start the process and return it once its program is being executed.

    cgroup: another group than the container's.  Raises StartError and KernelError as
    the child reports them; WrongState when the container ends meanwhile.
    """
    entry = Entry()
    entry.identity, entry.preserve_fds = identity, preserve_fds
    entry.die_with_parent = die_with_parent
    entry.terminal = bool(spec_process.get("terminal"))
    entry.console_size = specs.console_size(spec_process)
    path = record["cgroup"] if cgroup is None else cgroup
    entry.cgroup = cgroups.Cgroup(path) if path else None
    opened: list[int] = []
    try:
        _open(entry, record, opened)
        if not any(item.startswith("HOME=") for item in identity.environment):
            identity.environment.append(f"HOME={process.home_of(entry.root, identity.uid)}")
        ours, entry.channel = Channel.pair()
        opened_console: list[int] = []
        try:
            with OpenStdio(stdio) as entry.stdio:
                pid = fork_quietly(lambda: _fork_inside(entry), lambda: _child(entry))
            entry.channel.close()
            if pid < 0:
                _follow(ours, opened_console)  # why it failed
                raise StartError("the process ended while it entered the container")
            handle = pidfd.open(pid)
            try:
                _follow(ours, opened_console)
            except BaseException:
                pidfd.send_signal(handle, signal.SIGKILL, why="the program could not be started")
                pidfd.wait(handle)
                os.close(handle)
                raise
            return Process(pid, handle, opened_console.pop() if opened_console else None)
        finally:
            ours.close()
            for fd in opened_console:
                os.close(fd)
    finally:
        for fd in opened:
            os.close(fd)


def _follow(channel: Channel, console: list[int]) -> None:
    path = ""
    try:
        while (got := channel.receive()) is not None:
            message, descriptors = got
            console += descriptors
            path = message.get("path", path)
    except Errno as error:
        raise words.execute_error(path, error.errno) from error


def _open(entry: Entry, record: Record, opened: list[int]) -> None:
    pid = record["pid"]
    try:
        entry.init = pidfd.open(pid)
        opened.append(entry.init)
        entry.root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.append(entry.root)
        entry.flags = 0
        for flag, name in ns.KINDS.values():
            try:
                theirs = os.stat(f"/proc/{pid}/ns/{name}")
            except FileNotFoundError:
                continue  # a kernel without this kind
            if theirs.st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
                entry.flags |= flag
    except OSError as error:
        gone = not alive(record)
        if gone:
            raise _ended(record) from error
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("open container", error) from error
    if not alive(record):  # what was opened may have been another process's
        raise _ended(record)


def _ended(record: Record) -> WrongState:
    return WrongState(f"container {record['id']} is not running", subject=record["id"])


def _fork_inside(entry: Entry) -> int:
    """Fork a child of this process inside the container; 0 there, -1 if that failed."""
    read, write = os.pipe2(os.O_CLOEXEC)
    between = fork()
    if between == 0:
        try:
            gc.disable()
            os.close(read)
            _enter(entry)
            pid = clone(CLONE_PARENT, why="it appears in the container when all else is done")
            if pid == 0:
                os.close(write)
                return 0
            os.write(write, struct.pack("=i", pid))
        except BaseException as error:
            report(entry.channel, error)
        os._exit(0)
    os.close(write)
    try:
        data = os.read(read, 4)
    finally:
        os.close(read)
        with contextlib.suppress(ChildProcessError):  # the caller ignores SIGCHLD
            os.waitpid(between, 0)
    return int(struct.unpack("=i", data)[0]) if data else -1


def _child(entry: Entry) -> NoReturn:
    try:
        if entry.die_with_parent:
            prctl.set_pdeathsig(signal.SIGKILL, why="it must not outlive who asked for it")
        os.setsid()
        _become(entry)
        process.close_descriptors(entry.channel.fileno(), entry.preserve_fds)
        entry.channel.send("executing", path=entry.identity.path)
        entry.identity.execute(entry.channel.fileno())
    except BaseException as error:
        report(entry.channel, error)
    os._exit(EXIT_FAILED)


def _enter(entry: Entry) -> None:
    trace.set_role("exec")
    if entry.die_with_parent:  # the child sets its own: a fork clears it
        prctl.set_pdeathsig(signal.SIGKILL, why="it must not outlive who asked for it")
    process.leave_keyring()
    signals.reset_all()
    os.umask(0)
    if entry.cgroup is not None:
        entry.cgroup.join_self(why="the container's limits hold for this process, too")
    entry.identity.set_oom_score()
    entry.identity.set_scheduler()
    entry.identity.set_label()
    if entry.flags:
        ns.setns(entry.init, entry.flags, why="from here on this process sees what the others see")
    if entry.flags & ns.CLONE_NEWUSER:
        become_namespace_root()
    # The namespace's root, in which setns has left us: that of init may be one of its own choice.
    entry.root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _become(entry: Entry) -> None:
    identity = entry.identity
    if entry.terminal:
        devpts = open_in_root(entry.root, "dev/pts", os.O_PATH | os.O_DIRECTORY)
        master, slave = open_terminal(devpts, entry.console_size, identity)
        entry.channel.send("console", descriptors=[master])
        connect_terminal(slave)
    else:
        connect_stdio(entry.stdio, identity)
    identity.raise_limits()
    late: StartError | None = None
    try:
        identity.enter_directory(entry.root)
    except StartError as error:
        if error.exit_code != 126 or identity.uid == 0:
            raise
        late = error
    identity.assume()
    if late is not None:
        identity.enter_directory(entry.root)
    if entry.die_with_parent:
        prctl.set_pdeathsig(signal.SIGKILL, why="the change of the user has cleared it")
    identity.find_program()
