"""`ps --filter`: which containers are wanted, by moby's rules (daemon/list.go).

Several values of one filter are alternatives, but all labels must be there; several filters must
all be met.
"""

from __future__ import annotations

import re

from jubako.errors import InvalidArgument, JubakoError
from jubako.golang import filters as filtering
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jubako.containers.services import Services
    from jubako.containers.table import Container

_FILTERS = frozenset(
    (
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    )
)
_STATUSES = frozenset(("created", "restarting", "running", "removing", "paused", "exited", "dead"))
_MAX_PORT = 65535


class Filters:
    """Checked filters; `matches` says whether a container passes all of them.

    Raises InvalidArgument in Docker's words, NotFound (the container of `before` or `since`).
    """

    def __init__(self, services: Services, filters: Mapping[str, Sequence[str]]):
        filtering.check_names(filters, _FILTERS)
        # is-task: nothing here is a task of a swarm.  isolation: has no effect on Linux.
        self._nothing = bool(filtering.boolean(filters, "is-task"))
        self._labels = filters.get("label", ())
        self._ids = filters.get("id", ())
        self._names = _patterns(filters.get("name", ()))
        self._statuses = _checked_statuses(filters.get("status", ()))
        self._codes = [_exit_code(value) for value in filters.get("exited", ())]
        self._health = _checked_health(filters.get("health", ()))
        self._networks = filters.get("network", ())
        self._volumes = filters.get("volume", ())
        self._ports = {
            name: set(_ports(name, filters[name]))
            for name in ("publish", "expose")
            if filters.get(name)
        }
        self._bounds = {
            name: services.table.get(filters[name][-1]).created_ns
            for name in ("before", "since")
            if filters.get(name)
        }
        ancestors = filters.get("ancestor")
        self._images = _descendants(services, ancestors) if ancestors else None

    @property
    def wants_stopped(self) -> bool:
        """Whoever names a status wants to see stopped containers, too."""
        return bool(self._statuses)

    def matches(self, container: Container) -> bool:
        """Whether a container passes."""
        return (
            not self._nothing
            and self._is_named(container)
            and self._is_in_state(container)
            and self._is_in_time(container)
            and (self._images is None or container.image_id in self._images)
            and has_labels(container, self._labels)
            and (not self._networks or self._is_connected(container))
            and (not self._volumes or self._has_volume(container))
            and all(ports & _ports_of(container, name) for name, ports in self._ports.items())
        )

    def _is_named(self, container: Container) -> bool:
        if self._ids and not container.id.startswith(tuple(self._ids)):
            return False
        texts = (container.name, f"/{container.name}")
        return self._names is None or any(
            pattern.search(text) for pattern in self._names for text in texts
        )

    def _is_in_state(self, container: Container) -> bool:
        if self._statuses and container.status not in self._statuses:
            return False
        if self._codes and not (
            container.status == "exited" and container.exit_code in self._codes
        ):
            return False
        health = container.health["Status"] if container.health else "none"
        return not self._health or health in self._health

    def _is_in_time(self, container: Container) -> bool:
        before, since = self._bounds.get("before"), self._bounds.get("since")
        created = container.created_ns
        return (before is None or created < before) and (since is None or created > since)

    def _is_connected(self, container: Container) -> bool:
        mode = container.record["HostConfig"]["NetworkMode"]
        name = "bridge" if mode == "default" else mode
        identity = container.endpoint.get("NetworkID") or ""
        return any(value == name or (identity and identity.startswith(value))
                   for value in self._networks)  # fmt: skip

    def _has_volume(self, container: Container) -> bool:
        return any(
            value in (point.get("Name") or point.get("Source"), point["Destination"])
            for value in self._volumes
            for point in container.record["Mounts"]
        )


def has_labels(container: Container, wanted: Sequence[str]) -> bool:
    """Whether a container has all labels, each `name` or `name=value`."""
    return filtering.has_labels(container.record["Config"].get("Labels") or {}, wanted)


def _patterns(values: Sequence[str]) -> list[re.Pattern[str]] | None:
    """Regular expressions; what is none matches nothing, as with Docker."""
    if not values:
        return None
    found = []
    for value in values:
        try:
            found.append(re.compile(value))
        except re.error:
            continue
    return found


def _checked_statuses(values: Sequence[str]) -> Sequence[str]:
    for value in values:
        if value not in _STATUSES:
            raise InvalidArgument(f"invalid filter 'status={value}'", subject=value)
    return values


def _checked_health(values: Sequence[str]) -> Sequence[str]:
    from jubako.containers.monitor.health import STATUSES

    for value in values:
        if value not in STATUSES:
            text = f"unrecognized filter value for health: {value}"
            raise InvalidArgument(text, subject=value)
    return values


def _exit_code(value: str) -> int:
    try:
        return int(value)
    except ValueError as exc:
        why = f"strconv.Atoi: parsing {quote(value)}: invalid syntax"
        raise InvalidArgument(f"invalid filter 'exited={value}': {why}", subject=value) from exc


def _ports(name: str, values: Sequence[str]) -> Iterator[tuple[int, str]]:
    """`80`, `8000-8010/udp`: ports with their protocols."""
    for value in values:
        numbers, _, protocol = value.partition("/")
        first, dash, last = numbers.partition("-")
        try:
            low = _port(first)
            high = _port(last) if dash else low
            if high < low:
                raise ValueError(f"invalid range specified for port: {numbers}")
            if (protocol or "tcp") not in ("tcp", "udp", "sctp"):
                raise ValueError(f"invalid proto: {protocol}")
        except ValueError as exc:
            text = f"error while looking up for {name} {value}: {exc}"
            raise InvalidArgument(text, subject=value) from exc
        for number in range(low, high + 1):
            yield number, protocol or "tcp"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if int(text) > _MAX_PORT:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return int(text)


def _ports_of(container: Container, name: str) -> set[tuple[int, str]]:
    """The host's ports that a running container publishes, or its own that are known outside."""
    if not container.running:
        return set()
    published = container.endpoint.get("Ports") or {}
    if name == "publish":
        return {
            (int(binding["HostPort"]), key.partition("/")[2] or "tcp")
            for key, bindings in published.items()
            for binding in bindings or ()
        }
    exposed = container.record["Config"].get("ExposedPorts") or {}
    keys = (key.partition("/") for key in (*published, *exposed))
    return {(int(number), protocol or "tcp") for number, _, protocol in keys if number.isdigit()}


def _descendants(services: Services, references: Iterable[str]) -> set[str]:
    """The images and all that were made from them on this machine."""
    found: set[str] = set()
    for reference in references:
        try:
            found.add(services.images.resolve(reference))
        except JubakoError:
            continue  # Docker warns in its log
    parents = services.store.db.execute("SELECT id, parent FROM images WHERE parent != ''")
    pairs = [(row["id"], row["parent"]) for row in parents]
    while True:
        more = {image for image, parent in pairs if parent in found} - found
        if not more:
            return found
        found |= more
