"""What happened to the objects of a root: the table `events`, which `jubako events` reads.

An event is written in the transaction of the change that it tells of, so that neither is there
without the other.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jubako.store.store import Store


def emit(
    store: Store, kind: str, action: str, actor: str, attributes: Mapping[str, str] | None = None
) -> None:
    """Record one event; inside a transaction of the store it becomes part of it.

    kind: `container`, `image`, `network`, `volume`, `daemon`.  action: as Docker names it (`start`,
    `health_status: healthy`).  actor: the object's ID, of a volume its name.
    """
    with store.transaction() as db:
        db.execute(
            "INSERT INTO events (at_ns, type, action, actor, attributes) VALUES (?, ?, ?, ?, ?)",
            (time.time_ns(), kind, action, actor, json.dumps(attributes or {})),
        )
