"""Taking a container's kernel state down: after its end, after a failed start, after a crash.

Everything here is idempotent and goes on after a failure: what is gone already is no error, and
what cannot be removed does not keep the rest alive.
"""

from __future__ import annotations

import os

from jubako.errors import JubakoError, KernelError, Unavailable, raise_all
from jubako.linux import trace
from jubako.linux.removal import remove_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.containers.services import Services
    from jubako.containers.table import Container


# What the row of a container says that has nothing in the kernel.
NOTHING_LEFT: dict[str, object] = {"boot_id": "", "pid": 0, "endpoint": {}}


def free(services: Services, container: Container) -> None:
    """Kill what is left of the container's processes and free its cgroup, network and files.

    Raises what went wrong, after everything was tried; then the caller leaves the row as it is.
    """
    steps: list[Callable[[], object]] = [
        lambda: _delete(services, container),
        lambda: point("containers.takedown.runtime"),
        lambda: _disconnect(services, container),
        lambda: point("containers.takedown.network"),
        lambda: remove_tree(services.run_directory(container.id)),
    ]
    previous = trace.set_stage("end")
    try:
        raise_all(run_all(steps))
    finally:
        trace.set_stage(previous)


def _disconnect(services: Services, container: Container) -> None:
    if container.has_address:  # else there is nothing, and the package is not even imported
        services.networks.detach(container.id)


def _delete(services: Services, container: Container) -> None:
    try:
        runtime = services.runtime(container)
    except Unavailable:  # its program was uninstalled: do without
        _delete_by_cgroup(services, container)
    else:
        runtime.delete(container.id, force=True)


def _delete_by_cgroup(services: Services, container: Container) -> None:
    from jubako.linux.cgroups import Cgroup

    parent = container.record["HostConfig"].get("CgroupParent", "")
    cgroup = Cgroup(services.cgroup_path(container.id, parent))
    if cgroup.exists():
        cgroup.kill(why=f"what can delete {container.name} is not installed any more")
        cgroup.remove(why="the group is empty now")
    remove_tree(f"{services.store.run_directory('runtime')}/{container.id}")


def run_all(steps: list[Callable[[], object]]) -> list[JubakoError]:
    """Do every step and return the errors."""
    errors: list[JubakoError] = []
    for step in steps:
        try:
            step()
        except JubakoError as exc:
            errors.append(exc)
        except OSError as exc:
            errors.append(KernelError.from_oserror("clean up", exc))
    return errors


def forget_locks(services: Services, container_id: str) -> None:
    """Delete the lock files of a container that is gone; who holds one still keeps it."""
    locks = services.store.run_directory("locks")
    for name in (container_id, f"{container_id}.monitor"):
        try:
            os.unlink(f"{locks}/{name}")
        except FileNotFoundError:
            pass
