"""/proc/PID/mountinfo (proc_pid_mountinfo(5)), read completely or not at all."""

from __future__ import annotations

import os
import re

from jubako.errors import KernelError
from jubako.linux.fds import Fd, fdinfo

_OCTAL = r"\\([0-7]{3})"


class MountEntry:
    """One mount.

    root: the path inside the file system.  target: the mount point, relative to the process's root.
    options: of this mount.  propagation: the optional fields, e.g. ["shared:1"].
    super_options: of the file system.
    """

    __slots__ = __match_args__ = (
        "mount_id",
        "parent",
        "device",
        "root",
        "target",
        "options",
        "propagation",
        "fstype",
        "source",
        "super_options",
    )

    def __init__(self, line: str):
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        self.mount_id = int(fields[0])
        self.parent = int(fields[1])
        self.device = fields[2]
        self.root = unescape(fields[3])
        self.target = unescape(fields[4])
        self.options = fields[5].split(",")
        self.propagation = fields[6:]
        tail = right.split(" ")
        self.fstype = tail[0]
        self.source = unescape(tail[1]) if len(tail) > 1 else ""
        self.super_options = tail[2].split(",") if len(tail) > 2 else []

    def __repr__(self) -> str:
        return f"MountEntry({self.mount_id} {self.target!r} {self.fstype})"


def unescape(text: str) -> str:
    r"""Undo the kernel's `\040`, byte by byte (a name need not be UTF-8)."""
    if "\\" not in text:
        return text
    # Escapes are ASCII (space, tab, newline, backslash, #), so no byte of a longer character.
    return re.sub(_OCTAL, lambda match: chr(int(match[1], 8)), text)


def parse(text: str) -> list[MountEntry]:
    """The entries of `text`, which has the format of /proc/PID/mountinfo."""
    return [MountEntry(line) for line in text.split("\n") if " - " in line]


def read(pid: int | str = "self") -> list[MountEntry]:
    """The mounts that `pid` sees.  Raises KernelError (ENOENT, ESRCH: no such process)."""
    path = f"/proc/{pid}/mountinfo"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise KernelError.from_oserror("read", error, path=path) from error
    return parse(data.decode("utf-8", "surrogateescape"))


def filesystem_of(path: str) -> str:
    """The type of the file system that holds `path`: `ext4`; `unknown` if its mount is not seen.

    Raises KernelError.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError.from_oserror("open", error, path=path) from error
    with Fd(fd):
        mount_id = fdinfo(fd, "mnt_id")
    found = [entry.fstype for entry in read() if entry.mount_id == mount_id]
    return found[0] if found else "unknown"


def below(entries: list[MountEntry], path: str) -> list[MountEntry]:
    """The mounts at `path` and under it, the deepest first: the order in which to unmount them."""
    prefix = path.rstrip("/") + "/"
    return [
        entry
        for entry in reversed(entries)
        if entry.target == path or entry.target.startswith(prefix)
    ]
