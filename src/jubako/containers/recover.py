"""Putting state and kernel back in step after a crash, a kill or a reboot.

    boot_id set, other boot            nothing is left in the kernel: record the end
    boot_id set, its lock free         the monitor died: take down what it left, record the end
    boot_id set, its lock held         all is well
    status `removing`, lock free       a removal was interrupted: finish it
    directory without a row            a creation or removal was interrupted: delete it

There is no daemon to notice a crash, so every command does this before it reads or changes state;
with nothing to repair it costs one query.
"""

from __future__ import annotations

import os

from jubako.containers.remove import remove_container
from jubako.containers.takedown import forget_locks, run_all, take_down
from jubako.errors import Unavailable
from jubako.linux.removal import remove_tree
from jubako.store import boot_id
from jubako.store.lock import Lock, is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container

EXIT_KILLED = 137  # 128 + SIGKILL: what init died of when its monitor did


def recover(services: Services) -> None:
    """Repair every container that needs it and that no other command is working on."""
    this_boot = ""
    for container in services.table.active():
        this_boot = this_boot or boot_id()
        if _needs_repair(services, container, this_boot):
            try:
                with services.store.lock(container.id, timeout_s=0):
                    repair(services, container.id)
            except Unavailable:
                continue  # a command is at work on it, and will leave it in order


def _needs_repair(services: Services, container: Container, this_boot: str) -> bool:
    if container.status == "removing":
        return True
    if container.boot_id != this_boot:
        return True
    return not is_held(services.monitor_lock(container.id))


def repair(services: Services, container_id: str) -> Container | None:
    """Bring one container in step; the caller holds its lock.  None: it is gone.

    A container with a living monitor is left as it is.
    """
    container = services.table.find(container_id)
    if container is None:
        return None
    if container.boot_id and _monitor_is_dead(services, container):
        _record_end(services, container)
        container = services.table.find(container_id)
        assert container is not None
        if container.record["HostConfig"].get("AutoRemove"):
            remove_container(services, container, volumes=True)
            return None
    if container.status == "removing":
        remove_container(services, container, volumes=False)
        return None
    return container


def _monitor_is_dead(services: Services, container: Container) -> bool:
    return container.boot_id != boot_id() or not is_held(services.monitor_lock(container.id))


def _record_end(services: Services, container: Container) -> None:
    from jubako.containers.times import now

    if container.boot_id == boot_id():
        take_down(services, container)
    else:
        services.networks.detach(container.id)
        services.table.update(container.id, boot_id="", pid=0, endpoint={})
    if container.running:
        services.table.update(
            container.id,
            status="exited",
            exit_code=EXIT_KILLED,
            finished=now(),
            error="the container's monitor died",
        )


def sweep(services: Services) -> None:
    """Delete directories of containers that have no row: commands call it when they create."""
    parent = f"{services.store.path}/containers"
    try:
        names = os.listdir(parent)
    except FileNotFoundError:
        return
    known = {row["id"] for row in services.store.db.execute("SELECT id FROM containers")}
    for name in names:
        if name not in known:
            _sweep_one(services, parent, name)


def _sweep_one(services: Services, parent: str, name: str) -> None:
    path = f"{services.store.run_directory('locks')}/{name}"
    lock = Lock(path, timeout_s=0)
    try:
        lock.acquire()
    except Unavailable:
        return  # it is being created or removed right now
    with lock:
        if services.table.find(name) is None:
            run_all([lambda: remove_tree(f"{parent}/{name}"), lambda: forget_locks(services, name)])
