"""The container's /sys/fs/cgroup: its own groups and nothing above them.

v1 and hybrid   a tmpfs with one directory for each hierarchy, as the host has it, and links for
                controllers that share one (`cpu` -> `cpu,cpuacct`)
v2              one mount

With a cgroup namespace of its own the container mounts the hierarchies itself, and their root is
its group.  Without one its groups are bound from the host's mounts.
"""

from __future__ import annotations

import errno
import os

from jubako.errors import KernelError
from jubako.linux import mountapi
from jubako.linux.mount import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY
from jubako.linux.mountapi import AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, attach
from jubako.linux.openat2 import mkdirat, openat2
from jubako.runtime.options import Options
from jubako.runtime.rootfs import make_link, mount_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.cgroups import Cgroup, Hierarchy
    from jubako.runtime.namespaces import Namespaces
    from jubako.runtime.rootfs import Root

_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC

_OWN = "the container's own group, as its limits and counters"


def mount(
    root: Root, path: str, options: Options, cgroup: Cgroup | None, namespaces: Namespaces
) -> None:
    """Show the container its own cgroups at `path`.  options: of the spec's mount."""
    if cgroup is None:
        return
    private = namespaces.own("cgroup")
    target = root.target(path, directory=True)
    try:
        if not cgroup.layout.v1:
            assert cgroup.layout.v2 is not None
            _mount_unified(target, path, options, cgroup.layout.v2.path + cgroup.path, private)
            return
        why = "a directory for the groups that the container may look at"
        mount_on(target, "tmpfs", "tmpfs", _FLAGS, "mode=755", path, why=why)
    finally:
        os.close(target)
    top = root.top(path)
    try:
        for hierarchy in cgroup.layout.v1:
            name = os.path.basename(hierarchy.path)
            mkdirat(top, name, 0o755, why=_OWN)
            inside = openat2(top, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if private:
                    words = ",".join(sorted(hierarchy.controllers)) or f"name={hierarchy.name}"
                    place = f"{path}/{name}"
                    mount_on(inside, "cgroup", "cgroup", options.flags, words, place, why=_OWN)
                else:
                    _bind(inside, hierarchy.path + cgroup.path, options)
            finally:
                os.close(inside)
            _link_controllers(top, hierarchy, name)
        if options.flags & MS_RDONLY:
            mountapi.mount_setattr(
                top,
                "",
                set=MOUNT_ATTR_RDONLY,
                flags=AT_EMPTY_PATH,
                why="the names of the groups are fixed",
            )
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise KernelError.from_oserror("set up cgroup mounts", error, path=path) from error
    finally:
        os.close(top)


def _link_controllers(top: int, hierarchy: Hierarchy, name: str) -> None:
    if len(hierarchy.controllers) > 1:
        for controller in hierarchy.controllers:
            if controller != name:
                make_link(top, controller, name, why="another name of the same group")


def _mount_unified(target: int, path: str, options: Options, host: str, private: bool) -> None:
    if private:
        try:
            mount_on(target, "cgroup", "cgroup2", options.flags, "", path, why=_OWN)
            return
        except KernelError as error:
            # A user namespace may not mount it anew; it sees the same through a bind.
            if error.errno not in (errno.EPERM, errno.EBUSY):
                raise
    _bind(target, host, options)


def _bind(target: int, host: str, options: Options) -> None:
    put, _clear = options.attributes()
    copy = mountapi.clone_tree(host, recursive=False, attributes=put, why=_OWN)
    try:
        attach(copy, target, why=_OWN)
    finally:
        os.close(copy)
