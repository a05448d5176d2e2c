"""The repairs that `jubako.containers.recover` finds necessary."""

from __future__ import annotations

import os
import time

from jubako.containers import events, secrets
from jubako.containers.recover import monitor_is_dead, was_left_frozen
from jubako.containers.remove import finish_removal
from jubako.containers.takedown import NOTHING_LEFT, forget_locks, free, run_all
from jubako.containers.times import now, seconds
from jubako.errors import JubakoError, NotFound, Unavailable, WrongState, raise_all
from jubako.linux.removal import remove_tree
from jubako.store import boot_id, point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.containers.services import Services
    from jubako.containers.table import Container

EXIT_KILLED = 137  # 128 + SIGKILL: what init died of when its monitor did


def repair(services: Services, container_id: str) -> Container | None:
    """Bring one container in step; the caller holds its lock.  None: it is gone.

    A container with a living monitor goes on.
    """
    container = services.table.find(container_id)
    if container is not None and container.boot_id and monitor_is_dead(services, container):
        # read anew: before a monitor lets go of its lock it writes down the end
        container = services.table.find(container_id)
        if container is not None and container.boot_id:
            _record_end(services, container)
            container = services.table.find(container_id)
    if container is None:
        forget_locks(services, container_id)  # the caller's own, which it made for nothing
        return None
    if container.status == "removing" and not container.boot_id:
        finish_removal(services, container)
        return None
    if container.status == "paused" and was_left_frozen(services, container.id):
        thaw(services, container)
        container = services.table.find(container_id)
    return container


def thaw(services: Services, container: Container) -> bool:
    """Let a container go on whose row says `paused`, whether it is frozen or not.

    False: it has ended meanwhile.
    """
    services.store.use_reserve()
    runtime = services.runtime(container)
    try:
        if runtime.state(container.id)["status"] == "paused":
            runtime.resume(container.id)
    except (NotFound, WrongState):
        return False
    point("containers.unpause.resumed")
    return services.table.switch(container.id, "paused", "running")


def repair_and_tidy(services: Services, container_id: str) -> None:
    """Repair one container whose lock the caller holds, and what it left beside its row."""
    repair(services, container_id)
    raise_all(tidy(services))


def _record_end(services: Services, container: Container) -> None:
    """Take down what a dead monitor left, and start the container again if its policy wants it."""
    from jubako.containers.monitor import samples

    again = _restarts(container)
    free(services, container)
    services.store.use_reserve()
    with services.store.transaction():
        services.table.update(container.id, **_columns(container, again))
        if container.running:
            samples.keep(services, container.id, "")
            _tell(services, container)
    samples.forget_file(services, container.id)
    point("containers.repair.recorded")
    if again:
        from jubako.containers.monitor.restarting import relaunch

        relaunch(services, container.id)


def _restarts(container: Container) -> bool:
    """Whether its restart policy starts it now; after a reboot `jubako system start` does that."""
    if container.boot_id != boot_id() or container.record["HostConfig"].get("AutoRemove"):
        return False
    if container.restarting:
        return not container.stop_requested
    from jubako.containers.monitor import restart

    return container.running and restart.wanted(
        container.record["HostConfig"]["RestartPolicy"],
        exit_code=EXIT_KILLED,
        restart_count=container.restart_count,
        stop_requested=container.stop_requested,
    )


def _columns(container: Container, again: bool) -> dict[str, object]:
    from jubako.containers.monitor import health

    columns: dict[str, object] = dict(NOTHING_LEFT)
    if again:
        columns = {"pid": 0, "endpoint": {}, "status": "restarting"}
    if container.running:
        columns.update(
            exit_code=EXIT_KILLED,
            finished=now(),
            error="the container's monitor died",
            restart_count=container.restart_count + again,
            **health.ended(container.health),
        )
    if container.active and not again:
        columns["status"] = "exited"
    if container.record["HostConfig"].get("AutoRemove"):
        columns["status"] = "removing"
    return columns


def _tell(services: Services, container: Container) -> None:
    events.network(services, container, "disconnect")
    events.volumes(services, container, "unmount")
    events.emit(
        services.store,
        container.record,
        "die",
        exitCode=EXIT_KILLED,
        execDuration=max(0, int(time.time() - seconds(container.started))),
        notes={"monitor_died": True, "reboot": container.boot_id != boot_id()},
    )


def sweep(services: Services) -> None:
    """Delete directories of containers that have no row, and free the volumes that they used:
    commands call it when they create."""
    parent = f"{services.store.path}/containers"
    db = services.store.db
    known = {row[0] for row in db.execute("SELECT id FROM containers")}
    named = {row[0] for row in db.execute("SELECT DISTINCT container_id FROM volume_uses")}
    named.update(secrets.containers(services.store))
    try:
        named.update(os.listdir(parent))
    except FileNotFoundError:
        pass
    for name in named - known:
        _sweep_one(services, parent, name)
    services.volumes.sweep()


def _sweep_one(services: Services, parent: str, name: str) -> None:
    steps: list[Callable[[], object]] = [
        lambda: services.volumes.discard(name),
        lambda: remove_tree(f"{parent}/{name}"),
        lambda: secrets.tidy(services.store, name),
        lambda: forget_locks(services, name),
    ]
    try:
        with services.store.lock(name, timeout_s=0):
            if services.table.find(name) is None:
                run_all(steps)
    except Unavailable:
        return  # it is being created or removed right now


def tidy(services: Services) -> list[JubakoError]:
    """Free what belongs to no container that runs: addresses, ports, links, parts of volumes."""
    return run_all(
        [lambda: services.networks.recover(_Live(services)), lambda: services.volumes.sweep()]
    )


class _Live:
    """The IDs of the containers that may have something in the kernel, asked one by one."""

    def __init__(self, services: Services):
        self._services = services

    def __contains__(self, container_id: object) -> bool:
        container = self._services.table.find(str(container_id))
        return container is not None and container.boot_id != ""
