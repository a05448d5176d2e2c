"""Removing a container that does not run."""

from __future__ import annotations

from jubako.containers import events, secrets
from jubako.containers.table import image_ids
from jubako.containers.takedown import forget_locks
from jubako.linux.removal import remove_tree
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jubako.containers.services import Services
    from jubako.containers.table import Container


def remove_container(
    services: Services,
    container: Container,
    *,
    volumes: bool,
    by: Mapping[str, object] | None = None,
) -> None:
    """Delete its files and its row, in an order that survives a crash.

    volumes: also the anonymous volumes that nobody else uses.  by: who asked for it.  The caller
    holds the container's lock, or is its monitor.
    """
    services.store.use_reserve()
    columns: dict[str, object] = {"status": "removing"}
    if volumes and not container.record["HostConfig"].get("AutoRemove"):
        # told to whoever has to finish this
        columns["record"] = {**container.record, "RemoveVolumes": True}
    services.table.update(container.id, **columns)
    point("containers.remove.marked")
    remove_tree(services.directory(container.id))
    secrets.tidy(services.store, container.id)
    point("containers.remove.files")
    has_volumes = bool(container.record["Mounts"])  # else their package is not even imported
    if volumes and has_volumes:
        services.volumes.discard(container.id)
    notes = {"by": by} if by else None
    images = image_ids(container.record)
    with services.store.transaction():
        if has_volumes:
            services.volumes.release(container.id)
        services.table.delete(container.id)
        for image_id in images:
            services.images.used(image_id)
        events.emit(services.store, container.record, "destroy", notes=notes)
    for image_id in images:
        services.images.release(image_id)
    forget_locks(services, container.id)


def finish_removal(services: Services, container: Container) -> None:
    """Go on with a removal that was interrupted, as it was meant."""
    record = container.record
    volumes = record.get("RemoveVolumes") or record["HostConfig"].get("AutoRemove")
    remove_container(services, container, volumes=bool(volumes))
