"""What the container's init does between fork and exec, step by step.

It runs in a fork of the creating process.  Everything it needs is imported, opened and computed
before (`Setup`); after it has entered the container it imports nothing, asks no user database, and
starts no thread.  Every path out is `os._exit` or exec.  A step that fails is reported through the
channel with operation, path and errno, and ends the process.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

from jubako.errors import KernelError, StartError
from jubako.linux import prctl, pseudofile, signals, trace
from jubako.linux.mount import MS_SLAVE
from jubako.linux.shell import quote
from jubako.linux.trace import traced
from jubako.runtime import cgroupfs, hooks, process, words
from jubako.runtime.becoming import (
    EXIT_FAILED,
    become_namespace_root,
    connect_stdio,
    connect_terminal,
    open_terminal,
    report,
)
from jubako.runtime.channel import Channel
from jubako.runtime.options import PROPAGATION, Options
from jubako.runtime.rootfs import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from jubako.linux.cgroups import Cgroup
    from jubako.runtime.interface import Stdio
    from jubako.runtime.namespaces import Namespaces
    from jubako.runtime.process import Identity
    from jubako.runtime.sources import Sources

# Hooks that run while the container is set up and the root is still the host's.
HOST_HOOKS = ("prestart", "createRuntime", "createContainer")


class Setup:
    """Everything that init needs; made by the creator, inherited by the fork."""

    __slots__ = (
        "cgroup",
        "channel",
        "console_size",
        "die_with_parent",
        "has_hooks",
        "identity",
        "listener",
        "make_devices",
        "namespaces",
        "no_pivot",
        "options",
        "parent_pid",
        "preserve_fds",
        "sources",
        "spec",
        "state",
        "stdio",
        "terminal",
    )

    spec: dict[str, Any]
    state: dict[str, Any]  # for hooks; without the pid
    options: list[Options]
    sources: Sources
    namespaces: Namespaces
    cgroup: Cgroup | None
    identity: Identity
    channel: Channel
    listener: socket.socket
    stdio: Stdio
    terminal: bool
    console_size: tuple[int, int] | None  # columns, rows
    die_with_parent: bool
    has_hooks: bool
    make_devices: bool
    no_pivot: bool
    parent_pid: int
    preserve_fds: int


def run(setup: Setup) -> NoReturn:
    """The whole life of init before the program.  Does not return."""
    channel = setup.channel
    try:
        gc.disable()  # a collection would copy every page that it marks
        trace.set_role("init")
        _prepare(setup)
        channel = _wait_for_start(setup.listener)
        if hooks.any_of(setup.spec.get("hooks"), ("startContainer",)):
            hooks.run(setup.spec["hooks"], ("startContainer",), setup.state)
        channel.send("executing", path=setup.identity.path)
        setup.identity.execute(channel.fileno())
    except BaseException as error:
        report(channel, error)
    os._exit(EXIT_FAILED)


def _prepare(setup: Setup) -> None:
    steps: tuple[Callable[[Setup], None], ...] = (
        _leave_caller,
        _join_cgroup,
        _enter_namespaces,
        _mount,
        _set_names,
        _write_sysctls,
        _hide,
        _host_hooks,
        _switch_root,
        _become_user,
        _announce,
    )
    for step in steps:
        step(setup)


def _leave_caller(setup: Setup) -> None:
    if setup.die_with_parent:
        # set again after setuid, which clears it
        prctl.set_pdeathsig(signal.SIGKILL, why="no container goes on without its monitor")
        if os.getppid() not in (setup.parent_pid, 0):  # 0: the parent is outside our namespace
            os._exit(EXIT_FAILED)
    prctl.set_dumpable(False, why="nobody in the container may look into this process")
    os.setsid()
    process.leave_keyring()
    signals.reset_all()
    os.umask(0)


def _join_cgroup(setup: Setup) -> None:
    # Before the cgroup namespace is made: its root is where the process is then.
    if setup.cgroup is not None:
        setup.cgroup.join_self(why="this process, and all that come from it, are in the group")
    setup.identity.set_oom_score()
    setup.identity.set_scheduler()
    setup.identity.set_label()
    process.set_personality(setup.spec["linux"].get("personality"))


def _enter_namespaces(setup: Setup) -> None:
    namespaces = setup.namespaces
    namespaces.enter_user()
    if "user" in namespaces.new:
        _ask(setup.channel, "map")
    # Before the user changes: then /proc/self/timens_offsets is not ours any more.
    namespaces.enter_time(setup.spec["linux"].get("timeOffsets"))
    if namespaces.own("user"):
        become_namespace_root()  # and owner of what comes with the other namespaces (/dev/mqueue)
    namespaces.enter()


def _mount(setup: Setup) -> None:
    spec, sources = setup.spec, setup.sources
    trace.set_root(setup.state["rootfs"])
    root = Root(sources.root)
    root.attach()
    for index, mount in enumerate(spec.get("mounts") or ()):
        path, fstype = mount["destination"], mount.get("type") or ""
        source = sources.mounts.get(index)
        if source is not None:
            root.bind(source, path)
        elif fstype in ("cgroup", "cgroup2"):
            cgroupfs.mount(root, path, setup.options[index], setup.cgroup, setup.namespaces)
        else:
            root.mount(fstype, mount.get("source") or fstype, path, setup.options[index])
    if setup.make_devices:
        devices = spec["linux"].get("devices") or []
        root.make_devices(devices, sources.devices, console=setup.terminal)
    if setup.terminal:
        _open_console(setup, root)
    cwd = setup.identity.cwd.strip("/")
    if cwd:
        try:
            os.close(root.target(cwd, directory=True))
        except KernelError as error:
            raise words.working_directory_error(setup.identity.cwd, error.errno or 0) from error
    if not any(item.startswith("HOME=") for item in setup.identity.environment):
        home = process.home_of(root.fd, setup.identity.uid)
        setup.identity.environment.append(f"HOME={home}")


def _open_console(setup: Setup, root: Root) -> None:
    # In the container's own devpts, so that ttyname(3) works inside.
    master, slave = open_terminal(root.top("/dev/pts"), setup.console_size, setup.identity)
    if setup.make_devices:
        root.bind_console(slave)
    setup.channel.send("console", descriptors=[master])
    os.close(master)
    connect_terminal(slave)


def _set_names(setup: Setup) -> None:
    hostname, domain = setup.spec.get("hostname"), setup.spec.get("domainname")
    if hostname:
        try:
            _sethostname(hostname, why="the name that the container has for itself")
        except OSError as error:
            raise KernelError("sethostname", error.errno or 0, path=hostname) from error
    if domain:
        _write_sysctl("kernel.domainname", domain, why="its domain, as NIS knows it")


@traced(lambda name, *, why="": f"hostname {quote(name)}", op="sethostname")
def _sethostname(name: str, *, why: str = "") -> None:
    socket.sethostname(name)


def _write_sysctls(setup: Setup) -> None:
    # Through the host's /proc: these files show the namespaces of whoever opens them, and no
    # mount of the container can stand in their place (CVE-2025-52881).
    for key, value in (setup.spec["linux"].get("sysctl") or {}).items():
        _write_sysctl(key, value, why="a setting of the kernel that each namespace has of its own")


def _write_sysctl(key: str, value: str, *, why: str) -> None:
    path = f"/proc/sys/{key.replace('.', '/') if '/' not in key else key}"
    try:
        pseudofile.write(path, value, why=why)
    except KernelError as error:
        raise KernelError("write sysctl", error.errno or 0, path=key, detail=value) from error


def _hide(setup: Setup) -> None:
    root = Root(setup.sources.root)
    linux = setup.spec["linux"]
    for path in linux.get("readonlyPaths") or ():
        root.make_readonly(path)
    root.mask(linux.get("maskedPaths") or [])
    if setup.spec["root"].get("readonly"):
        root.make_root_readonly()


def _host_hooks(setup: Setup) -> None:
    # createRuntime and prestart run outside; createContainer in here, seeing the host's files.
    if setup.has_hooks:
        setup.state["pid"] = _ask(setup.channel, "hooks")["pid"]
        hooks.run(setup.spec.get("hooks"), ("createContainer",), setup.state)


def _ask(channel: Channel, kind: str) -> dict[str, Any]:
    channel.send(kind)
    got = channel.receive()
    if got is None:
        os._exit(EXIT_FAILED)  # the creator has died
    return got[0]


def _switch_root(setup: Setup) -> None:
    name = setup.spec["linux"].get("rootfsPropagation") or ""
    propagation = PROPAGATION.get(name, MS_SLAVE)
    root = Root(setup.sources.root)
    if setup.no_pivot:
        root.switch_without_pivot(propagation)
    else:
        root.pivot(propagation)
    trace.set_root("")


def _become_user(setup: Setup) -> None:
    identity = setup.identity
    if not setup.terminal:
        connect_stdio(setup.stdio, identity)
    identity.raise_limits()
    late = False
    try:
        identity.enter_directory(setup.sources.root)
    except StartError as error:
        if error.exit_code != 126 or identity.uid == 0:
            raise
        late = True  # root may not, as on NFS with root_squash; the user may
    identity.assume()
    if late:
        identity.enter_directory(setup.sources.root)
    if setup.die_with_parent:
        prctl.set_pdeathsig(signal.SIGKILL, why="the change of the user has cleared it")
    identity.find_program()


def _announce(setup: Setup) -> None:
    setup.channel.send("ready")
    setup.channel.close()
    process.close_descriptors(setup.listener.fileno(), setup.preserve_fds)


def _wait_for_start(listener: socket.socket) -> Channel:
    while True:
        connection, _address = listener.accept()
        channel = Channel(connection)
        # Whoever only looks whether somebody listens (`state`) says nothing and hangs up.
        if channel.receive() is not None:
            listener.close()
            return channel
        channel.close()
