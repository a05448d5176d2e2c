"""What `Engine.system` is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal
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

    def events(
        self,
        *,
        since: float | Decimal | None = None,
        until: float | Decimal | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        follow: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """What happened and what happens, as the API's EventMessage objects.

        since, until: seconds since 1970 (a Decimal is exact to the nanosecond); with neither, what
        happens from this call on.  filters: Docker's, see `jubako.system.event_filter`.  follow:
        wait for what is to come, until `until` or for ever; else end with what is there.
        Every event comes once and in order, whichever process caused it.  Close the iterator when
        you are done with it.  Raises InvalidArgument (`until` is before `since`).
        """
        from jubako.system.events import stream

        return stream(
            self._services.store,
            since_ns=None if since is None else int(since * 10**9),
            until_ns=None if until is None else int(until * 10**9),
            filters=filters or {},
            follow=follow,
        )

    def why(self, reference: str) -> dict[str, Any]:
        """What happened to a container, also to one that was removed.

        reference: a name, an ID or the beginning of one.
        Returns Id, Name, Image, Removed, Status, EarlierOfThisName (removed containers that had
        the same name), Findings and Timeline.  A finding has Kind, Level (`ok`, `note`,
        `problem`), Text in plain words, Facts for programs, and At when it has a time.  The kinds:
        state, start, end, oom, restart, health, resources, network.
        Raises NotFound, Conflict (several IDs begin so).
        """
        from jubako.system.why import why

        self._containers.settle()
        return why(self._services, reference)

    def disk_usage(self) -> dict[str, Any]:
        """What takes how much space: the API's DiskUsage object.

        It has Images, Containers, Volumes and BuildCache with their sizes, and for each kind a
        summary (`ImageUsage`, ...): TotalCount, ActiveCount, TotalSize, Reclaimable.
        """
        from jubako.system.usage import disk_usage

        return disk_usage(self._services, self._containers)

    def disk_account(self) -> list[dict[str, Any]]:
        """Where every block of the root is: what `du` finds there, by what it is for.

        Items have Kind, Count (files and directories), Size (bytes on disk), and FreedBy: the
        command that makes it come back, "" if none does.  Raises KernelError.
        """
        from jubako.system.account import disk_account

        return disk_account(self._services)

    def prune(
        self,
        filters: Mapping[str, Sequence[str]] | None = None,
        *,
        all_images: bool = False,
        volumes: bool = False,
    ) -> dict[str, Any]:
        """Remove containers that do not run, dangling images, and unused networks.

        filters: label, label!, until; reference and unused-for choose among images alone (see
        `ImageService.prune`).  all_images: all that no container uses.  volumes: anonymous volumes
        that no container uses, too.  Returns the API's names: ContainersDeleted,
        NetworksDeleted, VolumesDeleted, ImagesDeleted, SpaceReclaimed (bytes).
        Raises InvalidArgument for an unknown filter, and for `until` together with volumes.
        """
        from jubako.store import events
        from jubako.system.cleaning import prune

        done = prune(
            self._services, self._containers, filters or {}, all_images=all_images, volumes=volumes
        )
        events.expire(self._services.store, self.settings.record_keep_s)
        return done

    def prune_networks(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        """Remove networks that no container uses; their names.  filters: label, label!, until."""
        from jubako.system.cleaning import prune_networks

        return prune_networks(self._services, filters or {})

    def version(self) -> dict[str, Any]:
        """Versions of the engine, the API and the kernel, as the API's Version object."""
        from jubako.system.about import version

        return version()

    def info(self) -> dict[str, Any]:
        """The engine and the machine it is on, as the API's SystemInfo object."""
        from jubako.system.about import info

        return info(self._services, self._containers)
