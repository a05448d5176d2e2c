"""`system prune`: everything that nobody uses, in the order in which it comes free."""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.golang.filters import check_names
from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services

_FILTERS = ("label", "label!", "until")
_OF_IMAGES = ("reference", "unused-for")


def prune(
    services: Services,
    containers: ContainerService,
    filters: Mapping[str, Sequence[str]],
    *,
    all_images: bool,
    volumes: bool,
) -> dict[str, Any]:
    """See `SystemService.prune`."""
    check_names(filters, (*_FILTERS, *_OF_IMAGES))
    if volumes and "until" in filters:
        raise InvalidArgument('The "until" filter is not supported with "--volumes"')
    common = {name: values for name, values in filters.items() if name not in _OF_IMAGES}
    removed, freed = containers.prune(common)
    networks = prune_networks(services, common)
    volume_names, volume_bytes = services.volumes.prune(common) if volumes else ([], 0)
    actions, image_bytes = services.images.prune(filters, all_unused=all_images)
    return {
        "ContainersDeleted": removed,
        "NetworksDeleted": networks,
        "VolumesDeleted": volume_names,
        "ImagesDeleted": actions,
        "SpaceReclaimed": freed + volume_bytes + image_bytes,
    }


def prune_networks(services: Services, filters: Mapping[str, Sequence[str]]) -> list[str]:
    """Remove networks that no container uses; their names.

    There are none to remove yet: every root has the three that Docker never prunes.
    """
    from jubako.images.times import parse_until

    check_names(filters, _FILTERS)
    for moment in filters.get("until", ()):
        parse_until(moment)
    events.report(services.store, "network", "prune", "", {"reclaimed": "0"})
    return []
