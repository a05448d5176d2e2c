"""What the parts of the container engine work with: one root and the services below."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property

from jubako.containers.table import ContainerTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.containers.definition.cdi import Device
    from jubako.containers.model import HostConfig
    from jubako.containers.monitor.launcher import Launcher
    from jubako.containers.table import Container
    from jubako.images import ImageService
    from jubako.networks import NetworkService
    from jubako.runtime import Runtime
    from jubako.store import Store
    from jubako.volumes import VolumeService


class Services:
    """The store, the services on it, the table of containers, and where their files lie."""

    def __init__(self, store: Store):
        self.store = store
        self.table = ContainerTable(store)
        self.launcher: Launcher | None = None

    # Each is imported when somebody needs it: `ps` and `exec` need none.

    @cached_property
    def images(self) -> ImageService:
        from jubako.images import ImageService

        return ImageService(self.store)

    @cached_property
    def networks(self) -> NetworkService:
        from jubako.networks import NetworkService

        return NetworkService(self.store)

    @cached_property
    def volumes(self) -> VolumeService:
        from jubako.volumes import VolumeService

        return VolumeService(self.store)

    def close(self) -> None:
        """Give up what is open; it opens again when it is used again."""
        if self.launcher is not None:
            self.launcher.close()
            self.launcher = None
        if "networks" in self.__dict__:
            self.networks.close()
        self.store.close()

    def cdi_devices(self, host_config: HostConfig) -> list[Device]:
        """The CDI devices that a container asks for.  Raises InvalidArgument, Unsupported."""
        from jubako.containers.definition import cdi
        from jubako.store import settings

        return cdi.requested(host_config, settings.load(self.store.path).cdi_spec_dirs)

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

    @contextmanager
    def expecting_running(self, container: Container) -> Iterator[Runtime]:
        """The container's runtime, for something that only a running container can do.

        What the row said a moment ago may be over: a failure inside the block is WrongState when
        the container has ended meanwhile.
        """
        from jubako.containers import running

        with running.expecting_running(
            self.runtime(container), container.id, container.pid
        ) as runtime:
            yield runtime

    def cgroup_path(self, container_id: str, parent: str = "") -> str:
        """The container's cgroup, below `parent` or the engine's own."""
        if not parent:
            return f"/{self.store.name}/{container_id}"
        from jubako.containers.definition.binds import clean

        return f"{clean('/' + parent).rstrip('/')}/{container_id}"
