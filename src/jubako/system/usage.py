"""`system df`: what takes how much of the disk, and what would come back.

Sizes are the lengths of files, a file with several names once: what `du --apparent-size` counts in
layers and blobs, in what containers wrote, and in volumes, without the directories themselves.  A
layer counts once, however many images have it.  `account` has what these sums leave out.
"""

from __future__ import annotations

from jubako.images import disk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from jubako.containers import ContainerService
    from jubako.containers.services import Services

_ACTIVE = ("running", "paused", "restarting")


def disk_usage(services: Services, containers: ContainerService) -> dict[str, Any]:
    """See `SystemService.disk_usage`."""
    layers = disk.layer_bytes(services.images)
    blobs = disk.blob_bytes(services.images)
    total = sum(layers.values()) + sum(blobs.values()) + disk.partial_bytes(services.images)
    images = _images(services)
    used = containers.list(all=True, size=True)
    volumes = services.volumes.list(size=True)
    needed_layers, needed_blobs = _needed(services)
    needed = sum(layers.get(one, 0) for one in needed_layers)
    needed += sum(blobs.get(one, 0) for one in needed_blobs)
    return {
        "LayersSize": sum(_content_bytes(services).values()),
        "Images": images,
        "Containers": used,
        "Volumes": volumes,
        "BuildCache": [],
        "ImageUsage": _summary(
            len(images),
            sum(image["Containers"] > 0 for image in images),
            total,
            total - needed,
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


def _content_bytes(services: Services) -> dict[str, int]:
    """What the files of each layer have in them: the sizes that Docker tells of layers."""
    return dict(services.store.db.execute("SELECT diff_id, size_bytes FROM layers").fetchall())


# Images that containers use, and those that they were made from.
_KEPT = """
    WITH RECURSIVE kept(id) AS (
        SELECT image_id FROM containers
        UNION SELECT json_extract(value, '$.ImageId')
            FROM containers, json_each(record, '$.Mounts')
            WHERE json_extract(value, '$.Type') = 'image'
        UNION SELECT parent FROM images JOIN kept USING (id) WHERE parent IS NOT NULL
    )
"""


def _needed(services: Services) -> tuple[set[str], set[str]]:
    """Layers and blobs that `image prune --all` leaves."""
    db = services.store.db

    def digests(query: str) -> set[str]:
        return {row[0] for row in db.execute(f"{_KEPT} {query}")}

    kept = "IN (SELECT id FROM kept)"
    layers = digests(f"SELECT diff_id FROM image_layers WHERE image_id {kept}")
    blobs = digests(f"SELECT id FROM images WHERE id {kept}")
    blobs |= digests(f"SELECT digest FROM manifests WHERE image_id {kept}")
    compressed = {
        row["digest"]
        for row in db.execute("SELECT digest, diff_id FROM blobs")
        if row["diff_id"] in layers
    }
    return layers, blobs | compressed - {*services.images.blobs.unwanted()}


def _images(services: Services) -> list[dict[str, Any]]:
    """The summaries, with what they share with others and how many containers use them."""
    db = services.store.db
    layers = _content_bytes(services)
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
