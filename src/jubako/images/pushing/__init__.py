"""`push`: images to registries.

    __init__    which images, and what is written down afterwards
    manifests   the manifest that an image is sent with: the one it came with, or a new one
    blobs       its blobs: there already, mounted from another repository, or sent
    sources     where the bytes of a blob come from: the content store, or a tar and a recipe

What was pulled is sent as it came, so that its digest stays what it was, as long as its blobs are
kept, can be made again or are in the registry.  Otherwise the manifest is a new one, of Docker's
schema 2 as Docker's own image store writes it: every registry and every reader takes it, also those
that came before OCI.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument, InvalidReference, NotFound
from jubako.images import events, records
from jubako.images.layers.temporary import LOCK
from jubako.images.lazy.places import refuse_arriving
from jubako.images.platform_check import require_image_platform
from jubako.images.pushing.blobs import Sender
from jubako.images.pushing.manifests import Prepared, came_with, new_manifest
from jubako.images.registries.remote import open_client
from jubako.images.reporting import Reporter
from jubako.oci.digest import Digest
from jubako.oci.reference import parse
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.images import ImageService
    from jubako.images.progress import Progress
    from jubako.images.registries.remote import Login
    from jubako.oci.reference import Reference


class Pushed:
    """What the registry has now.

    reference: the name with its tag.  digest, size: of the manifest, size in bytes.
    """

    __slots__ = __match_args__ = ("reference", "digest", "size")

    def __init__(self, reference: Reference, digest: Digest, size: int):
        self.reference = reference
        self.digest = digest
        self.size = size


def push(
    images: ImageService,
    reference: str,
    *,
    all_tags: bool,
    platform: str | None,
    login: Login | None,
    progress: Progress | None,
) -> list[Pushed]:
    """See `ImageService.push`."""
    repository = parse(reference)
    if repository.digest is not None:
        raise InvalidReference("cannot push a digest reference", subject=reference)
    reporter = Reporter(progress)
    reporter.say(f"The push refers to repository [{repository.name}]")
    wanted = _names(images, repository, all_tags)
    for name, image_id in wanted:
        layers = records.diff_ids(images.store, image_id)
        refuse_arriving(images.store, layers, f"push {name.familiar()}")
        if platform is not None:
            require_image_platform(images, image_id, platform, name.familiar())
    done = []
    # The shared lock keeps layers and blobs from being deleted while they are read.
    with (
        images.store.lock(LOCK, shared=True),
        open_client(images.store, repository.domain, login, reporter.retry) as client,
        Sender(images, client, repository, reporter) as sender,
    ):
        for name, image_id in wanted:
            prepared = _send(images, sender, image_id)
            assert name.tag is not None
            sender.put_manifest(name.tag, prepared)
            point("images.push.sent")
            _record(images, sender, name, image_id, prepared)
            done.append(Pushed(name, prepared.digest, len(prepared.data)))
            reporter.say(f"{name.tag}: digest: {prepared.digest} size: {len(prepared.data)}")
    return done


def _names(
    images: ImageService, reference: Reference, all_tags: bool
) -> list[tuple[Reference, str]]:
    """The names to be pushed, each with its image's ID; Docker's words for what is not there."""
    text = reference.familiar()
    rows = images.store.db.execute(
        "SELECT name, image_id FROM tags WHERE name >= ? AND name < ? ORDER BY name",
        (f"{reference.name}:", f"{reference.name};"),
    ).fetchall()
    found = [(parse(row["name"]), str(row["image_id"])) for row in rows]
    if not found:
        raise NotFound(
            f"An image does not exist locally with the tag: {reference.familiar_name()}",
            subject=text,
        )
    if all_tags:
        if reference.tag is not None:
            raise InvalidArgument("tag can't be used with --all-tags/-a", subject=text)
        return found
    name = reference.tagged()
    chosen = [item for item in found if item[0] == name]
    if not chosen:
        raise NotFound(f"tag does not exist: {name.familiar()}", subject=text)
    return chosen


def _send(images: ImageService, sender: Sender, image_id: str) -> Prepared:
    """Send everything that the image's manifest names; returns the manifest."""
    for candidate in came_with(images, image_id):
        if sender.send_as_it_came(candidate):
            return candidate
    layers = sender.send_layers(records.diff_ids(images.store, image_id))
    prepared = new_manifest(images, image_id, layers)
    sender.send_config(prepared)
    return prepared


def _record(
    images: ImageService, sender: Sender, name: Reference, image_id: str, prepared: Prepared
) -> None:
    """Write down by which digests the registry knows image and layers now."""
    images.content.write(prepared.data)
    with images.store.transaction() as db:
        there = "SELECT 1 FROM images WHERE id = ?"
        if db.execute(there, (image_id,)).fetchone() is None:
            return  # removed meanwhile; the registry has it all the same
        records.note_manifest(db, prepared.digest, image_id, prepared.manifest.media_type)
        for blob in sender.blobs_of(prepared):
            images.blobs.record(db, blob, name.name)
        records.set_tag(db, name.with_digest(prepared.digest), image_id)
        events.emit_transfer(images.store, "push", image_id, name)
        point("images.push.recorded")
    images.store.flush()
