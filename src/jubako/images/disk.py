"""How much of the disk images take, and how much of it would come back.

Sizes are the lengths of files, as `du --apparent-size` counts them, without directories.  What a
layer of the driver `overlay` has unpacked is known from its row; everything else is looked up.
"""

from __future__ import annotations

import os

from jubako.images.layers.split import FILE_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jubako.images import ImageService
    from jubako.oci.digest import Digest

_EROFS_FILES = ("tar", "index")


def layer_bytes(images: ImageService) -> dict[str, int]:
    """The layers that have a row, with all that is kept of each."""
    found: dict[str, int] = {}
    for row in images.store.db.execute("SELECT diff_id, driver, size_bytes FROM layers"):
        directory = images.layers.path(row["diff_id"])
        if row["driver"] == "erofs":
            size = sum(_file_bytes(f"{directory}/{name}") for name in _EROFS_FILES)
        else:
            size = row["size_bytes"] + _file_bytes(f"{directory}/{FILE_NAME}")
            size += tree_bytes(f"{directory}/shadowed")
        found[row["diff_id"]] = size
    return found


def blob_bytes(images: ImageService, digests: Iterable[Digest] | None = None) -> dict[str, int]:
    """Blobs that are kept, all or some: layers as they came, manifests, configs."""
    chosen = images.content.all() if digests is None else digests
    return {digest: _file_bytes(images.content.path(digest)) for digest in chosen}


def partial_bytes(images: ImageService) -> int:
    """Downloads that have not come to their end."""
    from jubako.images.content.partial import DIRECTORY

    return tree_bytes(f"{images.store.path}/content/{DIRECTORY}")


def garbage_bytes(images: ImageService) -> int:
    """What a thorough `collect` would free now.

    In a transaction that removes images it is what comes free with it, also if it is rolled back.
    """
    from jubako.images.removing.garbage import unnamed_blobs, unused_layers

    known = {diff.partition(":")[2]: size for diff, size in layer_bytes(images).items()}
    directory = f"{images.store.path}/layers"
    layers = sum(
        known[name] if name in known else tree_bytes(f"{directory}/{name}")
        for name in unused_layers(images)
    )
    blobs = blob_bytes(images, {*unnamed_blobs(images), *images.blobs.unwanted()})
    return layers + sum(blobs.values()) + partial_bytes(images)


def tree_bytes(path: str) -> int:
    """The lengths of all files below a directory, each once; 0 if there is none."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                found = os.lstat(f"{directory}/{name}")
            except FileNotFoundError:  # deleted meanwhile
                continue
            seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def _file_bytes(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0
