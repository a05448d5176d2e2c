"""Mount options of an OCI spec: words to flags (runtime-spec config.md, Linux mount options)."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.linux.mount import (
    MS_BIND,
    MS_DIRSYNC,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)
from jubako.linux.mountapi import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# word -> (whether it clears, MS_* flag)
FLAGS = {
    "acl": (False, 1 << 16),
    "async": (True, MS_SYNCHRONOUS),
    "atime": (True, MS_NOATIME),
    "bind": (False, MS_BIND),
    "defaults": (False, 0),
    "dev": (True, MS_NODEV),
    "diratime": (True, MS_NODIRATIME),
    "dirsync": (False, MS_DIRSYNC),
    "exec": (True, MS_NOEXEC),
    "iversion": (False, 1 << 23),
    "lazytime": (False, MS_LAZYTIME),
    "loud": (True, MS_SILENT),
    "mand": (False, MS_MANDLOCK),
    "noacl": (True, 1 << 16),
    "noatime": (False, MS_NOATIME),
    "nodev": (False, MS_NODEV),
    "nodiratime": (False, MS_NODIRATIME),
    "noexec": (False, MS_NOEXEC),
    "noiversion": (True, 1 << 23),
    "nolazytime": (True, MS_LAZYTIME),
    "nomand": (True, MS_MANDLOCK),
    "norelatime": (True, MS_RELATIME),
    "nostrictatime": (True, MS_STRICTATIME),
    "nosuid": (False, MS_NOSUID),
    "nosymfollow": (False, MS_NOSYMFOLLOW),
    "rbind": (False, MS_BIND | MS_REC),
    "relatime": (False, MS_RELATIME),
    "remount": (False, MS_REMOUNT),
    "ro": (False, MS_RDONLY),
    "rw": (True, MS_RDONLY),
    "silent": (False, MS_SILENT),
    "strictatime": (False, MS_STRICTATIME),
    "suid": (True, MS_NOSUID),
    "symfollow": (True, MS_NOSYMFOLLOW),
    "sync": (False, MS_SYNCHRONOUS),
}
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
# word -> (whether it clears, MOUNT_ATTR_*), for the mount and everything below it
RECURSIVE = {
    "rro": (False, MOUNT_ATTR_RDONLY),
    "rrw": (True, MOUNT_ATTR_RDONLY),
    "rnosuid": (False, MOUNT_ATTR_NOSUID),
    "rsuid": (True, MOUNT_ATTR_NOSUID),
    "rnodev": (False, MOUNT_ATTR_NODEV),
    "rdev": (True, MOUNT_ATTR_NODEV),
    "rnoexec": (False, MOUNT_ATTR_NOEXEC),
    "rexec": (True, MOUNT_ATTR_NOEXEC),
    "rnodiratime": (False, MOUNT_ATTR_NODIRATIME),
    "rdiratime": (True, MOUNT_ATTR_NODIRATIME),
    "rrelatime": (False, 0),
    "rnorelatime": (True, 0),
    "rnoatime": (False, MOUNT_ATTR_NOATIME),
    "ratime": (True, MOUNT_ATTR_NOATIME),
    "rstrictatime": (False, MOUNT_ATTR_STRICTATIME),
    "rnostrictatime": (True, MOUNT_ATTR_STRICTATIME),
    "rnosymfollow": (False, MOUNT_ATTR_NOSYMFOLLOW),
    "rsymfollow": (True, MOUNT_ATTR_NOSYMFOLLOW),
}
# MS_* flags of a single mount, as mount_setattr names them
_ATTRIBUTES = {
    MS_RDONLY: MOUNT_ATTR_RDONLY,
    MS_NOSUID: MOUNT_ATTR_NOSUID,
    MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC,
    MS_NODIRATIME: MOUNT_ATTR_NODIRATIME,
    MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
    MS_NOATIME: MOUNT_ATTR_NOATIME,
    MS_STRICTATIME: MOUNT_ATTR_STRICTATIME,
}
_ATIMES = MS_NOATIME | MS_RELATIME | MS_STRICTATIME


class Options:
    """The options of one mount, sorted out.

    flags, cleared: MS_*.  propagation: MS_* in order.  set_all, clear_all: MOUNT_ATTR_* for the
    whole tree.  data: the rest, for the file system.  copy_up: fill a tmpfs with what it hides.
    idmap: "", "idmap" or "ridmap".
    """

    __slots__ = (
        "clear_all",
        "cleared",
        "copy_up",
        "data",
        "flags",
        "idmap",
        "propagation",
        "set_all",
    )

    def __init__(self, words: Iterable[str]):
        self.flags = 0
        self.cleared = 0
        self.propagation: list[int] = []
        self.set_all = 0
        self.clear_all = 0
        self.copy_up = False
        self.idmap = ""
        data: list[str] = []
        for word in words:
            if word in FLAGS:
                clears, flag = FLAGS[word]
                if clears:
                    self.flags &= ~flag
                    self.cleared |= flag
                else:
                    self.flags |= flag
                    self.cleared &= ~flag
            elif word in PROPAGATION:
                self.propagation.append(PROPAGATION[word])
            elif word in RECURSIVE:
                self._recursive(word)
            elif word == "tmpcopyup":
                self.copy_up = True
            elif word in ("idmap", "ridmap"):
                self.idmap = word
            else:
                data.append(word)
        self.data = ",".join(data)
        if "\0" in self.data:
            raise InvalidArgument("a mount option contains a null byte")

    def _recursive(self, word: str) -> None:
        clears, attribute = RECURSIVE[word]
        if "atime" in word and "dir" not in word:
            # The kernel wants the whole field cleared before a new value is set.
            self.clear_all |= MOUNT_ATTR__ATIME
            self.set_all &= ~MOUNT_ATTR__ATIME
            if not clears:
                self.set_all |= attribute
        elif clears:
            self.clear_all |= attribute
            self.set_all &= ~attribute
        else:
            self.set_all |= attribute
            self.clear_all &= ~attribute

    @property
    def bind(self) -> bool:
        return bool(self.flags & MS_BIND)

    @property
    def recursive(self) -> bool:
        return bool(self.flags & MS_REC)

    def attributes(self) -> tuple[int, int]:
        """What mount_setattr sets and clears on the one mount of a bind."""
        put = clear = 0
        for flag, attribute in _ATTRIBUTES.items():
            if self.flags & flag:
                put |= attribute
            if self.cleared & flag and not flag & _ATIMES:
                clear |= attribute
        if (self.flags | self.cleared) & _ATIMES:
            clear |= MOUNT_ATTR__ATIME
        return put, clear
