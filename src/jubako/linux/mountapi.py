"""The mount API with file descriptors (kernel 5.2 and later; mount_setattr 5.12).

A new mount is made detached (`new_mount`, `overlay`, `open_tree`) and put in place with
`move_mount` through a descriptor of the target, so that no path is walked twice and no link can
redirect it.  Every descriptor is close-on-exec and belongs to the caller.
"""

from __future__ import annotations

import ctypes
import os
import struct

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux._libc import encode, flag_names, get_errno, syscall
from jubako.linux.mount import MS_REC, propagation_words
from jubako.linux.shell import quote
from jubako.linux.trace import traced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS = 0x01
MOVE_MOUNT_F_AUTOMOUNTS = 0x02
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_AUTOMOUNTS = 0x20
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_SET_GROUP = 0x100
MOVE_MOUNT_BENEATH = 0x200

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
MAX_STRING_BYTES = 255  # of a value of fsconfig
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_BINARY = 2
FSCONFIG_SET_PATH = 3
FSCONFIG_SET_PATH_EMPTY = 4
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

_ATTRIBUTES = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "noatime": MOUNT_ATTR_NOATIME,
    "strictatime": MOUNT_ATTR_STRICTATIME,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
    "idmap": MOUNT_ATTR_IDMAP,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
}
_OPPOSITES = {
    "ro": "rw",
    "nosuid": "suid",
    "nodev": "dev",
    "noexec": "exec",
    "noatime": "atime",
    "nodiratime": "diratime",
    "nosymfollow": "symfollow",
}

