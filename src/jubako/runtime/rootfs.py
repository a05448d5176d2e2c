"""The container's root file system, built while the host's is still visible.

Nothing here follows a path of the container's with the host's eyes.  A target is opened below the
root's descriptor with openat2(RESOLVE_IN_ROOT), so that links of the image lead to places in the
image, and the mount is put on that descriptor: whatever is renamed meanwhile, it lands in the
directory that was looked at.  /proc, /sys and /dev must be real directories: what the kernel says
there about masks and devices is only true at their own paths.
"""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import mountapi, trace
from jubako.linux.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SHARED,
    mount,
    pivot_root,
    set_propagation,
    umount2,
)
from jubako.linux.mountapi import AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_RDONLY, attach
from jubako.linux.openat2 import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    mkdir_in_root,
    open_in_root,
    openat2,
)
from jubako.linux.shell import quote
from jubako.linux.statfs import DEVPTS_SUPER_MAGIC, PROC_SUPER_MAGIC, filesystem_type
from jubako.linux.trace import traced
from jubako.runtime import copyup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.runtime.options import Options
    from jubako.runtime.sources import Source

_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_REAL = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS

# Always there (runtime-spec config-linux.md, Default Devices): name -> major, minor
DEFAULT_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

# Why each of these is mounted, by path or by type of file system.
_PURPOSES = {
    "proc": "/proc tells about processes: those of the container, as its PID namespace counts them",
    "sysfs": "/sys tells about devices and the kernel",
    "/dev": "/dev holds devices; the container's has only the harmless ones, made below",
    "devpts": "terminals of the container's own",
    "mqueue": "message queues of the container's own",
    "/dev/shm": "memory that processes of the container share",
}
_DEVICES = "the devices that every container has"
_LINKED = "names that programs expect in /dev"
_SHARED = "mounts in here and on the host are seen by each other, as was asked for"

# Files of /proc that lxcfs and its like replace, the same as with runc.
_OVER_PROC = frozenset(
    (
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    )
)


