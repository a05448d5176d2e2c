"""Which images have another one by the same name in their registry by now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from jubako.errors import JubakoError, NotFound
from jubako.images.registries.remote import open_client
from jubako.oci.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from jubako.images import ImageService
    from jubako.oci.reference import Reference
    from jubako.registry.repository import Repository

UP_TO_DATE, NEWER, GONE, UNKNOWN = "up to date", "newer", "gone", "unknown"
_AT_ONCE = 8  # requests


class _Name:
    """A tag here.  digests: by which its repository knew the image, the latest first."""

    def __init__(self, reference: Reference, image_id: str, digests: list[str]):
        self.reference = reference
        self.image_id = image_id
        self.digests = digests
        self.newest = ""
        self.state = UNKNOWN
        self.error = ""

    def ask(self, repository: Repository) -> None:
        """One HEAD request; on a thread of its own."""
        try:
            found = repository.head_manifest(self.reference.tag or "")
        except JubakoError as exc:
            self.error = str(exc)
            return
        if found is None:
            self.state = GONE
            return
        self.newest = found.digest
        self.state = UP_TO_DATE if found.digest in self.digests else NEWER

    def to_json(self) -> dict[str, Any]:
        current = self.newest if self.state == UP_TO_DATE else next(iter(self.digests), "")
        return {
            "Name": self.reference.familiar(),
            "ID": self.image_id,
            "Current": current,
            "Newest": self.newest,
            "State": self.state,
            "Error": self.error,
        }


def outdated(images: ImageService, references: Sequence[str]) -> list[dict[str, Any]]:
    """See `ImageService.outdated`.

    references: a name without tag stands for all its tags that are here.  An image that no registry
    was ever asked for is unknown, and nobody hears its name.
    Raises NotFound, InvalidReference; what a registry refuses is the `Error` of its names.
    """
    names = _names(images, references)
    asked = [name for name in names if name.digests]
    for name in names:
        if not name.digests:
            name.error = "neither pulled nor pushed"
    with ExitStack() as stack:
        repositories = _repositories(images, stack, asked)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for name in asked:
                pool.submit(name.ask, repositories[name.reference.name])
    return [name.to_json() for name in names]


def _names(images: ImageService, references: Sequence[str]) -> list[_Name]:
    rows = images.store.db.execute(
        "SELECT name, image_id FROM tags ORDER BY updated_ns DESC, name"
    ).fetchall()
    tags: dict[Reference, str] = {}
    digests: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        name = parse(row["name"])
        if name.digest is None:
            tags[name] = row["image_id"]
        else:
            digests.setdefault((name.name, row["image_id"]), []).append(name.digest)
    chosen = tags if not references else _choose(tags, references)
    return [
        _Name(name, tags[name], digests.get((name.name, tags[name]), []))
        for name in sorted(chosen, key=str)
    ]


def _choose(tags: Iterable[Reference], references: Sequence[str]) -> set[Reference]:
    chosen: set[Reference] = set()
    for text in references:
        wanted = parse(text)
        found = {
            name for name in tags if name.name == wanted.name and wanted.tag in (None, name.tag)
        }
        if not found or wanted.digest is not None:
            raise NotFound(f"No such image: {wanted.tagged().familiar()}", subject=text)
        chosen |= found
    return chosen


def _repositories(
    images: ImageService, stack: ExitStack, names: Sequence[_Name]
) -> dict[str, Repository]:
    """By name; the names of one registry share its connections and tokens."""
    repositories: dict[str, Repository] = {}
    clients = {
        domain: stack.enter_context(open_client(images.store, domain))
        for domain in {name.reference.domain for name in names}
    }
    for name in names:
        reference = name.reference
        if reference.name not in repositories:
            repositories[reference.name] = clients[reference.domain].repository(reference)
    return repositories
