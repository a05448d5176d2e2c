"""`idmap=uids=0-1000-1#...;gids=...` of a mount: owners on the disk and owners in the container.

The syntax is Podman's: each range is FILE-CONTAINER-COUNT, where FILE is the first ID on the disk
and CONTAINER the first that the container sees in its place.  Other IDs look like `nobody`.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument

_MAX_RANGES = 340  # of one map, kernel 4.15
_LARGEST = (1 << 32) - 2
_EXAMPLE = "idmap=uids=0-1000-1;gids=0-1000-1"

TYPE_CHECKING = False
if TYPE_CHECKING:
    Mappings = list[dict[str, int]]


def parse(text: str) -> tuple[Mappings, Mappings]:
    """The maps of users and of groups, as OCI's `uidMappings` and `gidMappings` of a mount.

    Raises InvalidArgument.
    """
    maps: dict[str, Mappings] = {}
    for part in text.split(";"):
        name, _, ranges = part.partition("=")
        if name not in ("uids", "gids") or name in maps or not ranges:
            raise InvalidArgument(f"invalid idmap '{text}'", hint=f"for example: {_EXAMPLE}")
        maps[name] = [_range(one, text) for one in ranges.split("#")]
        if len(maps[name]) > _MAX_RANGES:
            raise InvalidArgument(f"invalid idmap: more than {_MAX_RANGES} ranges")
    if len(maps) != 2:
        raise InvalidArgument(
            f"invalid idmap '{text}': both uids and gids are needed",
            hint=f"for example: {_EXAMPLE}",
        )
    return maps["uids"], maps["gids"]


def _range(text: str, whole: str) -> dict[str, int]:
    if text.startswith("@"):
        raise InvalidArgument(
            f"invalid idmap '{whole}': ranges relative to a user namespace are not supported"
        )
    numbers = text.split("-")
    if len(numbers) != 3 or not all(part.isascii() and part.isdigit() for part in numbers):
        raise InvalidArgument(
            f"invalid idmap '{whole}': '{text}' is not FILE-CONTAINER-COUNT",
            hint=f"for example: {_EXAMPLE}",
        )
    on_disk, inside, size = map(int, numbers)
    if not size or max(on_disk, inside) + size - 1 > _LARGEST:
        raise InvalidArgument(f"invalid idmap '{whole}': '{text}' is out of range")
    # what the kernel calls the inside of the mount's namespace is what is on the disk
    return {"containerID": on_disk, "hostID": inside, "size": size}