_open_tree = syscall("open_tree", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_move_mount = syscall(
    "move_mount", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)
_fsopen = syscall("fsopen", ctypes.c_char_p, ctypes.c_uint)
_fsconfig = syscall(
    "fsconfig", ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int
)
_fsmount = syscall("fsmount", ctypes.c_int, ctypes.c_uint, ctypes.c_uint)
_mount_setattr = syscall(
    "mount_setattr", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_size_t
)


def _where(dirfd: int, path: str) -> str:
    return path or f"fd {dirfd}"


# --- for the trace: what each detached mount is ---------------------------------------------------

# A detached mount cannot be made by a tool of the shell.  What stands for it are the commands that
# make the same mount in its final place, which is written as _TARGET until `move_mount` tells it.
_detached: dict[int, list[str]] = {}
_TARGET = "\0"
_BELOW = "  # and all mounts below it"


def remember(fd: int, command: str) -> int:
    """Note the command that would have made the detached mount `fd`, but for its target; `fd`."""
    if trace.listening():
        _detached[fd] = [f"{command} {_TARGET}"]
    return fd


def _place(dirfd: int, path: str) -> str:
    if path == "/":  # a container's root is put there to begin with
        return trace.inside(path)
    if path.startswith("/"):
        return path
    return trace.place(dirfd) + (f"/{path}" if path else "")


def _move_words(
    from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int = 0, *, why: str = ""
) -> str:
    target = quote(_place(to_fd, to_path))
    commands = None if from_path else _detached.get(from_fd)
    if commands is None:
        return f"mount --move {quote(_place(from_fd, from_path))} {target}"
    return _chain([command.replace(_TARGET, target) for command in commands])


def _chain(commands: list[str]) -> str:
    """One command line.  mount(8) of Debian 12 cannot change all mounts below: a remark says so."""
    below = any(command.endswith(_BELOW) for command in commands)
    return " && ".join(command.removesuffix(_BELOW) for command in commands) + below * _BELOW


def _attribute_words(
    set: int = 0, clear: int = 0, propagation: int = 0, userns_fd: int = 0, flags: int = 0
) -> list[str]:
    """The options of mount(8) that do the same: one command for each."""
    words = [name for name, bit in _ATTRIBUTES.items() if set & bit & ~MOUNT_ATTR_IDMAP]
    words += [
        opposite
        for name, opposite in _OPPOSITES.items()
        if clear & _ATTRIBUTES[name] and not set & _ATTRIBUTES[name]
    ]
    if set & MOUNT_ATTR_IDMAP:
        words.append(f"X-mount.idmap={trace.namespace(userns_fd)}")
    found = [f"mount -o remount,bind,{','.join(words)}"] if words else []
    depth = MS_REC if flags & AT_RECURSIVE else 0
    return found + ([f"mount --{propagation_words(propagation | depth)}"] if propagation else [])


def _setattr_words(dirfd: int, path: str, *, why: str = "", **change: int) -> str:
    commands = _attribute_words(**change)
    recursive = change.get("flags", 0) & AT_RECURSIVE
    below = _BELOW if recursive and change.get("set", 0) | change.get("clear", 0) else ""
    if dirfd in _detached and not path:
        _detached[dirfd] += [f"{command} {_TARGET}{below}" for command in commands]
        words = "; ".join(command.removeprefix("mount ") for command in commands)
        return f"# mount_setattr(2) of the copy: {words}"
    target = quote(_place(dirfd, path))
    return _chain([f"{command} {target}{below}" for command in commands])


def _setattr_facts(dirfd: int, path: str, *, why: str = "", **change: int) -> dict[str, Any]:
    set, clear = change.get("set", 0), change.get("clear", 0)
    return {
        "target": "" if dirfd in _detached and not path else _place(dirfd, path),
        "set": flag_names(set, _ATTRIBUTES) if set else "",
        "clear": flag_names(clear, _ATTRIBUTES) if clear else "",
        "propagation": propagation_words(change.get("propagation", 0)),
        "recursive": bool(change.get("flags", 0) & AT_RECURSIVE),
    }


# --- the system calls ----------------------------------------------------------------------------


@traced(
    lambda dirfd, path, flags=0, *, why="": (
        f"# open_tree(2) of {quote(_place(dirfd, path))}: a copy of that mount, in no place yet"
    ),
    facts=lambda dirfd, path, flags=0, *, why="": {
        "source": _place(dirfd, path),
        "recursive": bool(flags & AT_RECURSIVE),
    },
)
def open_tree(dirfd: int, path: str, flags: int = OPEN_TREE_CLOEXEC, *, why: str = "") -> int:
    """open_tree(2).  With OPEN_TREE_CLONE (and AT_RECURSIVE) the result is a detached copy."""
    fd = _open_tree(dirfd, encode(path), flags | OPEN_TREE_CLOEXEC)
    if fd < 0:
        raise KernelError("open_tree", get_errno(), path=_where(dirfd, path))
    if trace.listening():
        depth = "--rbind" if flags & AT_RECURSIVE else "--bind"
        remember(fd, f"mount {depth} {quote(_place(dirfd, path))}")
    return fd


@traced(
    _move_words,
    facts=lambda from_fd, from_path, to_fd, to_path, flags=0, *, why="": {
        "target": _place(to_fd, to_path),
        "commands": [
            command.replace(_TARGET, quote(_place(to_fd, to_path))).removesuffix(_BELOW)
            for command in _detached.get(from_fd, ())
        ],
    },
)
def move_mount(
    from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int = 0, *, why: str = ""
) -> None:
    """move_mount(2): put a detached mount in place, or move an attached one."""
    if _move_mount(from_fd, encode(from_path), to_fd, encode(to_path), flags) < 0:
        raise KernelError(
            "move_mount",
            get_errno(),
            path=_where(to_fd, to_path),
            detail=f"from {_where(from_fd, from_path)}",
        )
    if not from_path:
        _detached.pop(from_fd, None)


def fsopen(fstype: str) -> int:
    """fsopen(2): a context in which a superblock is configured."""
    fd = _fsopen(encode(fstype), FSOPEN_CLOEXEC)
    if fd < 0:
        raise KernelError("fsopen", get_errno(), path=fstype)
    return fd


def _reason(fs_fd: int) -> str:
    """What the kernel wrote into the context's log; it holds one message a read."""
    lines = []
    try:
        for _ in range(8):
            lines.append(os.read(fs_fd, 8192).decode(errors="replace").strip())
    except OSError:
        pass  # ENODATA: no more messages
    return "; ".join(lines)


def _fail(op: str, fs_fd: int, what: str) -> KernelError:
    number = get_errno()
    reason = _reason(fs_fd)
    return KernelError(op, number, path=what or None, detail=reason or None)


def fsconfig_set_flag(fs_fd: int, key: str) -> None:
    """Set an option that has no value."""
    if _fsconfig(fs_fd, FSCONFIG_SET_FLAG, encode(key), None, 0) < 0:
        raise _fail("fsconfig", fs_fd, key)


def fsconfig_set_string(fs_fd: int, key: str, value: str) -> None:
    """Set an option to a string of at most 255 bytes."""
    if _fsconfig(fs_fd, FSCONFIG_SET_STRING, encode(key), encode(value), 0) < 0:
        raise _fail("fsconfig", fs_fd, f"{key}={value}")


def fsconfig_set_path(fs_fd: int, key: str, path: str, opened: list[int]) -> None:
    """Set an option to a path, which may be longer than a string's limit.

    Such a path is named by a descriptor, which is added to `opened`: the caller closes it after
    `fsconfig_create`.
    """
    if len(os.fsencode(path)) > MAX_STRING_BYTES:
        try:
            opened.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        except OSError as error:
            raise KernelError.from_oserror("open", error, path=path) from error
        path = f"/proc/self/fd/{opened[-1]}"
    fsconfig_set_string(fs_fd, key, path)


def fsconfig_set_fd(fs_fd: int, key: str, fd: int) -> None:
    """Set an option to an open file."""
    if _fsconfig(fs_fd, FSCONFIG_SET_FD, encode(key), None, fd) < 0:
        raise _fail("fsconfig", fs_fd, f"{key}=fd {fd}")


def fsconfig_create(fs_fd: int, what: str = "") -> None:
    """Make the superblock; `what` names it in an error."""
    if _fsconfig(fs_fd, FSCONFIG_CMD_CREATE, None, None, 0) < 0:
        raise _fail("mount", fs_fd, what)


def fsconfig_reconfigure(fs_fd: int, what: str = "") -> None:
    """Apply what was set to the existing superblock."""
    if _fsconfig(fs_fd, FSCONFIG_CMD_RECONFIGURE, None, None, 0) < 0:
        raise _fail("remount", fs_fd, what)


def fsmount(fs_fd: int, attributes: int = 0, what: str = "") -> int:
    """fsmount(2): a detached mount of the superblock, with MOUNT_ATTR_* `attributes`."""
    fd = _fsmount(fs_fd, FSMOUNT_CLOEXEC, attributes)
    if fd < 0:
        raise _fail("fsmount", fs_fd, what)
    return fd


@traced(_setattr_words, facts=_setattr_facts)
def mount_setattr(
    dirfd: int,
    path: str,
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
    flags: int = 0,
    why: str = "",
) -> None:
    """mount_setattr(2): change attributes of a mount, and of all below with AT_RECURSIVE.

    set, clear: MOUNT_ATTR_*.  propagation: MS_PRIVATE and the like, 0 leaves it.  userns_fd: the
    user namespace of MOUNT_ATTR_IDMAP.  flags: AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW.
    """
    attr = struct.pack("=QQQQ", set, clear, propagation, userns_fd)
    if _mount_setattr(dirfd, encode(path), flags, attr, len(attr)) < 0:
        raise KernelError(
            "mount_setattr",
            get_errno(),
            path=_where(dirfd, path),
            detail=f"set {flag_names(set, _ATTRIBUTES)}, clear {flag_names(clear, _ATTRIBUTES)}",
        )


# --- comfort -------------------------------------------------------------------------------------


def attach(mount_fd: int, target: int | str, *, why: str = "") -> None:
    """Put the detached mount `mount_fd` at `target`: an open directory or file, or a path."""
    if isinstance(target, int):
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        move_mount(mount_fd, "", target, "", flags, why=why)
    else:
        move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH, why=why)


