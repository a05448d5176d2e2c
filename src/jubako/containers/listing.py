"""`ps`: summaries of containers in the Engine API's shape."""

from __future__ import annotations

import time

from jubako.containers.times import seconds
from jubako.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.services import Services
    from jubako.containers.table import Container

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
