"""Removing a container that does not run."""

from __future__ import annotations

from jubako.containers.takedown import remove_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.services import Services
    from jubako.containers.table import Container


def remove_container(services: Services, container: Container, *, volumes: bool) -> None:
    """Delete its files and its row.  volumes: also the anonymous volumes that it alone used.

    The caller holds the container's lock, or is its monitor.
    """
    anonymous = [
        point["Name"]
        for point in container.record["Mounts"]
        if volumes and point.get("Type") == "volume" and point.get("Anonymous")
    ]
    remove_files(services, container)
    for name in anonymous:
        services.volumes.remove_if_unused(name)