@traced(
    lambda fstype, source="", options="", *, attributes=0, why="": (
        f"# fsmount(2) of a new {fstype} with {options or 'its defaults'}, in no place yet"
    )
)
def new_mount(
    fstype: str, source: str = "", options: str = "", *, attributes: int = 0, why: str = ""
) -> int:
    """A detached mount of a new superblock.

    options: as in mount(8), `a=b,c`; each value has at most 255 bytes.  attributes: MOUNT_ATTR_*.
    """
    fs_fd = fsopen(fstype)
    try:
        if source:
            fsconfig_set_string(fs_fd, "source", source)
        for option in options.split(",") if options else ():
            key, equals, value = option.partition("=")
            if equals:
                fsconfig_set_string(fs_fd, key, value)
            else:
                fsconfig_set_flag(fs_fd, key)
        fsconfig_create(fs_fd, fstype)
        words = f"-o {quote(options)} " if options else ""
        command = f"mount -t {fstype} {words}{quote(source or fstype)}"
        return remember(fsmount(fs_fd, attributes, fstype), command)
    finally:
        os.close(fs_fd)


def clone_tree(
    source: int | str, *, recursive: bool = True, attributes: int = 0, why: str = ""
) -> int:
    """A detached bind mount of `source` (descriptor or path), with MOUNT_ATTR_* set on it."""
    flags = OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
    if isinstance(source, int):
        fd = open_tree(source, "", flags | AT_EMPTY_PATH, why=why)
    else:
        fd = open_tree(AT_FDCWD, source, flags, why=why)
    if attributes:
        depth = AT_RECURSIVE if recursive else 0
        try:
            mount_setattr(fd, "", set=attributes, flags=AT_EMPTY_PATH | depth, why=why)
        except BaseException:
            os.close(fd)
            raise
    return fd


def overlay(
    lower: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    *,
    options: Mapping[str, str | None] | None = None,
    attributes: int = 0,
    why: str = "",
) -> int:
    """A detached overlayfs mount; the file descriptor belongs to the caller.

    lower: directories, the topmost first; at most 500 (the kernel's limit).  upper, work: both or
    neither; without them the mount is read-only.  options: others, None for one without a value.
    Kernels before 6.8 have no `lowerdir+`: there the layers are named by descriptor in one option
    string, which holds the same 500.
    Raises KernelError with the kernel's own reason.
    """
    from jubako.linux import overlayfs

    made = overlayfs.make(lower, upper, work, options or {}, attributes, why=why)
    if trace.listening():
        words = quote(overlayfs.option_words(lower, upper, work, options or {}))
        remember(made, f"mount -t overlay -o {words} overlay")
    return made
