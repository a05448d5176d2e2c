"""The events of containers, with the attributes that Docker gives them."""

from __future__ import annotations

from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.model import ContainerRecord
    from jubako.store import Store


def emit(store: Store, record: ContainerRecord, action: str, **attributes: object) -> None:
    """Record one event of a container, in the transaction that is open, if one is.

    attributes: what this action has beyond image, name and labels, for example `exitCode`.
    """
    labels = record["Config"].get("Labels") or {}
    own = {"image": record["ImageRef"], "name": record["Name"]}
    more = {key: str(value) for key, value in attributes.items()}
    events.emit(store, "container", action, record["Id"], {**labels, **own, **more})
