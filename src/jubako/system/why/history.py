"""What is known of one container, whether it is still there or not."""

from __future__ import annotations

from jubako.containers.monitor import samples
from jubako.errors import NotFound
from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.services import Services
    from jubako.containers.table import Container
    from jubako.store import Store
    from jubako.store.events import Event

_ID_DIGITS = 64


class Run:
    """From one start to its end.

    start: the event, None when it is older than what is kept.  end: `die`, None while it runs.
    events: everything in between.
    """

    def __init__(self, start: Event | None):
        self.start = start
        self.end: Event | None = None
        self.events: list[Event] = []

    def all(self, action: str) -> list[Event]:
        """The events of one kind, in order."""
        return [event for event in self.events if event.action == action]

    @property
    def lasted_s(self) -> float | None:
        if self.start is None or self.end is None:
            return None
        return (self.end.at_ns - self.start.at_ns) / 1e9


class History:
    """One container.

    row: as it is now, None after its removal.  events: Docker's and the recorder's own.  samples:
    what it used.  earlier: how many removed containers of this name there were besides.
    """

    def __init__(
        self,
        container_id: str,
        row: Container | None,
        found: list[Event],
        used: list[dict[str, Any]],
        earlier: int,
    ):
        self.id = container_id
        self.row = row
        self.events = found
        self.samples = used
        self.earlier = earlier
        self.runs = _runs(found)

    @property
    def name(self) -> str:
        if self.row is not None:
            return self.row.name
        named = (event.attributes.get("name") for event in reversed(self.events))
        return next((name for name in named if name), "")

    @property
    def image(self) -> str:
        if self.row is not None:
            return self.row.record["ImageRef"]
        images = (event.attributes.get("image") for event in reversed(self.events))
        return next((image for image in images if image), "")

    @property
    def removal(self) -> Event | None:
        """The event of its removal."""
        destroyed = [event for event in self.events if event.action == "destroy"]
        return destroyed[-1] if destroyed else None

    @property
    def failed_start(self) -> Event | None:
        """The recorder's note of a start that failed, if none has worked since."""
        for event in reversed(self.events):
            if event.action == "start":
                return None
            if event.kind == events.RECORDER and event.action == "start-failed":
                return event
        return None


def find(services: Services, reference: str) -> History:
    """By name or ID, or the beginning of an ID; who is there wins over who was removed.

    Raises NotFound, Conflict (several IDs begin so).
    """
    store = services.store
    row = _there(services, reference)
    if row is None:
        container_id, earlier = _removed(store, reference.removeprefix("/"))
    else:
        container_id = row.id
        earlier = len(_ids_of_name(store, row.name) - {row.id})
    return History(
        container_id,
        row,
        events.of(store, container_id),
        samples.read(store, container_id),
        earlier,
    )


def _there(services: Services, reference: str) -> Container | None:
    try:
        return services.table.get(reference)
    except NotFound:
        return None


def _removed(store: Store, reference: str) -> tuple[str, int]:
    ids = _ids_of_name(store, reference)
    if not ids and reference and set(reference) <= set("0123456789abcdef"):
        rows = store.db.execute(
            "SELECT DISTINCT actor FROM events WHERE actor >= ? AND actor < ?"
            " AND length(actor) = ? AND type = 'container'",
            (reference, reference + "g", _ID_DIGITS),
        )
        ids = {row["actor"] for row in rows}
    if not ids:
        raise NotFound(
            f"No such container: {reference}",
            hint="what was removed is remembered for as long as `record-keep` says (168h)",
            subject=reference,
        )
    marks = ", ".join("?" * len(ids))
    latest = store.db.execute(
        f"SELECT actor FROM events WHERE actor IN ({marks}) ORDER BY id DESC LIMIT 1", [*ids]
    ).fetchone()
    return str(latest["actor"]), len(ids) - 1


def _ids_of_name(store: Store, name: str) -> set[str]:
    """The containers that had a name at the end, of those that were removed."""
    rows = store.db.execute(
        "SELECT * FROM events WHERE type = 'container' AND action = 'destroy'"
        " AND instr(attributes, ?)",
        (name,),
    )
    found = (events.Event(row) for row in rows.fetchall())
    return {event.actor for event in found if event.attributes.get("name") == name}


def _runs(found: list[Event]) -> list[Run]:
    runs: list[Run] = []
    for event in found:
        if event.action == "start":
            runs.append(Run(event))
        elif event.action == "die" and (not runs or runs[-1].end is not None):
            runs.append(Run(None))  # its start is older than what is kept
        if not runs:
            continue
        run = runs[-1]
        if event.action == "die":
            run.end = event
        elif run.end is None:
            run.events.append(event)
    return runs
