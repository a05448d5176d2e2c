"""Removing a container that does not run."""

from __future__ import annotations

from jubako.containers.takedown import forget_locks
from jubako.linux.removal import remove_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container


def remove_container(services: Services, container: Container, *, volumes: bool) -> None:
    """Delete its files and its row, in an order that survives a crash.

    volumes: also the anonymous volumes that nobody else uses.  The caller holds the container's
    lock, or is its monitor.
    """
    services.table.update(container.id, status="removing")
    point("containers.remove.marked")
    remove_tree(services.directory(container.id))
    point("containers.remove.files")
    with services.store.transaction():
        anonymous = services.volumes.release(container.id)
        services.table.delete(container.id)
    if volumes:
        for name in anonymous:
            services.volumes.remove_if_unused(name)
    forget_locks(services, container.id)
