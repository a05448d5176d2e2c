"""What `Engine.system` is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services
    from jubako.store.settings import Settings


class SystemService:
    """One root as a whole.

    services: what the container engine works with.  containers: the container service on them.
    """

    def __init__(self, services: Services, containers: ContainerService):
        self._services = services
        self._containers = containers

    @property
    def settings(self) -> Settings:
        """What `<root>/config.json` says, read now.  Raises InvalidArgument."""
        from jubako.store.settings import load

        return load(self._services.store.path)

    def version(self) -> dict[str, Any]:
        """Versions of the engine, the API and the kernel, as the API's Version object."""
        from jubako.system.about import version

        return version()

    def info(self) -> dict[str, Any]:
        """The engine and the machine it is on, as the API's SystemInfo object."""
        from jubako.system.about import info

        return info(self._services, self._containers)
