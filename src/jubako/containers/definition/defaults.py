"""The way back from a complete configuration to a request: what somebody must have asked for.

`config.merge` fills a request up with the image's values and the engine's; here a value is left
out again whenever `merge` would put the same there.  So no rule of `merge` is known twice.
"""

from __future__ import annotations

from jubako.containers.definition.config import merge
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jubako.containers.model import Json

# Values that follow from other ones.  The host name comes first: with some network modes a request
# must not have one.
_DERIVED = (
    ("Config", "Hostname"),
    ("HostConfig", "MemorySwap"),
    ("HostConfig", "MaskedPaths"),
    ("HostConfig", "ReadonlyPaths"),
    ("HostConfig", "SecurityOpt"),
    ("HostConfig", "CgroupnsMode"),
)
_COLLECTIONS = ("Env", "Labels", "ExposedPorts", "Volumes")


class _Search:
    """A request that gets smaller while what `merge` makes of it stays the same."""

    def __init__(
        self, config: Json, host: Json, image: Mapping[str, Any] | None, container_id: str
    ):
        self.config = config
        self.host = host
        self._image = image
        self._id = container_id

    def result(self) -> tuple[Json, Json] | None:
        """What `merge` makes of it; None if it refuses."""
        try:
            config, host, _ = merge(self.config, self.host, self._image, container_id=self._id)
        except InvalidArgument:
            return None
        return dict(config), dict(host)

    def drop(self, where: Json, key: str, wanted: tuple[Json, Json] | None) -> None:
        """Leave a value out if the result is still `wanted`, or (None) if it comes back."""
        value = where.pop(key)
        found = self.result()
        if found is None:
            good = False
        elif wanted is None:
            good = found[where is self.host].get(key) == value
        else:
            good = found == wanted
        if not good:
            where[key] = value


def undo(config: Json, host: Json, container_id: str) -> None:
    """Take out of a complete configuration what follows from the rest of it, so that it follows
    what is changed there; the image has no say any more."""
    search = _Search(config, host, None, container_id)
    for title, key in _DERIVED:
        where = config if title == "Config" else host
        if where.get(key) is not None:
            search.drop(where, key, None)


def minimal(
    config: Mapping[str, Any],
    host: Mapping[str, Any],
    image: Mapping[str, Any],
    container_id: str,
) -> tuple[Json, Json]:
    """The smallest request that `merge` makes the same of as of the whole configuration.

    image: the image JSON.  What an edit has taken away of the image's own cannot be asked for;
    `changes.differences` with what `merge` makes of the result tells.
    """
    search = _Search(_copy(config), _copy(host), image, container_id)
    if not search.config.get("Entrypoint") and (image.get("config") or {}).get("Entrypoint"):
        search.config["Entrypoint"] = [""]  # how a request says that there shall be none
    for title, key in _DERIVED:
        where = search.config if title == "Config" else search.host
        if where.get(key) is not None:
            search.drop(where, key, None)
    wanted = search.result()
    if wanted is None:
        return search.config, search.host
    for where in (search.config, search.host):
        for key in list(where):
            if key != "Image":
                search.drop(where, key, wanted)
    for key in _COLLECTIONS:
        if key in search.config:
            _thin(search, key, wanted)
    log = search.host.get("LogConfig")
    if log:
        search.host["LogConfig"] = {"Config": log["Config"]}
        if search.result() != wanted:
            search.host["LogConfig"] = log
    return search.config, search.host


def _copy(values: Mapping[str, Any]) -> Json:
    return {
        key: list(value) if type(value) is list else dict(value) if type(value) is dict else value
        for key, value in values.items()
    }


def _thin(search: _Search, key: str, wanted: tuple[Json, Json]) -> None:
    """Leave entries of a collection out that the image has as well."""
    for smaller in _smaller(search.config[key]):
        before = search.config[key]
        candidate = smaller(before)
        search.config[key] = candidate
        if search.result() != wanted:
            search.config[key] = before


def _smaller(value: Any) -> Iterator[Any]:
    """For each entry, the function that leaves it out; the last one first: `merge` puts the image's
    own at the end, in the image's order."""
    if type(value) is dict:
        for name in reversed(value):
            yield lambda now, name=name: {k: v for k, v in now.items() if k != name}
    else:
        for entry in reversed(value):
            yield lambda now, entry=entry: [other for other in now if other != entry]
