"""Image summaries and the filters that choose them."""

from __future__ import annotations

import re

from jubako.errors import InvalidArgument
from jubako.golang import filters as filtering
from jubako.images import records
from jubako.images.times import parse_ns, parse_until
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from jubako.images import ImageService
    from jubako.oci.reference import Reference

    Filters = Mapping[str, Sequence[str]]

_FILTERS = frozenset(("dangling", "label", "label!", "before", "since", "reference", "until"))


def list_images(images: ImageService, filters: Filters, all_images: bool) -> list[dict[str, Any]]:
    """See `ImageService.list`."""
    filtering.check_names(filters, _FILTERS)
    dangling = filtering.boolean(filters, "dangling")
    after, before = _bounds(images, filters)
    patterns = [glob(pattern) for pattern in filters.get("reference", ())]
    db = images.store.db
    names = _names(db)
    parents = {row[0] for row in db.execute("SELECT parent FROM images WHERE removed = 0")}
    summaries = []
    for row in db.execute("SELECT * FROM images WHERE removed = 0").fetchall():
        created_ns = parse_ns(row["created"])
        if not after < created_ns < before:
            continue
        config = records.config_of(row).get("config") or {}
        labels = config.get("Labels") or {}
        if not has_labels(labels, filters):
            continue
        references = names.get(row["id"], [])
        if patterns:
            references = [name for name in references if matches(name, patterns)]
        tags = [name.familiar() for name in references if name.digest is None]
        digests = [name.familiar() for name in references if name.digest is not None]
        if not references:
            # Untagged: an image of its own right unless others were made from it.
            if patterns or dangling is False or (row["id"] in parents and not all_images):
                continue
            if row["id"] in names:
                continue
        elif dangling and tags:
            continue
        summaries.append(
            {
                "Containers": -1,
                "Created": created_ns // 1_000_000_000,
                "Id": row["id"],
                "Labels": labels or None,
                "ParentId": row["parent"] or "",
                "RepoDigests": digests,
                "RepoTags": tags,
                "SharedSize": -1,
                "Size": row["size_bytes"],
            }
        )
    summaries.sort(key=lambda summary: (-summary["Created"], summary["Id"]))
    return summaries


def _names(db: sqlite3.Connection) -> dict[str, list[Reference]]:
    names: dict[str, list[Reference]] = {}
    for row in db.execute("SELECT name, image_id FROM tags ORDER BY name"):
        names.setdefault(row["image_id"], []).append(parse(row["name"]))
    return names


def _bounds(images: ImageService, filters: Filters) -> tuple[int, int]:
    """Creation times, in nanoseconds, between which (exclusively) images are wanted."""
    after, before = -(1 << 70), 1 << 70  # beyond any time, even Go's zero
    for reference in filters.get("before", ()):
        before = min(before, _created(images, reference))
    for reference in filters.get("since", ()):
        after = max(after, _created(images, reference))
    for moment in filters.get("until", ()):
        before = min(before, parse_until(moment) + 1)
    return after, before


def _created(images: ImageService, reference: str) -> int:
    image_id = images.resolve(reference)
    return parse_ns(records.row(images.store, image_id)["created"])


def has_labels(labels: Mapping[str, str], filters: Filters) -> bool:
    """Whether an object satisfies all `label` and none of the `label!` filters."""
    return filtering.has_labels(labels, filters.get("label", ())) and not any(
        filtering.has_labels(labels, (text,)) for text in filters.get("label!", ())
    )


def matches(name: Reference, patterns: Iterable[re.Pattern[str]]) -> bool:
    """Whether one of `glob`'s patterns is that of a name, with its tag or without."""
    texts = (name.familiar(), name.familiar_name())
    return any(pattern.match(text) for pattern in patterns for text in texts)


def glob(pattern: str) -> re.Pattern[str]:
    """Go's path.Match as a regular expression: `*` and `?` stop at slashes.

    Raises InvalidArgument for a malformed pattern.
    """
    out = ""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            if not out.endswith("[^/]*"):  # a run of stars is one: no exponential matching
                out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "\\":
            if at == len(pattern):
                raise InvalidArgument(f"syntax error in pattern {pattern[:80]!r}")
            out += re.escape(pattern[at])
            at += 1
        elif character == "[":
            found, at = _class(pattern, at)
            out += found
        else:
            out += re.escape(character)
    return re.compile(out + r"\Z", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges = ""

    def character() -> str:
        nonlocal at
        if pattern[at : at + 1] in ("", "-", "]"):
            raise InvalidArgument(f"syntax error in pattern {pattern[:80]!r}")
        at += pattern[at] == "\\"
        found = pattern[at : at + 1]
        at += 1
        if not found:
            raise InvalidArgument(f"syntax error in pattern {pattern[:80]!r}")
        return found

    while True:
        if pattern[at : at + 1] == "]" and ranges:
            return f"[{'^' if negated else ''}{ranges}]", at + 1
        low = character()
        high = low
        if pattern[at : at + 1] == "-":
            at += 1
            high = character()
        if low <= high:
            ranges += f"{re.escape(low)}-{re.escape(high)}"