class Root:
    """A root in the making.  fd: its top directory, the root of its mount."""

    __slots__ = ("fd",)

    def __init__(self, fd: int):
        self.fd = fd

    def attach(self) -> None:
        """Put the root over this mount namespace's own `/`, where nobody can reach it by name.

        pivot_root(2) wants a mount point; this one needs no directory of the host.
        """
        set_propagation(
            "/", MS_PRIVATE | MS_REC, why="nothing that is mounted here reaches the host"
        )
        attach(
            self.fd, "/", why="the container's root directory: for now it is a mount like others"
        )

    # --- targets -----------------------------------------------------------------------------

    def target(self, path: str, *, directory: bool) -> int:
        """An O_PATH descriptor of a mount's target, which is made if it is missing."""
        inside = path.lstrip("/") or "."
        if directory:
            return mkdir_in_root(self.fd, inside)
        try:
            return open_in_root(self.fd, inside, os.O_PATH)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
        return self._make_file(inside, links=0)

    def _make_file(self, path: str, *, links: int) -> int:
        parent, _, name = path.rstrip("/").rpartition("/")
        directory = mkdir_in_root(self.fd, parent or ".")
        try:
            try:
                _make_file(directory, name, 0o755, why=f"a file at /{path}, to be covered")
            except OSError as error:
                if error.errno != errno.ELOOP or links > 40:
                    raise KernelError.from_oserror("create", error, path="/" + path) from error
                # A link to nothing yet, as /etc/resolv.conf in many images: make what it names.
                link = os.readlink(name, dir_fd=directory)
                further = link if link.startswith("/") else f"{parent}/{link}"
                return self._make_file(further.lstrip("/"), links=links + 1)
            return openat2(directory, name, os.O_PATH | os.O_NOFOLLOW)
        finally:
            os.close(directory)

    def real_directory(self, path: str) -> int:
        """Open a directory on whose path nothing is a link; it is made if it is missing.

        Raises InvalidArgument when there is a link (CVE-2019-19921, CVE-2023-27561): a mount of
        /proc at another place would leave what is masked by path unmasked.
        """
        inside = path.strip("/")
        try:
            try:
                return openat2(self.fd, inside, _DIRECTORY, 0, _REAL)
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            os.close(mkdir_in_root(self.fd, inside))
            return openat2(self.fd, inside, _DIRECTORY, 0, _REAL)
        except KernelError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise InvalidArgument(
                f"{path} in the container's root must be a directory, not a link or a file",
                subject=path,
            ) from error

    # --- mounts ------------------------------------------------------------------------------

    def bind(self, source: Source, path: str) -> None:
        """Put a detached mount at `path`."""
        target = self.target(path, directory=source.directory)
        try:
            self._check_is_proc(target, path, source.fd)
            self._check_over_proc(target, path, source.fd)
            attach(
                source.fd, target, why=f"{path} of the container: a file or directory of the host"
            )
        except KernelError as error:
            raise KernelError("mount", error.errno or 0, path=path, detail="bind") from error
        finally:
            os.close(target)

    def mount(self, fstype: str, source: str, path: str, options: Options) -> None:
        """Mount a new file system at `path`."""
        if fstype in ("proc", "sysfs") or path.rstrip("/") == "/dev":
            target = self.real_directory(path)
        else:
            target = self.target(path, directory=True)
        try:
            if fstype != "proc":
                self._check_is_proc(target, path, -1)
                self._check_over_proc(target, path, -1)
            if options.copy_up:
                self._copy_up(target, source, path, options)
            else:
                why = purpose(path, fstype)
                mount_on(target, source, fstype, options.flags, options.data, path, why=why)
        finally:
            os.close(target)
        for flags in options.propagation:
            self.propagate(path, flags)
        if options.set_all or options.clear_all:
            top = self.top(path)
            try:
                mountapi.mount_setattr(
                    top,
                    "",
                    set=options.set_all,
                    clear=options.clear_all,
                    flags=AT_EMPTY_PATH | AT_RECURSIVE,
                    why=f"options of {path} that hold for all mounts below it",
                )
            finally:
                os.close(top)

    def _check_is_proc(self, target: int, path: str, source: int) -> None:
        """Only a proc file system is mounted at /proc, whatever name leads there.

        Else processes of a volume's owner decide what programs believe about themselves, and what
        is masked by path is masked in the volume.
        """
        if source >= 0 and filesystem_type(source) == PROC_SUPER_MAGIC:
            return
        try:
            proc = openat2(self.fd, "proc", os.O_PATH, 0, _REAL)
        except KernelError:
            return  # missing, or a link, which `real_directory` refuses
        try:
            same = os.path.sameopenfile(proc, target)
        finally:
            os.close(proc)
        if same:
            text = f'"{path}" cannot be mounted because it is not of type proc'
            raise InvalidArgument(text, subject=path)

    def _check_over_proc(self, target: int, path: str, source: int) -> None:
        """Nothing covers a part of /proc that programs trust, but for known files.

        An image may name /proc as a volume, or lead there by a link (CVE-2019-16884): labels and
        masks would then be written into a file of the container.
        """
        if filesystem_type(target) != PROC_SUPER_MAGIC:
            return
        if source >= 0 and filesystem_type(source) == PROC_SUPER_MAGIC:
            return  # the host's /proc, for a container in the host's PID namespace
        try:
            os.close(openat2(self.fd, path.strip("/"), os.O_PATH, 0, _REAL))
            allowed = path in _OVER_PROC
        except KernelError:
            allowed = False
        if not allowed:
            raise InvalidArgument(f"mount at {path}: it is inside /proc", subject=path)

    def _copy_up(self, target: int, source: str, path: str, options: Options) -> None:
        # The copy is made before the flags: `ro` would forbid it.
        writable = options.flags & ~MS_RDONLY
        before = open_in_root(target, ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            why = f"{path} in memory, with a copy of what the image has there"
            mount_on(target, source, "tmpfs", writable, options.data, path, why=why)
            top = self.top(path)
            try:
                copyup.copy_tree(before, top)
            finally:
                os.close(top)
        finally:
            os.close(before)
        if options.flags & MS_RDONLY:
            self.make_readonly(path)

    def top(self, path: str) -> int:
        """Open what is visible at `path` now, the topmost mount included."""
        return open_in_root(self.fd, path.lstrip("/") or ".", os.O_PATH)

    def propagate(self, path: str, flags: int) -> None:
        """Set the propagation of the mount at `path`."""
        top = self.top(path)
        try:
            depth = AT_RECURSIVE if flags & MS_REC else 0
            mountapi.mount_setattr(
                top,
                "",
                propagation=flags & ~MS_REC,
                flags=AT_EMPTY_PATH | depth,
                why=f"who sees what is mounted below {path} later",
            )
        finally:
            os.close(top)

    # --- /dev --------------------------------------------------------------------------------

    def make_devices(
        self, devices: list[dict[str, Any]], sources: dict[str, Source], *, console: bool
    ) -> None:
        """The default devices, those of the spec, and the links that belong to /dev.

        sources: host devices to bind instead of mknod, in a user namespace.
        """
        dev = self.real_directory("/dev")
        try:
            wanted = {device["path"]: device for device in devices}
            for name, (major, minor) in DEFAULT_DEVICES.items():
                path = f"/dev/{name}"
                if path in wanted:
                    continue
                if path in sources:
                    self.bind(sources[path], path)
                else:
                    number = os.makedev(major, minor)
                    _make_device(dev, name, stat.S_IFCHR | 0o666, number, why=_DEVICES)
            for path, device in wanted.items():
                if path in sources:
                    self.bind(sources[path], path)
                else:
                    self._make_spec_device(device)
            for name, target in _LINKS.items():
                make_link(dev, name, target, why=_LINKED)
            if os.path.exists("/proc/kcore"):
                make_link(dev, "core", "/proc/kcore", why=_LINKED)
            make_link(dev, "ptmx", "pts/ptmx", replace=True, why=_LINKED)
            if console:
                _make_file(dev, "console", 0o620, why="a file that the terminal is to cover")
        except OSError as error:
            if isinstance(error, KernelError):
                raise
            raise KernelError.from_oserror("set up /dev", error) from error
        finally:
            os.close(dev)

    def _make_spec_device(self, device: dict[str, Any]) -> None:
        path = device["path"]
        parent, _, name = path.strip("/").rpartition("/")
        if not name or name in (".", ".."):
            raise InvalidArgument(f"invalid device path {path!r}")
        kind = _TYPES.get(device["type"])
        if kind is None:
            raise InvalidArgument(f"unknown device type {device['type']!r} of {path}")
        mode = device.get("fileMode")
        number = 0
        if device["type"] != "p":
            number = os.makedev(device.get("major", 0), device.get("minor", 0))
        directory = mkdir_in_root(self.fd, parent or ".")
        try:
            _make_device(
                directory,
                name,
                kind | (0o666 if mode is None else mode & 0o7777),
                number,
                device.get("uid") or 0,
                device.get("gid") or 0,
                why=f"{path}, a device of the host that the container was given",
            )
        finally:
            os.close(directory)

    def bind_console(self, slave: int) -> None:
        """Show the terminal as /dev/console.

        The slave came out of the master (TIOCGPTPEER), and both ends are checked through their
        descriptors: a name in /dev/pts proves nothing (CVE-2025-52565).
        """
        if filesystem_type(slave) != DEVPTS_SUPER_MAGIC:
            raise KernelError("bind /dev/console", errno.ENODEV, detail="not on devpts")
        target = openat2(self.fd, "dev/console", os.O_PATH | os.O_NOFOLLOW, 0, _REAL)
        try:
            why = "/dev/console is the container's terminal"
            mount_on(target, f"/proc/self/fd/{slave}", "", MS_BIND, "", "/dev/console", why=why)
        finally:
            os.close(target)

    # --- what is taken away ------------------------------------------------------------------

    def mask(self, paths: list[str], *, label: str = "") -> None:
        """Hide files behind /dev/null and directories behind an empty read-only tmpfs."""
        null = -1
        try:
            for path in paths:
                target = self._existing(path)
                if target < 0:
                    continue
                try:
                    if stat.S_ISDIR(os.fstat(target).st_mode):
                        why = (
                            f"hide {path}, which tells about the host: an empty directory covers it"
                        )
                        mount_on(target, "tmpfs", "tmpfs", MS_RDONLY, label, path, why=why)
                        continue
                    if null < 0:
                        null = self._open_null()
                    why = f"hide {path}, which tells about the host: /dev/null covers it"
                    copy = mountapi.clone_tree(null, recursive=False, why=why)
                    try:
                        attach(copy, target, why=why)
                    finally:
                        os.close(copy)
                finally:
                    os.close(target)
        finally:
            if null >= 0:
                os.close(null)

    def _open_null(self) -> int:
        """The container's null device where it is one, else the host's (CVE-2025-31133)."""
        try:
            fd = openat2(self.fd, "dev/null", os.O_PATH | os.O_NOFOLLOW, 0, _REAL)
        except KernelError:
            fd = -1
        if fd >= 0:
            if _is_null(fd):
                return fd
            os.close(fd)
        fd = openat2(-100, "/dev/null", os.O_PATH | os.O_NOFOLLOW)
        if _is_null(fd):
            return fd
        os.close(fd)
        raise KernelError("open", errno.ENODEV, path="/dev/null", detail="not the null device")

    def make_readonly(self, path: str) -> None:
        """Bind `path` onto itself, read-only with everything below; nothing if it is missing."""
        target = self._existing(path)
        if target < 0:
            return
        try:
            why = f"{path} can be read and not changed: it holds settings of the whole machine"
            if not path.startswith(("/proc/", "/sys/")):
                why = f"{path} can be read and not changed"
            copy = mountapi.clone_tree(target, attributes=MOUNT_ATTR_RDONLY, why=why)
            try:
                attach(copy, target, why=why)
            finally:
                os.close(copy)
        finally:
            os.close(target)

    def _existing(self, path: str) -> int:
        try:
            return open_in_root(self.fd, path.lstrip("/") or ".", os.O_PATH)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return -1
            raise

    def make_root_readonly(self) -> None:
        """The root's own mount, not those on it."""
        mountapi.mount_setattr(
            self.fd,
            "",
            set=MOUNT_ATTR_RDONLY,
            flags=AT_EMPTY_PATH,
            why="the container may not change its own file system (--read-only)",
        )

    # --- the switch --------------------------------------------------------------------------

    def pivot(self, propagation: int) -> None:
        """Make this the root directory and let the host's go."""
        old = os.open("/", _DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(self.fd)
            pivot_root(".", ".", why="from here on / is the container's root directory")
            os.fchdir(old)
            umount2(
                ".", MNT_DETACH, why="the host's files are gone from here, and no path leads back"
            )
            os.chdir("/")
        finally:
            os.close(old)
        if propagation & MS_SHARED:
            set_propagation("/", propagation, why=_SHARED)

    def switch_without_pivot(self, propagation: int) -> None:
        """The same for a host whose root is a ramfs, where pivot_root(2) is refused (--no-pivot).

        The host's mounts stay behind the new root, unreachable by name: every descriptor that
        could lead there is closed before the program runs.
        """
        os.fchdir(self.fd)
        _chroot(".", why="from here on / is the container's root directory (--no-pivot)")
        os.chdir("/")
        if propagation & MS_SHARED:
            set_propagation("/", propagation, why=_SHARED)


def purpose(path: str, fstype: str) -> str:
    """Why a container has a file system of this type at `path`, for the trace."""
    return _PURPOSES.get(path) or _PURPOSES.get(fstype) or f"{path}, a file system of its own"


def mount_on(
    target: int, source: str, fstype: str, flags: int, data: str, path: str, *, why: str = ""
) -> None:
    """mount(2) on a descriptor; the error names the path that the user knows."""
    try:
        mount(source, f"/proc/self/fd/{target}", fstype or None, flags, data, why=why)
    except KernelError as error:
        raise KernelError("mount", error.errno or 0, path=path, detail=error.detail) from error


def _is_null(fd: int) -> bool:
    info = os.fstat(fd)
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == os.makedev(1, 3)


def _device_words(
    directory: int, name: str, mode: int, number: int, uid: int = 0, gid: int = 0, *, why: str = ""
) -> str:
    path = quote(f"{trace.place(directory)}/{name}")
    kind = "b" if stat.S_ISBLK(mode) else "c"
    numbers = f"{kind} {os.major(number)} {os.minor(number)}" if not stat.S_ISFIFO(mode) else "p"
    owner = f" && chown {uid}:{gid} {path}" if uid or gid else ""
    return f"mknod -m {mode & 0o7777:o} {path} {numbers}{owner}"


@traced(
    _device_words,
    op="mknod",
    facts=lambda directory, name, mode, number, uid=0, gid=0, *, why="": {
        "path": f"{trace.place(directory)}/{name}",
        "mode": f"{mode & 0o7777:o}",
        "major": os.major(number),
        "minor": os.minor(number),
    },
)
def _make_device(
    directory: int, name: str, mode: int, number: int, uid: int = 0, gid: int = 0, *, why: str = ""
) -> None:
    try:
        os.mknod(name, mode, number, dir_fd=directory)
    except FileExistsError:
        # A /dev of the caller's own: what is there must be what was asked for.
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IFMT(info.st_mode) != stat.S_IFMT(mode) or info.st_rdev != number:
            raise KernelError("mknod", errno.EEXIST, path=name) from None
        return
    except OSError as error:
        raise KernelError.from_oserror("mknod", error, path=name) from error
    if uid or gid:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


@traced(
    lambda directory, name, mode, *, why="": f"touch {quote(f'{trace.place(directory)}/{name}')}",
    op="create",
    facts=lambda directory, name, mode, *, why="": {"path": f"{trace.place(directory)}/{name}"},
)
def _make_file(directory: int, name: str, mode: int, *, why: str = "") -> None:
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    os.close(os.open(name, flags, mode, dir_fd=directory))


@traced(lambda path, *, why="": f"chroot {quote(trace.here())}", op="chroot")
def _chroot(path: str, *, why: str = "") -> None:
    os.chroot(path)


@traced(
    lambda directory, name, target, *, replace=False, why="": (
        f"ln -s{'f' if replace else ''} {target} {quote(f'{trace.place(directory)}/{name}')}"
    ),
    op="symlink",
    facts=lambda directory, name, target, *, replace=False, why="": {
        "path": f"{trace.place(directory)}/{name}",
        "target": target,
    },
)
def make_link(
    directory: int, name: str, target: str, *, replace: bool = False, why: str = ""
) -> None:
    """A symbolic link; one that is there stays, or goes with `replace`."""
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        if replace:
            os.unlink(name, dir_fd=directory)
            os.symlink(target, name, dir_fd=directory)
