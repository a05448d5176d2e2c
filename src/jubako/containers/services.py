"""What the parts of the container engine work with: one root and the services below."""

from __future__ import annotations

from jubako.containers.table import ContainerTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.table import Container
    from jubako.images import ImageService
    from jubako.networks import NetworkService
    from jubako.runtime import Runtime
    from jubako.store import Store
    from jubako.volumes import VolumeService


class Services:
    """The store, the services on it, the table of containers, and where their files lie."""

    def __init__(
        self, store: Store, images: ImageService, networks: NetworkService, volumes: VolumeService
    ):
        self.store = store
        self.images = images
        self.networks = networks
        self.volumes = volumes
        self.table = ContainerTable(store)

    def directory(self, container_id: str) -> str:
        """What survives a reboot: upper, work, logs, hosts."""
        return f"{self.store.path}/containers/{container_id}"

    def run_directory(self, container_id: str) -> str:
        """What does not: the attach socket."""
        return f"{self.store.run_dir}/{container_id}"

    def monitor_lock(self, container_id: str) -> str:
        """Held for as long as the container's monitor lives."""
        return f"{self.store.run_directory('locks')}/{container_id}.monitor"

    def freezer_lock(self, container_id: str) -> str:
        """Held by who has paused a container for a moment; see `Lifecycle.frozen`."""
        return f"{self.run_directory(container_id)}/frozen"

    def attach_socket(self, container_id: str) -> str:
        return f"{self.run_directory(container_id)}/attach.sock"

    def runtime(self, container: Container) -> Runtime:
        """The OCI runtime that the container asks for."""
        from jubako.runtime import open_runtime

        name = container.record["HostConfig"].get("Runtime") or None
        return open_runtime(
            name,
            self.store.run_directory("runtime"),
            cache_dir=self.store.run_directory("seccomp"),
        )

    def cgroup_path(self, container_id: str, parent: str = "") -> str:
        """The container's cgroup, below `parent` or the engine's own."""
        return f"{parent.rstrip('/') or '/' + self.store.name}/{container_id}"


def open_services(root: str) -> Services:
    """The services on a root, for a process that has no `Engine`."""
    from jubako.images import ImageService
    from jubako.networks import NetworkService
    from jubako.store import Store
    from jubako.volumes import VolumeService

    store = Store(root)
    return Services(store, ImageService(store), NetworkService(store), VolumeService(store))
