"""`container prune`."""

from __future__ import annotations

from jubako.containers.listing import sizes
from jubako.containers.selecting import has_labels
from jubako.errors import Conflict, NotFound
from jubako.golang.filters import check_names
from jubako.images.times import parse_until
from jubako.store import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jubako.containers.lifecycle import Lifecycle
    from jubako.containers.services import Services


def prune(
    services: Services, lifecycle: Lifecycle, filters: Mapping[str, Sequence[str]]
) -> tuple[list[str], int]:
    """Remove containers that do not run; IDs and bytes.

    filters: `label`, `label!`, and `until`: a time, Unix seconds, or how long ago (`24h`).
    """
    check_names(filters, ("label", "label!", "until"))
    having, lacking = filters.get("label", ()), filters.get("label!", ())
    before_ns = min((parse_until(value) for value in filters.get("until", ())), default=None)
    removed: list[str] = []
    freed = 0
    for container in services.table.all():
        if container.running or container.boot_id or not has_labels(container, having):
            continue
        if lacking and has_labels(container, lacking):
            continue
        if before_ns is not None and container.created_ns >= before_ns:
            continue
        written, _ = sizes(services, container)
        try:
            lifecycle.remove(container.id)
        except (NotFound, Conflict):
            continue  # another command was faster
        removed.append(container.id)
        freed += written
    events.report(services.store, "container", "prune", "", {"reclaimed": str(freed)})
    return removed, freed
