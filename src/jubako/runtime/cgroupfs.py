"""The container's /sys/fs/cgroup."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.linux.cgroups import Cgroup
    from jubako.runtime.namespaces import Namespaces
    from jubako.runtime.options import Options
    from jubako.runtime.rootfs import Root


def mount(
    root: Root, path: str, options: Options, cgroup: Cgroup | None, namespaces: Namespaces
) -> None:
    """Show the container its own cgroups at `path`."""
    if cgroup is None:
        return
