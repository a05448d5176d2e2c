"""`ps`: summaries of containers in the Engine API's shape, and the filters on them."""

from __future__ import annotations

import time

from jubako.containers.times import seconds
from jubako.errors import InvalidArgument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.containers.services import Services
    from jubako.containers.table import Container

_FILTERS = {
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
}
_STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def human_duration(duration_s: float) -> str:
    """A length of time as Docker says it: `Less than a second`, `About an hour`, `3 weeks`."""
    whole = int(duration_s)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < _MINUTE:
        return f"{whole} seconds"
    minutes = whole // _MINUTE
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(duration_s / _HOUR + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for limit, unit_hours, name in (
        (24 * 7 * 2, 24, "days"),
        (24 * 30 * 2, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours < limit:
            return f"{hours // unit_hours} {name}"
    return f"{int(duration_s / _HOUR / 24 / 365)} years"


def status_text(container: Container) -> str:
    """The STATUS column: `Up 3 seconds (Paused)`, `Exited (0) 2 minutes ago`, `Created`."""
    now_s = time.time()
    if container.running:
        up = human_duration(now_s - seconds(container.started))
        return f"Up {up}{_health_text(container)}"
    if container.status in ("exited", "restarting"):
        ago = human_duration(now_s - seconds(container.finished))
        return f"{container.status.capitalize()} ({container.exit_code}) {ago} ago"
    return {"removing": "Removal In Progress", "dead": "Dead"}.get(container.status, "Created")


def _health_text(container: Container) -> str:
    if container.status == "paused":
        return " (Paused)"
    if container.health is None:
        return ""
    status = container.health["Status"]
    return " (health: starting)" if status == "starting" else f" ({status})"


def summarize(services: Services, container: Container, *, size: bool) -> dict[str, Any]:
    """One container as the API's ContainerSummary."""
    record = container.record
    words = (f"'{word}'" if " " in word else word for word in record["Args"])
    command = " ".join((record["Path"], *words))
    summary: dict[str, Any] = {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": record["ImageRef"],
        "ImageID": container.image_id,
        "Command": command,
        "Created": container.created_ns // 1_000_000_000,
        "Ports": _ports(container),
        "Labels": record["Config"].get("Labels") or {},
        "State": container.status,
        "Status": status_text(container),
        "HostConfig": {"NetworkMode": record["HostConfig"]["NetworkMode"]},
        "NetworkSettings": {"Networks": _networks(container)},
        "Mounts": [
            {key: value for key, value in point.items() if key in _MOUNT_KEYS}
            for point in record["Mounts"]
        ],
    }
    if size:
        summary["SizeRw"], summary["SizeRootFs"] = sizes(services, container)
    return summary


_MOUNT_KEYS = ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation")


def _networks(container: Container) -> dict[str, Any]:
    mode = container.record["HostConfig"]["NetworkMode"]
    if mode.startswith("container:"):
        return {}
    endpoint = {key: value for key, value in container.endpoint.items() if key != "Ports"}
    return {"bridge" if mode == "default" else mode: endpoint}


def _ports(container: Container) -> list[dict[str, Any]]:
    ports: list[dict[str, Any]] = []
    published = container.endpoint.get("Ports") or {}
    exposed = container.record["Config"].get("ExposedPorts") or {} if container.running else {}
    for key in sorted({*published, *exposed}, key=_port_key):
        number, _, protocol = key.partition("/")
        entry: dict[str, Any] = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        bindings = published.get(key) or []
        ports.extend(
            {"IP": b["HostIp"], **entry, "PublicPort": int(b["HostPort"])} for b in bindings
        )
        if not bindings:
            ports.append(entry)
    return ports


def _port_key(key: str) -> tuple[int, str]:
    number, _, protocol = key.partition("/")
    return int(number), protocol


def sizes(services: Services, container: Container) -> tuple[int, int]:
    """Bytes that the container wrote, and those together with its image's."""
    written = _written(f"{services.directory(container.id)}/upper")
    row = services.store.db.execute(
        "SELECT size_bytes FROM images WHERE id = ?", (container.image_id,)
    ).fetchone()
    return written, written + (row["size_bytes"] if row else 0)


def _written(upper: str) -> int:
    from jubako.volumes import tree

    try:
        return tree.size_bytes(upper)
    except KernelError:
        return 0  # it is being removed while we look


class Filters:
    """`--filter`, checked; `matches` says whether a container passes all of them."""

    def __init__(self, services: Services, filters: Mapping[str, Sequence[str]]):
        self._services = services
        self._filters = filters
        for name, values in filters.items():
            if name not in _FILTERS:
                raise InvalidArgument(f"invalid filter '{name}'", subject=name)
            if name == "status":
                self._check_statuses(values)
            if name == "health":
                self._check_health(values)
            if name == "exited" and not all(v.lstrip("-").isdigit() for v in values):
                raise InvalidArgument(f"invalid filter 'exited={values[0]}'")
        self._bounds = {
            name: services.table.get(values[-1]).created_ns
            for name, values in filters.items()
            if name in ("before", "since") and values
        }
        self._images = self._ancestors(filters.get("ancestor", ()))

    def _check_health(self, values: Sequence[str]) -> None:
        from jubako.containers.health import STATUSES

        for value in values:
            if value not in STATUSES:
                text = f"unrecognized filter value for health: {value}"
                raise InvalidArgument(text, subject=value)

    def _check_statuses(self, values: Sequence[str]) -> None:
        for value in values:
            if value not in _STATUSES:
                raise InvalidArgument(f"invalid filter 'status={value}'", subject=value)

    def _ancestors(self, references: Sequence[str]) -> set[str]:
        from jubako.errors import JubakoError

        found: set[str] = set()
        for reference in references:
            try:
                found.add(self._services.images.resolve(reference))
            except JubakoError:
                continue  # Docker warns in its log and matches nothing
        return found

    @property
    def wants_stopped(self) -> bool:
        """These filters name states, so `ps` looks at stopped containers too."""
        return bool({"status", "exited"} & set(self._filters))

    def matches(self, container: Container) -> bool:
        return all(self._matches(name, values, container) for name, values in self._filters.items())

    def _matches(self, name: str, values: Sequence[str], container: Container) -> bool:
        record = container.record
        if name in ("before", "since"):
            bound = self._bounds[name]
            return (
                container.created_ns < bound if name == "before" else container.created_ns > bound
            )
        if name == "label":
            labels = record["Config"].get("Labels") or {}
            return all(_has_label(labels, value) for value in values)
        if name == "ancestor":
            return container.image_id in self._images
        return any(_has(name, value, container) for value in values)


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _has(name: str, value: str, container: Container) -> bool:
    record = container.record
    if name == "id":
        return container.id.startswith(value)
    if name == "name":
        import re

        return (
            re.search(value, container.name) is not None
            or re.search(value, f"/{container.name}") is not None
        )
    if name == "status":
        return container.status == value
    if name == "exited":
        return container.status == "exited" and container.exit_code == int(value)
    if name == "network":
        return value in (record["HostConfig"]["NetworkMode"], container.endpoint.get("NetworkID"))
    if name == "volume":
        points = record["Mounts"]
        return any(value in (point.get("Name"), point["Destination"]) for point in points)
    if name in ("publish", "expose"):
        return _has_port(name, value, container)
    if name == "health":
        return value == (container.health["Status"] if container.health else "none")
    return value in ("false", "0")  # is-task: nothing here is a swarm task


def _has_port(name: str, value: str, container: Container) -> bool:
    ports, _, protocol = value.partition("/")
    first, _, last = ports.partition("-")
    try:
        numbers = range(int(first), int(last or first) + 1)
    except ValueError as exc:
        raise InvalidArgument(f"invalid filter '{name}={value}'", subject=value) from exc
    known = container.endpoint.get("Ports") or {}
    if name == "expose":
        known = {**known, **(container.record["Config"].get("ExposedPorts") or {})}
    for key in known:
        number, _, proto = key.partition("/")
        if int(number) in numbers and (protocol or "tcp") == (proto or "tcp"):
            return True
    return False
