"""`system df`: what takes how much of the disk, and what would come back.

Sizes are the lengths of files, a file with several names once: what `du --apparent-size` counts
below the trees of layers, of what containers wrote, and of volumes, without the directories
themselves.  A layer counts once, however many images have it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services

_ACTIVE = ("running", "paused", "restarting")


def disk_usage(services: Services, containers: ContainerService) -> dict[str, Any]:
    """See `SystemService.disk_usage`."""
    layers = _layers(services)
    images = _images(services, layers)
    used = containers.list(all=True, size=True)
    volumes = services.volumes.list(size=True)
    held = _layers_of_containers(services)
    return {
        "LayersSize": sum(layers.values()),
        "Images": images,
        "Containers": used,
        "Volumes": volumes,
        "BuildCache": [],
        "ImageUsage": _summary(
            len(images),
            sum(image["Containers"] > 0 for image in images),
            sum(layers.values()),
            sum(size for layer, size in layers.items() if layer not in held),
        ),
        "ContainerUsage": _summary_of(
            used, lambda one: one["State"] in _ACTIVE, lambda one: one["SizeRw"]
        ),
        "VolumeUsage": _summary_of(
            volumes,
            lambda one: one["UsageData"]["RefCount"] > 0,
            lambda one: max(0, one["UsageData"]["Size"]),  # -1: it lies elsewhere
        ),
        "BuildCacheUsage": _summary(0, 0, 0, 0),
    }


def _summary(total: int, active: int, size_bytes: int, reclaimable: int) -> dict[str, int]:
    return {
        "TotalCount": total,
        "ActiveCount": active,
        "TotalSize": size_bytes,
        "Reclaimable": reclaimable,
    }


def _summary_of(objects: Sequence[Any], is_active: Any, size_of: Any) -> dict[str, int]:
    idle = [one for one in objects if not is_active(one)]
    return _summary(
        len(objects),
        len(objects) - len(idle),
        sum(map(size_of, objects)),
        sum(map(size_of, idle)),
    )


def _layers(services: Services) -> dict[str, int]:
    """Every layer on the disk with its size."""
    return dict(services.store.db.execute("SELECT diff_id, size_bytes FROM layers").fetchall())


def _layers_of_containers(services: Services) -> set[str]:
    query = (
        "SELECT DISTINCT diff_id FROM image_layers"
        " WHERE image_id IN (SELECT image_id FROM containers)"
    )
    return {row[0] for row in services.store.db.execute(query)}


def _images(services: Services, layers: Mapping[str, int]) -> list[dict[str, Any]]:
    """The summaries, with what they share with others and how many containers use them."""
    db = services.store.db
    query = "SELECT image_id, count(*) FROM containers GROUP BY image_id"
    users = dict(db.execute(query).fetchall())
    of_image: dict[str, set[str]] = {}
    for image_id, layer in db.execute("SELECT image_id, diff_id FROM image_layers"):
        of_image.setdefault(image_id, set()).add(layer)
    shared = _shared(of_image.values())
    images: list[dict[str, Any]] = []
    for image in services.images.list():
        own = of_image.get(image["Id"], set())
        shared_bytes = sum(layers.get(layer, 0) for layer in own & shared)
        containers = users.get(image["Id"], 0)
        images.append({**image, "SharedSize": shared_bytes, "Containers": containers})
    return images


def _shared(images: Iterable[set[str]]) -> set[str]:
    """The layers that more than one image has."""
    seen: set[str] = set()
    shared: set[str] = set()
    for layers in images:
        shared |= seen & layers
        seen |= layers
    return shared
