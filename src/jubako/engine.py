"""`Engine`: one root opened, and the services on it.

from jubako import Engine

engine = Engine()                          # /var/lib/jubako, or JUBAKO_ROOT
output = engine.containers.run("busybox", ["echo", "hello"])
for container in engine.containers.list():
    print(container["Names"], container["Status"])
"""

from __future__ import annotations

from jubako.containers.services import Services
from jubako.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.images import ImageService
    from jubako.images.registries.service import RegistryService
    from jubako.networks import NetworkService
    from jubako.system import SystemService
    from jubako.volumes import VolumeService


class Engine:
    """A container engine on one root; any number of processes may open the same.

    root: a directory; None is the environment's JUBAKO_ROOT, then /var/lib/jubako.
    Needs root's rights for anything but reading.  Not for use by several threads at once: give
    each thread an engine of its own.
    """

    def __init__(self, root: str | None = None):
        self.store = Store(root)
        self._services = Services(self.store)
        self._containers: ContainerService | None = None
        self._registries: RegistryService | None = None
        self._system: SystemService | None = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the object opens it again when it is used again."""
        self._services.close()

    @property
    def images(self) -> ImageService:
        """Images: import, load, save, tag, remove, list, inspect."""
        return self._services.images

    @property
    def networks(self) -> NetworkService:
        """Networks: the default bridge, host, none."""
        return self._services.networks

    @property
    def volumes(self) -> VolumeService:
        """Volumes: create, list, inspect, remove, prune."""
        return self._services.volumes

    @property
    def containers(self) -> ContainerService:
        """Containers: create, start, stop, exec, logs, and the rest."""
        if self._containers is None:
            from jubako.containers import ContainerService

            self._containers = ContainerService(self._services)
        return self._containers

    @property
    def registries(self) -> RegistryService:
        """Registries: login, logout, search, and lists of manifests."""
        if self._registries is None:
            from jubako.images.registries.service import RegistryService

            self._registries = RegistryService(self.store)
        return self._registries

    @property
    def system(self) -> SystemService:
        """The root as a whole: info, events, disk usage, prune, and why a container ended."""
        if self._system is None:
            from jubako.system import SystemService

            self._system = SystemService(self._services, self.containers)
        return self._system

    def version(self) -> dict[str, Any]:
        """Versions of the engine, the API and the kernel, as the API's Version object."""
        return self.system.version()

    def info(self) -> dict[str, Any]:
        """The engine and the machine it is on, as the API's SystemInfo object."""
        return self.system.info()

    def recover(self) -> None:
        """Put state and kernel back in step after a crash, as every command does by itself."""
        self.images.recover()
        self.images.collect()
        self.containers.recover()
