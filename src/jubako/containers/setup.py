"""From a container's record to a created runtime container: the steps of a start, in their order.

    ports        bind what is published, so that an occupied port stops the start at once
    network      a network namespace with its link and addresses
    files        hosts, hostname, resolv.conf
    rootfs       the layers and the writable directory, mounted in this process's mount namespace
    volumes      the image's content copied into new ones
    runtime      the OCI spec, and the container's init, waiting

It runs in the monitor, which has a mount namespace of its own: the host sees no mount, and when the
monitor dies the mounts die with it.  What is left then (a lease, a link, rules, a cgroup) is what
`takedown.free` removes.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from jubako.containers import hostfiles
from jubako.containers.definition import mounts
from jubako.errors import Conflict, JubakoError
from jubako.linux import mount, mountapi, ns
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.containers.definition.cdi import Device
    from jubako.containers.links import Link
    from jubako.containers.model import ContainerRecord, HostConfig
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.images.layers.mounts import LayerMounts
    from jubako.networks.model import Endpoint
    from jubako.runtime import Process, Stdio


class Setup:
    """One start of one container; the steps leave their results in the attributes.

    lasting: the process lives as long as the container, so others may share what it has mounted.
    """

    def __init__(self, services: Services, container: Container, *, lasting: bool = False):
        self._services = services
        self._lasting = lasting
        self._container = container
        self._record = container.record
        self._directory = services.directory(container.id)
        self.rootfs = f"{self._directory}/rootfs"
        self.endpoint: Endpoint | None = None
        self._shared: dict[str, int] = {}
        self.host_mounts = -1
        self.layer_mounts: LayerMounts | None = None
        self._netns_fd = -1
        self._network_path: str | None = None
        self._links: list[Link] = []

    def create(self, stdio: Stdio) -> Process:
        """All steps; returns the container's init, which waits for the runtime's `start`."""
        self.isolate_mounts()
        self.connect_network()
        point("containers.start.network")
        self.write_files()
        self.mount_rootfs()
        point("containers.start.rootfs")
        self.fill_volumes()
        process = self.create_process(stdio)
        point("containers.start.created")
        return process

    def isolate_mounts(self) -> None:
        """A mount namespace of our own, that follows the host's mounts but tells it none."""
        self.host_mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        if self._record["Mounts"]:
            self._shared = mounts.open_shared(self._record["Mounts"])
        ns.unshare(ns.CLONE_NEWNS, why="what the monitor mounts is not seen by the host")
        why = "what the host mounts is still seen here, but not the other way round"
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_SLAVE, why=why)

    def close(self) -> None:
        """Let go of descriptors of mount namespaces, for a process that goes on without them."""
        if self.host_mounts >= 0:
            os.close(self.host_mounts)
            self.host_mounts = -1
        if self.layer_mounts is not None:
            self.layer_mounts.close()

    def leave_mounts(self) -> None:
        """Back to the host's mount namespace: the one of our own dies, with all that it holds."""
        if self.host_mounts >= 0:
            why = "the last who held the container's mounts lets go"
            ns.setns(self.host_mounts, ns.CLONE_NEWNS, why=why)
            os.close(self.host_mounts)
            self.host_mounts = -1

    # network

    def connect_network(self) -> None:
        """Make the network namespace that needs something from outside, or find the one to share.

        With `host` there is none to make, and with `none` the runtime makes it: nothing but the
        loopback is in there.
        """
        mode = self._record["HostConfig"]["NetworkMode"]
        if self._record["HostConfig"]["Links"] or self._record.get("LinkedEnv"):
            from jubako.containers import links

            self._links = links.resolve(self._services, self._container)
            self._record["LinkedEnv"] = links.environment(self._container.name, self._links)
            self._services.table.update(self._container.id, record=self._record)
        if mode.startswith("container:"):
            other = self._other(mode.removeprefix("container:"), "network")
            self._network_path = f"/proc/{other.pid}/ns/net"
        elif self._container.has_address:
            self._netns_fd = _new_network_namespace()
            self._network_path = f"/proc/{os.getpid()}/fd/{self._netns_fd}"
            self._publish_and_attach(mode)

    def _publish_and_attach(self, mode: str) -> None:
        from jubako.networks.publish import wanted_ports

        config, host_config = self._record["Config"], self._record["HostConfig"]
        self.endpoint = self._services.networks.attach(
            self._container.id,
            self._netns_fd,
            network=mode,
            ports=wanted_ports(
                host_config["PortBindings"],  # type: ignore[arg-type]  # a TypedDict is no Mapping of str
                config.get("ExposedPorts") or {},
                publish_all=host_config["PublishAllPorts"],
            ),
            mac=config.get("MacAddress") or None,
            link_local=_link_local(self._record),
        )

    def _other(self, reference: str, kind: str) -> Container:
        other = self._services.table.get(reference)
        if other.running:
            return other
        if kind == "network":
            message = f"cannot join network of a non running container: {reference}"
        else:
            message = (
                f"failed to join {kind.upper()} namespace: container {reference} is not running"
            )
        raise Conflict(message, hint=f"start {reference} first", subject=reference)

    # files

    def write_files(self) -> None:
        """hosts, hostname and resolv.conf, which the spec binds over those of the image."""
        linked = [(link.host_names(), link.address) for link in self._links]
        hostfiles.write_host_files(self._services, self._container, self.endpoint, linked)
        if self.endpoint and not self._container.started.startswith("0001"):
            from jubako.containers import links

            links.tell_owners(self._services, self._container, self.endpoint["IPAddress"])

    # file systems

    def _open_layer_mounts(self) -> LayerMounts:
        """Where EROFS layers are mounted; this process keeps that for as long as it lives."""
        if self.layer_mounts is None:
            from jubako.images.layers import mounts as layer_mounts

            store, link = self._services.store, ""
            if self._lasting:
                link = f"{store.run_directory(self._container.id)}/{layer_mounts.LINK}"
            self.layer_mounts = layer_mounts.LayerMounts(store, link=link, host=self.host_mounts)
        return self.layer_mounts

    def mount_rootfs(self) -> None:
        os.makedirs(self.rootfs, mode=0o755, exist_ok=True)
        self._services.images.layers.mount(
            self._services.images.diff_ids(self._container.image_id),
            f"{self._directory}/upper",
            f"{self._directory}/work",
            self.rootfs,
            mounts=self._open_layer_mounts,
            why="the layers of the image, and on top a directory for what the container writes",
        )
        if self._container.started.startswith("0001"):
            _mark_as_container(self.rootfs)

    def _staged_sources(self) -> dict[str, str]:
        """Destination to what is bound there, for mounts whose source is not simply a directory."""
        if not self._record["Mounts"]:
            return {}
        return mounts.stage(
            self._record["Mounts"],
            f"{self._directory}/mounts",
            self._services.volumes,
            opened=self._shared,
            holders=self._holders,
            view=self._mount_image,
        )

    def _mount_image(self, image_id: str, target: str) -> None:
        images = self._services.images
        why = "the files of another image, read-only"
        images.layers.mount_view(
            images.diff_ids(image_id), target, mounts=self._open_layer_mounts, why=why
        )

    def _holders(self, volume: str) -> Iterator[tuple[int, str]]:
        """Running containers that have a volume: init's PID, and where the volume is mounted."""
        for user in self._services.volumes.users(volume):
            other = self._services.table.find(user)
            if other is None or not other.running or user == self._container.id:
                continue
            for mount_point in other.record["Mounts"]:
                if mount_point.get("Name") == volume:
                    yield other.pid, mount_point["Destination"]

    def fill_volumes(self) -> None:
        """Copy what the image has at a new volume's place into the volume."""
        if not self._record["Mounts"]:
            return
        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if mounts.fill_volumes(self._record, root):
                self._services.table.update(self._container.id, record=self._record)
        finally:
            os.close(root)

    def _owned_sources(self, root: int) -> dict[str, str]:
        """The same, once those that ask for it belong to the container's user."""
        sources = self._staged_sources()
        if any(point.get("Chown") for point in self._record["Mounts"]):
            from jubako.containers.definition import owners

            owners.give_to_user(self._record, sources, root)
        return sources

    def binds(self) -> list[dict[str, Any]]:
        """The container's own mounts as OCI binds, for a root in which no process will run."""
        from jubako.containers.definition.spec import own_binds

        paths = {name: f"{self._directory}/{name}" for name in hostfiles.NAMES}
        files = {name: path for name, path in paths.items() if os.path.exists(path)}
        return own_binds(self._record, files, self._staged_sources())

    # process

    def create_process(self, stdio: Stdio) -> Process:
        spec = self._spec()
        _write_json(f"{self._directory}/config.json", spec)
        runtime = self._services.runtime(self._container)
        process = runtime.create(
            self._container.id, self._directory, stdio, spec=spec, die_with_parent=True
        )
        if self._netns_fd >= 0:
            os.close(self._netns_fd)  # the container's processes keep it alive from here on
            self._netns_fd = -1
        return process

    def _spec(self) -> dict[str, Any]:
        from jubako.containers.definition.spec import build_spec

        host_config = self._record["HostConfig"]
        root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            spec = build_spec(
                self._record,
                rootfs=self.rootfs,
                rootfs_fd=root,
                cgroup_path=self._services.cgroup_path(
                    self._container.id, host_config.get("CgroupParent", "")
                ),
                files={name: f"{self._directory}/{name}" for name in hostfiles.NAMES},
                network_ns=self._network_path,
                namespaces=self._joined_namespaces(),
                sources=self._owned_sources(root),
                shm=self._shared_memory(),
                cdi=self._cdi_devices(host_config),
            )
        finally:
            os.close(root)
        if self._record.get("Secrets"):
            self._add_secrets(spec)
        return spec

    def _add_secrets(self, spec: dict[str, Any]) -> None:
        from jubako.containers import secrets

        place = f"{self._directory}/secrets"
        shown = secrets.stage(self._record, self._services.store, place)
        spec["mounts"] = secrets.insert(spec["mounts"], shown)

    def _cdi_devices(self, host_config: HostConfig) -> list[Device]:
        return self._services.cdi_devices(host_config) if host_config["DeviceRequests"] else []

    def _joined_namespaces(self) -> dict[str, str]:
        """For the modes `container:ID`: the namespaces of the other container's init."""
        joined: dict[str, str] = {}
        if self._network_path is not None:
            joined["network"] = self._network_path
        host_config = self._record["HostConfig"]
        for kind, mode in (("ipc", host_config["IpcMode"]), ("pid", host_config["PidMode"])):
            if mode.startswith("container:"):
                other = self._other(mode.removeprefix("container:"), kind)
                joined[kind] = f"/proc/{other.pid}/ns/{kind}"
        return joined

    def _shared_memory(self) -> str | None:
        """A directory for /dev/shm that is not the container's alone."""
        mode = self._record["HostConfig"].get("IpcMode") or ""
        if mode == "host":
            return "/dev/shm"
        if not mode.startswith("container:"):
            return None
        other = self._other(mode.removeprefix("container:"), "ipc")
        target = f"{self._directory}/shm"
        os.makedirs(target, mode=0o700, exist_ok=True)
        _borrow_mount(other.pid, "/dev/shm", target)
        return target


