"""Untagging and deleting, by Docker's rules.

name given    it is removed; the image goes with its last name
ID given      the image goes with all its names if they are all of one repository
conflicts     hard: child images, a running container; soft (--force): a stopped container,
              names in several repositories
"""

from __future__ import annotations

from jubako.errors import Conflict, NotFound
from jubako.images import events, records
from jubako.images.lazy.places import is_arriving
from jubako.oci.digest import Digest, chain_ids
from jubako.oci.reference import parse
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from jubako.images import ImageService
    from jubako.oci.reference import Reference

    Actions = list[dict[str, str]]

_SHORT = 12  # digits of an ID in messages


def remove(images: ImageService, reference: str, *, force: bool, prune: bool) -> Actions:
    """See `ImageService.remove`."""
    images.store.use_reserve()
    images.recover()
    with images.store.transaction() as db:
        actions = Removal(images, db).remove(reference, force=force, prune=prune)
        point("images.remove.recorded")
    images.collect()
    images.store.flush()
    return actions


class Removal:
    """The changes of one open transaction."""

    def __init__(self, images: ImageService, db: sqlite3.Connection):
        self._images = images
        self._db = db
        self.actions: Actions = []

    def remove(self, reference: str, *, force: bool, prune: bool) -> Actions:
        """Untag, or delete; what happened.  Raises Conflict, NotFound: then roll back."""
        image_id, by_name = records.find(self._images.store, reference)
        names = records.references(self._db, image_id)
        if by_name:
            wanted = parse(reference)
            if not force and _is_single(names):
                self._refuse_if_used(image_id, reference)
            self._untag(wanted)
            names = records.references(self._db, image_id)
            if wanted.digest is None and not any(
                name.digest is None and name.name == wanted.name for name in names
            ):
                for name in names:
                    if name.name == wanted.name:  # digests of a repository go with its last tag
                        self._untag(name)
                names = records.references(self._db, image_id)
            if names:
                return self.actions
        elif _is_single(names):
            self._check(image_id, force=force, with_names=False)
            for name in names:
                self._untag(name)
        self._delete(image_id, force=force, prune=prune, quiet=by_name)
        return self.actions

    def _refuse_if_used(self, image_id: str, name: str) -> None:
        row = self._db.execute(f"{records.USERS} LIMIT 1", (image_id,)).fetchone()
        if row is not None:
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {row['id'][:_SHORT]} is using its referenced image "
                f"{_short(image_id)}",
                subject=name,
            )

    def _untag(self, name: Reference) -> None:
        key = records.tag_name(name)
        query = "SELECT image_id FROM tags WHERE name = ?"
        row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            raise NotFound(f"No such image: {name.tagged().familiar()}", subject=key)
        self._db.execute("DELETE FROM tags WHERE name = ?", (key,))
        events.emit(self._images.store, "untag", row["image_id"])
        self.actions.append({"Untagged": parse(key).familiar()})

    def _check(self, image_id: str, *, force: bool, with_names: bool = True) -> bool:
        """Raise Conflict if something stands in the way; whether containers use the image."""
        used = self._db.execute(records.USERS, (image_id,)).fetchall()
        if is_arriving(self._images.store, records.diff_ids(self._images.store, image_id)):
            raise _conflict(image_id, "image is still arriving", hard=True)
        running = [row for row in used if row["status"] in ("running", "paused")]
        if records.children(self._db, image_id):
            raise _conflict(image_id, "image has dependent child images", hard=True)
        if running:
            container = running[0]["id"][:_SHORT]
            message = f"image is being used by running container {container}"
            raise _conflict(image_id, message, hard=True)
        if not force:
            if with_names and records.references(self._db, image_id):
                raise _conflict(image_id, "image is referenced in multiple repositories")
            if used:
                container = used[0]["id"][:_SHORT]
                message = f"image is being used by stopped container {container}"
                raise _conflict(image_id, message)
        return bool(used)

    def _delete(self, image_id: str, *, force: bool, prune: bool, quiet: bool) -> None:
        try:
            used = self._check(image_id, force=force)
        except Conflict:
            in_use = self._db.execute(records.USERS, (image_id,)).fetchone()
            dangling = not records.references(self._db, image_id) and not records.children(
                self._db, image_id
            )
            if quiet and (not dangling or in_use):
                return  # the name is gone, as asked; the image has another use
            raise
        parent = records.row(self._images.store, image_id)["parent"]
        for name in records.references(self._db, image_id):
            self._untag(name)
        before = self._chains(image_id)
        if used:
            self._db.execute("UPDATE images SET removed = 1 WHERE id = ?", (image_id,))
        else:
            self._db.execute("DELETE FROM images WHERE id = ?", (image_id,))
        events.emit_deleted(self._images.store, image_id)
        self.actions.append({"Deleted": image_id})
        if not used:
            self.actions += [{"Deleted": name} for name in reversed(self._gone(before))]
        if prune and parent and self._exists(parent):
            if not records.references(self._db, parent):
                self._delete(parent, force=False, prune=True, quiet=True)

    def _exists(self, image_id: str) -> bool:
        query = "SELECT 1 FROM images WHERE id = ? AND removed = 0"
        return self._db.execute(query, (image_id,)).fetchone() is not None

    def _chains(self, image_id: str) -> list[Digest]:
        query = "SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position"
        return chain_ids([row[0] for row in self._db.execute(query, (image_id,))])

    def _gone(self, chains: list[Digest]) -> list[Digest]:
        """Those of the chain IDs that no image has any more, the lowest first."""
        others: set[Digest] = set()
        for row in self._db.execute("SELECT id FROM images").fetchall():
            others.update(self._chains(row[0]))
        return [chain for chain in chains if chain not in others]


def _short(image_id: str) -> str:
    return image_id.partition(":")[2][:_SHORT]


def _conflict(image_id: str, message: str, *, hard: bool = False) -> Conflict:
    how = "cannot be forced" if hard else "must be forced"
    return Conflict(
        f"conflict: unable to delete {_short(image_id)} ({how}) - {message}", subject=image_id
    )


def _is_single(names: Sequence[Reference]) -> bool:
    """Whether the names are at most one tag, or one tag and digests of the same repository."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if name.digest is None]
    repositories = {name.name for name in names if name.digest is not None}
    if len(tags) > 1:
        return False
    single = tags[0] if tags else names[0]
    return repositories == {single.name}
