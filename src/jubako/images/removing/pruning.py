"""`image prune`: which images go, and what comes free.

filter         an image goes only if
dangling       true: it has no name; false: also if it has
label, label!  it has, or has not, the label
until          it was made before that time, or so long ago
unused-for     it came, and was last used, so long ago or before that time
reference      a name matches one of the patterns; only those names go, the image with its last one

keep: of each repository the newest images stay: so many of those whose names match `reference`.
All conditions must be met.  `reference` and `keep` speak of names, so with them images that have
some go too, as with `all_unused`.  What containers use, and what other images were made from,
stays always.
"""

from __future__ import annotations

from jubako.errors import Conflict, InvalidArgument, NotFound
from jubako.golang.filters import boolean, check_names
from jubako.images import disk, events, records
from jubako.images.listing import glob, has_labels, matches
from jubako.images.removing.removal import Removal
from jubako.images.times import parse_ns, parse_until
from jubako.oci.reference import parse
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from jubako.images import ImageService
    from jubako.oci.reference import Reference

    Actions = list[dict[str, str]]

FILTERS = frozenset(("dangling", "label", "label!", "reference", "unused-for", "until"))
_NEVER = 1 << 63


class _Rollback(Exception):
    """The end of a transaction that was only to show what it would do."""


def prune(
    images: ImageService,
    filters: Mapping[str, Sequence[str]],
    *,
    all_unused: bool,
    keep: int | None,
    dry_run: bool,
) -> tuple[Actions, int]:
    """See `ImageService.prune`."""
    wanted = _Wanted(filters, all_unused, keep)
    if not dry_run:
        images.store.use_reserve()
        images.recover()
    try:
        with images.store.transaction() as db:
            actions = _remove(images, db, wanted)
            freed = disk.garbage_bytes(images)
            point("images.prune.recorded")
            if dry_run:
                raise _Rollback
    except _Rollback:
        return actions, freed
    images.collect(thorough=True)
    images.store.flush()
    events.pruned(images.store, freed)
    return actions, freed


class _Wanted:
    """The conditions.  Raises InvalidArgument."""

    def __init__(
        self, filters: Mapping[str, Sequence[str]], all_unused: bool, keep: int | None
    ) -> None:
        check_names(filters, FILTERS)
        if keep is not None and keep < 0:
            raise InvalidArgument(f"the number of images to keep is negative: {keep}")
        self.filters = filters
        self.keep = keep
        self.patterns: list[re.Pattern[str]] = [glob(text) for text in filters.get("reference", ())]
        dangling = boolean(filters, "dangling")
        by_name = all_unused or keep is not None or bool(self.patterns)
        self.only_dangling = not by_name if dangling is None else dangling
        self.made_before = _earliest(filters, "until")
        self.used_before = _earliest(filters, "unused-for")

    def has_name(self, name: Reference) -> bool:
        """Whether the image may be known by this name."""
        return not self.patterns or matches(name, self.patterns)

    def includes(self, row: sqlite3.Row) -> bool:
        """Whether an image meets all conditions that have nothing to do with its names."""
        if row["last_used_ns"] > self.used_before or parse_ns(row["created"]) > self.made_before:
            return False
        labels = (records.config_of(row).get("config") or {}).get("Labels") or {}
        return has_labels(labels, self.filters)


def _earliest(filters: Mapping[str, Sequence[str]], name: str) -> int:
    return min((parse_until(moment) for moment in filters.get(name, ())), default=_NEVER)


def _remove(images: ImageService, db: sqlite3.Connection, wanted: _Wanted) -> Actions:
    """Remove in the open transaction; what happened."""
    kept = _newest(db, wanted)
    actions: Actions = []
    for row in db.execute("SELECT * FROM images WHERE removed = 0").fetchall():
        for name in _names(db, row, wanted, kept):
            db.execute("SAVEPOINT one_image")
            try:
                actions += Removal(images, db).remove(name, force=False, prune=True)
            except (Conflict, NotFound):
                db.execute("ROLLBACK TO one_image")  # in use, or it went with another
            db.execute("RELEASE one_image")
    return actions


def _names(
    db: sqlite3.Connection, row: sqlite3.Row, wanted: _Wanted, kept: set[str]
) -> Iterator[str]:
    """What to remove of an image: names, or the ID of one that has none."""
    names = records.references(db, row["id"])
    if records.children(db, row["id"]) and (wanted.only_dangling or not names):
        return
    if not wanted.includes(row):
        return
    if wanted.only_dangling and any(name.digest is None for name in names):
        return
    if not names and not wanted.patterns:
        yield row["id"]
    for name in names:
        if wanted.has_name(name) and str(name) not in kept:
            yield str(name)


def _newest(db: sqlite3.Connection, wanted: _Wanted) -> set[str]:
    """The names that stay because they are those of the newest images of their repositories."""
    if wanted.keep is None:
        return set()
    repositories: dict[str, list[tuple[int, int, str, str]]] = {}
    query = (
        "SELECT name, image_id, updated_ns, created FROM tags JOIN images ON images.id = image_id"
    )
    for row in db.execute(query):
        name = parse(row["name"])
        if wanted.has_name(name):
            repositories.setdefault(name.name, []).append(
                (parse_ns(row["created"]), row["updated_ns"], row["image_id"], row["name"])
            )
    kept: set[str] = set()
    for known in repositories.values():
        known.sort(reverse=True)
        newest = list(dict.fromkeys(image_id for _, _, image_id, _ in known))[: wanted.keep]
        kept.update(name for _, _, image_id, name in known if image_id in newest)
    return kept
