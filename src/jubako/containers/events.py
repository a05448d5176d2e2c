"""The events of containers, with the attributes that Docker gives them."""

from __future__ import annotations

import os
import sys

from jubako.errors import JubakoError
from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jubako.containers.model import ContainerRecord
    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.store import Store

_NAME_BYTES = 64
_VERBS = frozenset(
    ("attach kill pause prune restart rm run start stop unpause update edit").split()
)


def emit(
    store: Store,
    record: ContainerRecord,
    action: str,
    *,
    notes: Mapping[str, object] | None = None,
    **attributes: object,
) -> None:
    """Record one event of a container, in the transaction that is open, if one is.

    attributes: what this action has beyond image, name and labels, for example `exitCode`.
    notes: what `jubako why` shall know beyond that; see `jubako.store.events`.
    """
    content = _content(record, attributes)
    events.emit(store, "container", action, record["Id"], content, notes=notes)


def report(
    store: Store,
    record: ContainerRecord,
    action: str,
    *,
    notes: Mapping[str, object] | None = None,
    **attributes: object,
) -> None:
    """The same for something that has been done, or only looked at: a full disk does not matter."""
    content = _content(record, attributes)
    events.report(store, "container", action, record["Id"], content, notes=notes)


def _content(record: ContainerRecord, attributes: Mapping[str, object]) -> dict[str, str]:
    labels = record["Config"].get("Labels") or {}
    own = {"image": record["ImageRef"], "name": record["Name"]}
    return {**labels, **own, **{key: str(value) for key, value in attributes.items()}}


def network(services: Services, container: Container, action: str) -> None:
    """`connect` or `disconnect` of a container whose network is no bridge of ours, `host` or
    `none`; those of a bridge are the network service's own."""
    name = container.record["HostConfig"]["NetworkMode"]
    if name not in ("host", "none"):
        return
    row = services.store.db.execute("SELECT id FROM networks WHERE name = ?", (name,)).fetchone()
    try:
        actor = row["id"] if row is not None else services.networks.find(name)["Id"]
    except JubakoError:
        return  # the first use of the root's networks: no subnet is free for the bridge
    attributes = {
        "container": container.id,
        "name": name,
        "type": "host" if name == "host" else "null",
    }
    events.emit(services.store, "network", action, actor, attributes)


def volumes(services: Services, container: Container, action: str) -> None:
    """`mount` or `unmount` of each of its volumes."""
    for point in container.record["Mounts"]:
        if point["Type"] != "volume":
            continue
        attributes = {"container": container.id, "driver": point["Driver"]}
        if action == "mount":
            attributes["destination"] = point["Destination"]
            attributes["propagation"] = point["Propagation"]
            attributes["read/write"] = "true" if point["RW"] else "false"
        events.emit(services.store, "volume", action, point["Name"], attributes)


def caller() -> dict[str, object]:
    """Who does this, for the notes of an event: user, process, and the command's name.

    Never its arguments: those of `run` may hold what is secret.
    """
    program = os.path.basename(sys.argv[0])
    verb = next((word for word in sys.argv[1:] if word in _VERBS), "")
    found: dict[str, object] = {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "command": f"{program} {verb}".strip()[:_NAME_BYTES],
    }
    if os.environ.get("SUDO_USER"):
        found["sudo_user"] = os.environ["SUDO_USER"][:_NAME_BYTES]
    return found
