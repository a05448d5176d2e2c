"""mount(2), umount2(2), pivot_root(2).

The functions keep the kernel's argument order; comfort (`bind`, `remount`, `set_propagation`)
follows below.  All raise KernelError, whose text carries source, flags by name and data.
"""

from __future__ import annotations

import ctypes

from jubako.linux import trace
from jubako.linux._libc import check, encode, flag_names, function, syscall
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
MNT_EXPIRE = 4
UMOUNT_NOFOLLOW = 8

_MS = {name: value for name, value in globals().items() if name.startswith("MS_")}
_MNT = {name: value for name, value in globals().items() if name.startswith(("MNT_", "UMOUNT_"))}

_PROPAGATION = {
    MS_PRIVATE: "private",
    MS_SLAVE: "slave",
    MS_SHARED: "shared",
    MS_UNBINDABLE: "unbindable",
}
# What mount(8) calls the flags, for the trace.
_WORDS = {
    MS_RDONLY: "ro",
    MS_NOSUID: "nosuid",
    MS_NODEV: "nodev",
    MS_NOEXEC: "noexec",
    MS_SYNCHRONOUS: "sync",
    MS_REMOUNT: "remount",
    MS_DIRSYNC: "dirsync",
    MS_NOSYMFOLLOW: "nosymfollow",
    MS_NOATIME: "noatime",
    MS_NODIRATIME: "nodiratime",
    MS_RELATIME: "relatime",
    MS_STRICTATIME: "strictatime",
    MS_LAZYTIME: "lazytime",
}

_mount = function(
    "mount",
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_umount2 = function("umount2", ctypes.c_char_p, ctypes.c_int)
_pivot_root = syscall("pivot_root", ctypes.c_char_p, ctypes.c_char_p)


def _shell(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "", **_: str
) -> str:
    words = ["mount"]
    target = _place(target)
    propagation = propagation_words(flags)
    if propagation:
        return f"mount --{propagation} {quote(target)}"
    if flags & MS_MOVE:
        words.append("--move")
    options = [word for bit, word in _WORDS.items() if flags & bit]
    if flags & MS_BIND:
        if flags & MS_REMOUNT:
            options.append("bind")
        else:
            words.append("--rbind" if flags & MS_REC else "--bind")
    if fstype:
        words += ["-t", fstype]
    if data:
        options.append(data)
    if options:
        words += ["-o", quote(",".join(options))]
    if not flags & MS_REMOUNT:
        words.append(quote(_place(source or "none")))
    words.append(quote(target))
    return " ".join(words)


def _facts(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str = "", **_: str
) -> dict[str, Any]:
    return {
        "source": None if source is None else _place(source),
        "target": _place(target),
        "fstype": fstype,
        "flags": flag_names(flags, _MS) if flags else "",
        "data": data,
    }


def propagation_words(flags: int) -> str:
    """`make-rslave` for MS_SLAVE | MS_REC, as mount(8) calls it; "" for none."""
    for bit, name in _PROPAGATION.items():
        if flags & bit:
            return f"make-{'r' if flags & MS_REC else ''}{name}"
    return ""


def _place(path: str) -> str:
    """Where a descriptor of ours leads, which nobody else could name."""
    prefix = "/proc/self/fd/"
    return trace.place(int(path[len(prefix) :])) if path.startswith(prefix) else path


@traced(_shell, facts=_facts)
def mount(
    source: str | None,
    target: str,
    fstype: str | None,
    flags: int = 0,
    data: str = "",
    *,
    why: str = "",
) -> None:
    """mount(2).  data: the file system's options, less than one page (4096 bytes)."""
    if (
        _mount(
            encode(source), encode(target), encode(fstype), flags, encode(data) if data else None
        )
        < 0
    ):
        facts = [fact for fact in (source, fstype, flag_names(flags, _MS), data) if fact]
        check(-1, "mount", path=target, detail=", ".join(facts))


@traced(
    lambda target, flags=0, *, why="": (
        f"umount {'-l ' if flags & MNT_DETACH else ''}{quote(_place(target))}"
    )
)
def umount2(target: str, flags: int = 0, *, why: str = "") -> None:
    """umount2(2); add UMOUNT_NOFOLLOW where the last component may be a link."""
    if _umount2(encode(target), flags) < 0:
        check(-1, "umount", path=target, detail=flag_names(flags, _MNT) if flags else None)


@traced(
    lambda new_root, put_old, *, why="": (
        f"cd {quote(trace.here())} && pivot_root {new_root} {put_old}"
    )
)
def pivot_root(new_root: str, put_old: str, *, why: str = "") -> None:
    """pivot_root(2).  `pivot_root(".", ".")` then `umount2(".", MNT_DETACH)` needs no directory."""
    if _pivot_root(encode(new_root), encode(put_old)) < 0:
        check(-1, "pivot_root", path=new_root)


def bind(source: str, target: str, *, recursive: bool = True, why: str = "") -> None:
    """Bind `source` at `target`, with the mounts below it when `recursive`."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0), why=why)


def remount(target: str, flags: int, *, why: str = "") -> None:
    """Replace the per-mount flags of the one mount at `target` (MS_RDONLY, MS_NOSUID...)."""
    mount(None, target, None, MS_REMOUNT | MS_BIND | flags, why=why)


def set_propagation(target: str, flags: int, *, why: str = "") -> None:
    """Set MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, with MS_REC for all mounts below."""
    mount(None, target, None, flags, why=why)
