"""The events of images, with the attributes that Docker gives them."""

from __future__ import annotations

import json

from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.oci.reference import Reference
    from jubako.store import Store


def emit(store: Store, action: str, image_id: str, name: str | None = None) -> None:
    """Record one event of an image, in the transaction that is open, if one is.

    name: what Docker's attribute `name` says, a name for `tag` and the ID for everything else.
    The image's labels are attributes too, while it is there.
    """
    events.emit(store, "image", action, image_id, _attributes(store, image_id, name or image_id))


def _attributes(store: Store, image_id: str, name: str) -> dict[str, str]:
    row = store.db.execute("SELECT config FROM images WHERE id = ?", (image_id,)).fetchone()
    config = json.loads(row["config"]).get("config") or {} if row is not None else {}
    return {**(config.get("Labels") or {}), "name": name}


def emit_transfer(store: Store, action: str, image_id: str, reference: Reference) -> None:
    """Record a `pull` or a `push`: Docker's actor is the name, its attribute the repository."""
    attributes = _attributes(store, image_id, reference.familiar_name())
    events.emit(store, "image", action, reference.familiar(), attributes)


def emit_saved(store: Store, image_id: str) -> None:
    """Record that an image was written to an archive; a full disk does not matter."""
    events.report(store, "image", "save", image_id, _attributes(store, image_id, image_id))


def emit_deleted(store: Store, image_id: str) -> None:
    """Record that an image is no more: Docker does not know its labels by then."""
    events.emit(store, "image", "delete", image_id, {"name": image_id})


def pruned(store: Store, freed_bytes: int) -> None:
    """The event of a `prune` that is over."""
    events.report(store, "image", "prune", "", {"reclaimed": str(freed_bytes)})