def _mark_as_container(rootfs: str) -> None:
    """The empty /.dockerenv by which many programs know that they run in a container."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(OSError):  # the image has one; and a full disk stops no start for this
        os.close(os.open(f"{rootfs}/.dockerenv", flags, 0o755))


def _link_local(record: ContainerRecord) -> list[str]:
    ipam = record.get("EndpointConfig", {}).get("IPAMConfig") or {}
    addresses: list[str] = ipam.get("LinkLocalIPs") or []
    return addresses


def _new_network_namespace() -> int:
    """A descriptor of a new network namespace; this process stays in its own."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.unshare(ns.CLONE_NEWNET, why="a network stack for the container, with nothing in it")
        try:
            return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            ns.setns(own, ns.CLONE_NEWNET, why="the monitor itself stays in the host's network")
    finally:
        os.close(own)


def _borrow_mount(pid: int, path: str, target: str) -> None:
    """Mount what another process sees at `path` at `target` of our own mount namespace."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ns.setns(theirs, ns.CLONE_NEWNS, why="a directory of another container is to be shared")
        try:
            tree = mounts.clone_visible(path)
        finally:
            ns.setns(own, ns.CLONE_NEWNS, why="back to its own mounts")
            os.chdir("/")
        try:
            mountapi.attach(tree, target, why="what it shares with the other container")
        finally:
            os.close(tree)
    finally:
        os.close(theirs)
        os.close(own)


def _write_json(path: str, content: object) -> None:
    text = json.dumps(content)  # json.dump would not use the encoder in C: 4 ms
    with open(path, "w") as file:
        file.write(text)


def start_error_code(error: JubakoError) -> int:
    """The exit code that a container has after a start that failed with this error."""
    from jubako.errors import StartError

    return error.exit_code if isinstance(error, StartError) else 128
