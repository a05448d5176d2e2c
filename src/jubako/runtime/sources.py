"""What the creating process opens before it forks: everything outside the container's root.

The root and each bind's source become detached copies of their mounts (open_tree(2)), with their
flags already set.  init then only puts descriptors in place: it walks no path of the host once it
has a root of its own, and a user namespace that cannot search the host's directories is no
obstacle.
"""

from __future__ import annotations

import errno
import os
import stat

from jubako.errors import InvalidArgument, KernelError
from jubako.linux import fds, mountapi
from jubako.linux.mount import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from jubako.linux.mountapi import AT_EMPTY_PATH, AT_RECURSIVE, MOUNT_ATTR_IDMAP
from jubako.runtime.namespaces import open_user_namespace
from jubako.runtime.options import PROPAGATION, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]
    IdMaps = tuple[list[dict[str, int]], list[dict[str, int]]]

_PROPAGATION_BITS = MS_PRIVATE | MS_SLAVE | MS_SHARED | MS_UNBINDABLE


_FOLLOW = "what the host mounts below it later appears in the container; nothing comes back"


class Source:
    """A bind's source: a detached mount and whether it is a directory."""

    __slots__ = ("directory", "fd")

    def __init__(self, fd: int, directory: bool):
        self.fd = fd
        self.directory = directory


class Sources:
    """The open descriptors of one container; `close` drops those that init has not placed.

    root: the root file system.  mounts: by index in the spec's `mounts`.  devices: by path, only
    with a user namespace, where mknod(2) is not allowed.
    """

    __slots__ = ("devices", "mounts", "root")

    def __init__(self) -> None:
        self.root = -1
        self.mounts: dict[int, Source] = {}
        self.devices: dict[str, Source] = {}

    def close(self) -> None:
        if self.root >= 0:
            os.close(self.root)
            self.root = -1
        for source in (*self.mounts.values(), *self.devices.values()):
            os.close(source.fd)
        self.mounts.clear()
        self.devices.clear()


def root_path(spec: Spec, bundle: str) -> str:
    """The root file system's path on the host; relative ones start at the bundle."""
    return os.path.join(bundle, spec["root"]["path"])


def open_sources(
    spec: Spec, bundle: str, options: list[Options], devices: list[str] | None = None
) -> Sources:
    """Open the root and the source of each bind.

    options: those of each of the spec's mounts.  devices: host devices to bind.
    Raises KernelError (ENOENT: a source is missing), InvalidArgument; nothing is left open then.
    """
    sources = Sources()
    try:
        path = root_path(spec, bundle)
        shared = spec["linux"].get("rootfsPropagation") or ""
        if shared and shared not in PROPAGATION:
            raise InvalidArgument(f"unknown rootfsPropagation {shared!r}")
        why = "what will be the container's root directory"
        sources.root = _clone(path, "root file system", recursive=True, why=why)
        # As runc: without a wish of the spec, what the host mounts later still arrives, and
        # nothing ever goes back.
        wanted = PROPAGATION.get(shared, MS_SLAVE | MS_REC)
        if wanted & MS_SHARED:
            wanted = MS_SLAVE | MS_REC  # pivot_root(2) refuses a shared root: it is made so after
        _propagate(sources.root, wanted, why=_FOLLOW)
        for index, mount in enumerate(spec.get("mounts") or ()):
            chosen = options[index]
            if chosen.bind or mount.get("type") == "bind":
                path = os.path.join(bundle, mount.get("source") or "")
                maps = _id_maps(mount, chosen, spec["linux"])
                why = (
                    f"for {mount['destination']}: a file or directory that the container shall see"
                )
                bound = _open_bind(path, chosen, "shared" in shared, maps, why=why)
                sources.mounts[index] = bound
        for path in devices or ():
            why = f"the device {path}, which cannot be made in a user namespace"
            fd = _clone(path, "device", recursive=False, why=why)
            sources.devices[path] = Source(fd, False)
    except BaseException:
        sources.close()
        raise
    return sources


def _id_maps(mount: dict[str, Any], options: Options, linux: dict[str, Any]) -> IdMaps | None:
    """The maps of an ID-mapped mount: its own, or the container's with option `idmap`."""
    uid_map, gid_map = mount.get("uidMappings"), mount.get("gidMappings")
    if not uid_map and not gid_map:
        if not options.idmap:
            return None
        uid_map, gid_map = linux.get("uidMappings"), linux.get("gidMappings")
    if not uid_map or not gid_map:
        raise InvalidArgument(f"mount {mount['destination']}: an ID-mapped mount needs both maps")
    return uid_map, gid_map


def _open_bind(
    path: str, options: Options, root_shared: bool, maps: IdMaps | None, *, why: str
) -> Source:
    fd = _clone(path, "bind source", recursive=options.recursive, why=why)
    try:
        if maps is not None:
            depth = AT_RECURSIVE if options.idmap == "ridmap" else 0
            _map_ids(fd, path, maps, depth)
        put, clear = options.attributes()
        if put or clear:
            mountapi.mount_setattr(fd, "", set=put, clear=clear, flags=AT_EMPTY_PATH, why=why)
        if options.set_all or options.clear_all:
            mountapi.mount_setattr(
                fd,
                "",
                set=options.set_all,
                clear=options.clear_all,
                flags=AT_EMPTY_PATH | AT_RECURSIVE,
                why=why,
            )
        wanted = options.propagation
        if not wanted and not root_shared:
            wanted = [MS_SLAVE | MS_REC]
        for flags in wanted:
            _propagate(fd, flags, why=why)
        return Source(fd, stat.S_ISDIR(os.fstat(fd).st_mode))
    except BaseException:
        os.close(fd)
        raise


def _map_ids(fd: int, path: str, maps: IdMaps, depth: int) -> None:
    with fds.Fd(open_user_namespace(*maps)) as namespace:
        try:
            mountapi.mount_setattr(
                fd,
                "",
                set=MOUNT_ATTR_IDMAP,
                userns_fd=namespace,
                flags=AT_EMPTY_PATH | depth,
                why="files that belong to one user on the host belong to another in there",
            )
        except KernelError as error:
            raise KernelError(
                "map IDs of",
                error.errno or 0,
                path=path,
                hint="not every file system can: ext4, xfs, btrfs, erofs and, since Linux 6.3, "
                "tmpfs can, overlayfs cannot"
                if error.errno == errno.EINVAL
                else None,
            ) from error


def _clone(path: str, what: str, *, recursive: bool, why: str) -> int:
    try:
        return mountapi.clone_tree(path, recursive=recursive, why=why)
    except KernelError as error:
        raise KernelError(f"open {what}", error.errno or 0, path=path) from error


def _propagate(fd: int, flags: int, *, why: str) -> None:
    depth = AT_RECURSIVE if flags & MS_REC else 0
    mountapi.mount_setattr(
        fd, "", propagation=flags & _PROPAGATION_BITS, flags=AT_EMPTY_PATH | depth, why=why
    )
