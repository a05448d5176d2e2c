"""Steps on the way from a fork to a program in a container: of its init, and of each `exec`.

What `jubako.runtime.init` says of itself holds here too: nothing is imported any more by then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from jubako.errors import JubakoError, KernelError
from jubako.linux import credentials, fds, prctl, pty
from jubako.linux.statfs import DEVPTS_SUPER_MAGIC, filesystem_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.runtime.channel import Channel
    from jubako.runtime.interface import Stdio
    from jubako.runtime.process import Identity

EXIT_FAILED = 1
_ROOT_INSIDE = "it owns what comes into being in its user namespace from here on"


def report(channel: Channel, error: BaseException) -> None:
    """Tell the other end; there is nobody else to tell when it has gone."""
    try:
        channel.send_error(error if isinstance(error, Exception) else JubakoError(repr(error)))
    except JubakoError:
        pass


def become_namespace_root() -> None:
    """UID and GID 0 of the user namespace just entered, which owns what is mounted from here."""
    try:
        credentials.setgid(0, why=_ROOT_INSIDE)
        credentials.setuid(0, why=_ROOT_INSIDE)
        credentials.setgroups((), why="the groups of the host's root are not the container's")
    except PermissionError:
        pass  # a map without 0, or setgroups denied: mounts below will say what is impossible
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise KernelError.from_oserror("become root of the namespace", error) from error
    prctl.set_dumpable(False, why="nobody in the container may look into this process")


def open_terminal(devpts: int, size: tuple[int, int] | None, identity: Identity) -> tuple[int, int]:
    """A pty of the devpts instance open as `devpts`: master and slave."""
    if filesystem_type(devpts) != DEVPTS_SUPER_MAGIC:
        raise KernelError("open terminal", errno.ENODEV, path="/dev/pts", detail="not devpts")
    master, slave, _number = pty.open_pty(devpts)
    if size is not None:
        pty.set_size(master, *size)
    try:
        fds.chown(slave, identity.uid, why="the terminal belongs to the program's user")
    except OSError:
        pass  # a user that is not mapped; the terminal then stays root's
    return master, slave


def connect_terminal(slave: int) -> None:
    """The terminal becomes 0 to 2 and controls the session."""
    pty.set_controlling(slave)
    for number in (0, 1, 2):
        os.dup2(slave, number)
    if slave > 2:
        os.close(slave)


def connect_stdio(stdio: Stdio, identity: Identity) -> None:
    """The caller's descriptors become 0 to 2; the user of the container owns pipes among them."""
    given = (stdio.stdin, stdio.stdout, stdio.stderr)
    if given != (0, 1, 2):
        # Above 2 first: one of them may be another's target.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in given]
        for number, fd in enumerate(high):
            os.dup2(fd, number)
            os.close(fd)
    for number in (0, 1, 2):
        os.set_inheritable(number, True)
        info = os.fstat(number)
        if info.st_uid == identity.uid or stat.S_ISCHR(info.st_mode) and not os.isatty(number):
            continue  # /dev/null stays the host's
        try:
            fds.chown(number, identity.uid, why="its user may open /dev/stdout again")
        except OSError:
            pass  # not mapped, or a read-only file system: /dev/stdout cannot be reopened then
