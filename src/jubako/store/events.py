"""What happened to the objects of a root: the table `events`, which `jubako events` reads.

An event is written in the transaction of the change that it tells of, so that neither is there
without the other.  IDs of rows grow in the order in which transactions commit: who remembers the
last one that it saw misses none and sees none twice.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress

from jubako.errors import JubakoError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from typing import Any

    from jubako.store.store import Store

# Under this key, which no attribute has a JSON object for, is what `jubako why` knows beyond Docker
_NOTES = ""
RECORDER = "recorder"  # the type of what is only for `jubako why`
_MAX_ROWS = 100_000  # some 40 MB; older ones go first, whatever `record-keep` says
_CHATTER_KEEP_S = 3600.0  # each health check is three of these events
_CHATTER = "type = 'container' AND (action LIKE 'exec\\_%' ESCAPE '\\' OR action = 'top')"
_TURN = 512  # one event in so many deletes what is too old
_SLACK = 0.05  # by how much rows may be too old: deleting some is cheaper than one at a time


def emit(
    store: Store,
    kind: str,
    action: str,
    actor: str,
    attributes: Mapping[str, str] | None = None,
    *,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Record one event; inside a transaction of the store it becomes part of it.

    kind: `container`, `image`, `network`, `volume`, `daemon`.  action: as Docker names it (`start`,
    `health_status: healthy`).  actor: the object's ID, of a volume its name.  notes: what
    `jubako why` shall know and Docker's event does not have.
    """
    content: dict[str, object] = dict(attributes or {})
    if notes:
        content[_NOTES] = notes
    with store.transaction() as db:
        row_id = db.execute(
            "INSERT INTO events (at_ns, type, action, actor, attributes) VALUES (?, ?, ?, ?, ?)",
            (time.time_ns(), kind, action, actor, json.dumps(content)),
        ).lastrowid
        if row_id and row_id % _TURN == 0:
            _take_turn(store)


def report(
    store: Store,
    kind: str,
    action: str,
    actor: str,
    attributes: Mapping[str, str] | None = None,
    *,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Record one event of something that has been done, outside of any transaction.

    It is not undone because it cannot be told: on a full disk nothing happens.
    """
    with suppress(JubakoError):
        emit(store, kind, action, actor, attributes, notes=notes)


def _take_turn(store: Store) -> None:
    """Somebody has to delete what is too old, and nothing runs that could do it at night."""
    from jubako.store.settings import load

    try:
        keep_s = load(store.path).record_keep_s
    except JubakoError:
        return  # what is wrong with the settings, commands that need them say
    expire(store, keep_s)


def note(store: Store, action: str, actor: str, attributes: Mapping[str, str]) -> None:
    """Record something that Docker has no event for and `jubako events` does not show."""
    emit(store, RECORDER, action, actor, attributes)


class Event:
    """One row.

    id: grows from event to event.  at_ns: nanoseconds since 1970.  notes: see `emit`.
    """

    __slots__ = ("action", "actor", "at_ns", "attributes", "id", "kind", "notes")

    def __init__(self, row: sqlite3.Row):
        self.id: int = row["id"]
        self.at_ns: int = row["at_ns"]
        self.kind: str = row["type"]
        self.action: str = row["action"]
        self.actor: str = row["actor"]
        content: dict[str, Any] = json.loads(row["attributes"])
        notes = content.get(_NOTES)
        self.notes: dict[str, Any] = content.pop(_NOTES) if isinstance(notes, dict) else {}
        self.attributes: dict[str, str] = content


def after(store: Store, last_id: int, *, since_ns: int = 0, limit: int = 1000) -> list[Event]:
    """The next events after the one with `last_id` (0: from the first) that are not older than
    `since_ns`, in order; at most `limit`."""
    rows = store.db.execute(
        "SELECT * FROM events WHERE id > ? AND at_ns >= ? ORDER BY id LIMIT ?",
        (last_id, since_ns, limit),
    )
    return [Event(row) for row in rows.fetchall()]


def last_id(store: Store) -> int:
    """The ID of the newest event; 0 when there was none."""
    row = store.db.execute("SELECT max(id) FROM events").fetchone()
    return int(row[0] or 0)


def of(store: Store, actor: str) -> list[Event]:
    """All that is known of one object, in order."""
    rows = store.db.execute("SELECT * FROM events WHERE actor = ? ORDER BY id", (actor,))
    return [Event(row) for row in rows.fetchall()]


def expire(store: Store, keep_s: float) -> None:
    """Forget events and samples that are older than `keep_s`, and what is too much.

    Cheap when there is nothing to do, which one look at the oldest rows tells; what it has to
    delete has piled up a while.
    """
    now_ns = time.time_ns()
    db = store.db
    first = db.execute("SELECT id, at_ns FROM events ORDER BY id LIMIT 1").fetchone()
    if first is None:
        return
    newest = last_id(store)
    too_old = first["at_ns"] < now_ns - keep_s * (1 + _SLACK) * 1e9
    too_many = newest - first["id"] > _MAX_ROWS * (1 + _SLACK)
    chatter = _has_old_chatter(db, now_ns, first["at_ns"])
    if not (too_old or too_many or chatter):
        return
    with store.transaction() as db:
        limit_ns = int(now_ns - keep_s * 1e9)
        db.execute("DELETE FROM events WHERE at_ns < ?", (limit_ns,))
        db.execute("DELETE FROM events WHERE id <= ?", (newest - _MAX_ROWS,))
        db.execute(
            f"DELETE FROM events WHERE at_ns < ? AND {_CHATTER}",
            (int(now_ns - _CHATTER_KEEP_S * 1e9),),
        )
        db.execute("DELETE FROM samples WHERE at_ns < ?", (limit_ns,))


def _has_old_chatter(db: sqlite3.Connection, now_ns: int, first_ns: int) -> bool:
    """Whether something that is only kept for an hour is two hours old; asks the oldest rows."""
    limit_ns = int(now_ns - 2 * _CHATTER_KEEP_S * 1e9)
    if first_ns >= limit_ns:
        return False
    row = db.execute(
        f"SELECT 1 FROM (SELECT type, action FROM events WHERE at_ns < ? ORDER BY at_ns DESC"
        f" LIMIT 100) WHERE {_CHATTER} LIMIT 1",
        (limit_ns,),
    ).fetchone()
    return row is not None
