"""Images: content, layers, names, archives.

Only what starting a container needs is imported here: finding an image and mounting its layers.
Everything else (tar, compression, threads) is loaded by the methods that use it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

from jubako.errors import NotFound
from jubako.images import events, records
from jubako.images.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from jubako.images.content.blobs import LayerBlobs
    from jubako.images.content.store import ContentStore
    from jubako.images.copying.sending import Copied
    from jubako.images.layers.session import Session
    from jubako.images.progress import Progress
    from jubako.images.pulling import Plan, Pulled
    from jubako.images.pushing import Pushed
    from jubako.images.registries.remote import Login
    from jubako.images.stream import Readable, Writable
    from jubako.images.verifying.verification import Finding
    from jubako.oci.image import ImageConfig
    from jubako.store import Store

    Filters = Mapping[str, Sequence[str]]
    Items = list[dict[str, Any]]
    Actions = list[dict[str, str]]
    Names = list[str]
    AllPulled = list[Pulled]  # `list` is a method below
    AllPushed = list[Pushed]
    Findings = list[Finding]

__all__ = ["ImageService", "LayerStore"]


class ImageService:
    """The images of one root.

    Image IDs are `sha256:<hex>` of the image's config.  A reference is what users type: a name with
    or without tag, `name@digest`, a full or short ID.  Every change is one transaction: a process
    killed in the middle leaves only temporary files, which the next change removes.
    """

    def __init__(self, store: Store):
        self.store = store
        self.layers = LayerStore(store)
        self._content: ContentStore | None = None
        self._blobs: LayerBlobs | None = None

    @property
    def content(self) -> ContentStore:
        """The blobs of this root."""
        if self._content is None:
            from jubako.images.content.store import ContentStore

            self._content = ContentStore(self.store)
        return self._content

    @property
    def blobs(self) -> LayerBlobs:
        """What registries call the layers of this root."""
        if self._blobs is None:
            from jubako.images.content.blobs import LayerBlobs

            self._blobs = LayerBlobs(self.store, self.content, self.layers)
        return self._blobs

    # --- what starting a container needs ---------------------------------------------------------

    def resolve(self, reference: str) -> str:
        """The ID of an image.

        Raises NotFound (`No such image: x:latest`), InvalidReference, Conflict (ambiguous ID).
        """
        return records.resolve(self.store, reference)

    def config(self, image_id: str) -> ImageConfig:
        """The image's JSON (image-spec config.md), by its full ID.  Raises NotFound."""
        return records.config_of(records.row(self.store, image_id))

    def diff_ids(self, image_id: str) -> Names:
        """The image's layers, the lowest first, by its full ID.  Raises NotFound."""
        found = records.diff_ids(self.store, image_id)
        if not found:
            records.row(self.store, image_id)  # an image may have no layers
        return found

    def layer_paths(self, image_id: str) -> Names:
        """The directories of the image's layers, the topmost first.  Raises NotFound."""
        return self.layers.shown_paths(self.diff_ids(image_id))

    def use(self, image_id: str) -> None:
        """Note that the image was used now; to be called in the transaction that makes a container.

        Raises NotFound if it was removed meanwhile.
        """
        with self.store.transaction() as db:
            cursor = db.execute(
                "UPDATE images SET last_used_ns = ? WHERE id = ? AND removed = 0",
                (time.time_ns(), image_id),
            )
            if not cursor.rowcount:
                raise NotFound(f"No such image: {image_id}", subject=image_id)

    def used(self, image_id: str) -> None:
        """Note that the image was used until now; in the transaction that removes a container."""
        with self.store.transaction() as db:
            db.execute(
                "UPDATE images SET last_used_ns = ? WHERE id = ?", (time.time_ns(), image_id)
            )

    def release(self, image_id: str) -> None:
        """To be called when a container of the image is gone: what was removed by force while it
        ran is deleted now."""
        query = "SELECT 1 FROM images WHERE id = ? AND removed = 1"
        if self.store.db.execute(query, (image_id,)).fetchone() is not None:
            self.collect()

    # --- looking ---------------------------------------------------------------------------------

    def list(self, filters: Filters | None = None, all: bool = False) -> Items:
        """Image summaries of the Engine API, the newest first.

        filters: dangling, label, reference, before, since, until; each with a list of values.
        all: also untagged images that others were made from.
        Raises InvalidArgument (unknown filter or value), NotFound (before, since).
        """
        from jubako.images.listing import list_images

        return list_images(self, filters or {}, all)

    def inspect(self, reference: str) -> dict[str, Any]:
        """An image as Docker's `image inspect` shows it.  Raises NotFound."""
        from jubako.images.inspect import inspect

        return inspect(self, reference)

    def history(self, reference: str) -> Items:
        """How the image was made, the latest step first: items of the Engine API."""
        from jubako.images.inspect import history

        return history(self, reference)

    # --- names and removal -----------------------------------------------------------------------

    def tag(self, source: str, target: str) -> None:
        """Give an image another name, which another image then loses.

        Raises NotFound, InvalidReference.
        """
        reference = records.parse_target(target)
        with self.store.transaction() as db:
            image_id = self.resolve(source)
            records.set_tag(db, reference, image_id)
            events.emit(self.store, "tag", image_id, reference.familiar())
        self.store.flush()

    def remove(self, reference: str, *, force: bool = False, prune: bool = True) -> Actions:
        """Untag an image, and delete it when that was its last name.

        force: also if stopped containers use it or it has several names.  prune: untagged parents
        go too.  Returns what happened, in order: `{"Untagged": name}`, `{"Deleted": digest}`.
        Raises NotFound, Conflict.
        """
        from jubako.images.removing.removal import remove

        return remove(self, reference, force=force, prune=prune)

    def prune(
        self,
        filters: Filters | None = None,
        all_unused: bool = False,
        *,
        keep: int | None = None,
        dry_run: bool = False,
    ) -> tuple[Actions, int]:
        """Remove dangling images, or all that no container uses; what happened and bytes freed.

        filters: dangling, label, label!, reference, unused-for, until; each with a list of values.
        keep: so many of the newest images of each repository stay.  dry_run: nothing is changed.
        `images.removing.pruning` has the rules.  Raises InvalidArgument.
        """
        from jubako.images.removing.pruning import prune

        return prune(self, filters or {}, all_unused=all_unused, keep=keep, dry_run=dry_run)

    # --- making ----------------------------------------------------------------------------------

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A context in which layers are made and none is deleted; see `layers.Session`.

        Before it, what killed processes left is deleted; after it, what others removed meanwhile.
        """
        self.recover()
        with self.layers.session() as session:
            yield session
        self.recover()

    def import_tar(
        self,
        stream: Readable,
        reference: str | None = None,
        *,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
    ) -> str:
        """Make an image of one layer from a root file system's tar; returns its ID.

        stream: a tar, plain or compressed (gzip, zstd, xz, bzip2), seekable or not.
        changes: Dockerfile instructions, see `images.changes`.  platform: `os/arch`, default this
        machine's.
        Raises InvalidArgument (bad archive, change, platform), InvalidReference, KernelError.
        """
        from jubako.images.making import import_tar

        return import_tar(
            self, stream, reference, changes=changes, message=message, platform=platform
        )

    def commit(
        self,
        parent_image_id: str,
        layer: Readable,
        config: dict[str, Any],
        *,
        author: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        reference: str | None = None,
        container_id: str = "",
    ) -> str:
        """Make an image of another and a layer above it; returns its ID.

        layer: the layer's tar, for example `layers.diff(upper)`.  config: the container's Config.
        changes: Dockerfile instructions on top of it.
        Raises InvalidArgument, InvalidReference, NotFound (parent), KernelError.
        """
        from jubako.images.making import commit

        return commit(
            self,
            parent_image_id,
            layer,
            config,
            author=author,
            message=message,
            changes=changes,
            reference=reference,
        )

    def load(
        self,
        stream: Readable,
        *,
        platform: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Names:
        """Load the images of an archive; what was loaded, as `Loaded image: x` shows it.

        stream: what `docker save` writes, or an OCI layout, as a tar, plain or compressed, seekable
        or not.  Each layer is checked against the config's diff ID, each blob against its name.
        Either all images of the archive are loaded or none.
        platform: `os/arch[/variant]` that all of them have to be for; it also chooses from an index
        instead of this machine's.
        Raises InvalidArgument, IntegrityError, NotFound (platform), KernelError.
        """
        from jubako.images.archives.loading import load

        return load(self, stream, platform=platform, progress=progress)

    def save(
        self,
        references: Iterable[str],
        out: Writable,
        *,
        format: str = "docker",
        since: Sequence[str] = (),
        platform: str | None = None,
    ) -> None:
        """Write images to a tar that `load`, Docker and OCI tools read.  Equal images, equal bytes.

        format: `docker` (both docker-archive and OCI layout, as Docker 25 and later) or `oci`.
        since: images whose layers are left out, because whoever loads the archive has them.
        platform: `os/arch[/variant]` that all of them have to be for.
        Raises NotFound, IntegrityError (a layer is damaged), KernelError.
        """
        from jubako.images.archives.saving import save

        save(self, [*references], out, format=format, since=since, platform=platform)

    def copy_to(
        self,
        address: str,
        references: Sequence[str],
        *,
        shell: str | None = None,
        program: str = "jubako",
        progress: Progress | None = None,
    ) -> Copied:
        """Send images to the engine of another machine, without the layers that are there.

        address: `ssh://[user@]host[:port][/root]`.  shell: instead of `ssh`, with its arguments;
        default $JUBAKO_RSH.  program: the jubako there.
        progress: called for each step of each layer.
        Raises InvalidArgument, NotFound, Unavailable (no connection), IntegrityError, Unsupported
        (another version there), and what `load` raises there.
        """
        from jubako.images.copying.shell import copy_to

        return copy_to(self, address, references, shell, program, progress)

    def copy_from(
        self,
        address: str,
        references: Sequence[str],
        *,
        shell: str | None = None,
        program: str = "jubako",
        progress: Progress | None = None,
    ) -> Names:
        """Fetch images from the engine of another machine, without the layers that are here.

        Returns what was loaded, as `load` does.  Otherwise like `copy_to`.
        """
        from jubako.images.copying.shell import copy_from

        return copy_from(self, address, references, shell, program, progress)

    def bootstrap(
        self,
        target: str,
        *,
        mirror: str | None = None,
        include: Sequence[str] = (),
        variant: str = "minbase",
        tag: str | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> str:
        """Make a base image from a distribution's signed archive; returns its ID.

        target: `debian:bookworm` (a suite, or `debian:stable`).  mirror: an archive's URL, or a
        line for sources.list.  include: further packages.  variant: of mmdebstrap.  tag: the
        image's name, default `target`.
        Raises InvalidArgument, Unavailable (mmdebstrap is missing or fails).
        """
        from jubako.images.bootstrap import bootstrap

        return bootstrap(
            self,
            target,
            mirror=mirror,
            include=include,
            variant=variant,
            tag=tag,
            progress=progress,
        )

    # --- registries ------------------------------------------------------------------------------

    def pull(
        self,
        reference: str,
        *,
        platform: str | None = None,
        all_tags: bool = False,
        login: Login | None = None,
        progress: Progress | None = None,
        lazy: bool = False,
    ) -> AllPulled:
        """Fetch an image, or all tags of a repository, from its registry.

        platform: `os/arch[/variant]`, default this machine's; an image that is there for another
        one only is kept, and the error is NotFound.  login: default what `~/.docker/config.json`
        says.  What is here already is not fetched; a pull that was interrupted goes on where it
        stopped.  lazy: return when containers can start, and fetch what they read and the rest in
        the background, where that is possible (docs/lazy.md).
        Raises InvalidReference, InvalidArgument, NotFound, Unauthorized, PermissionDenied,
        Unavailable, IntegrityError, Unsupported, KernelError.
        """
        from jubako.images.pulling import pull

        return pull(
            self,
            reference,
            platform=platform,
            all_tags=all_tags,
            login=login,
            progress=progress,
            lazy=lazy,
        )

    def plan_pull(
        self, reference: str, *, platform: str | None = None, login: Login | None = None
    ) -> Plan:
        """What `pull` would fetch; nothing of the image is fetched but its manifest and config.

        Raises as `pull`, but not for an image of another platform: `pull` would fetch that, too.
        """
        from jubako.images.pulling import plan

        return plan(self, reference, platform=platform, login=login)

    def outdated(self, references: Sequence[str] = ()) -> Items:
        """For each name (default: all) whether its registry has another image by now.

        By one HEAD request each, which does not count against the limits of Docker Hub.  Items:
        docs/registries.md.
        """
        from jubako.images.registries.outdated import outdated

        return outdated(self, references)

    def push(
        self,
        reference: str,
        *,
        all_tags: bool = False,
        platform: str | None = None,
        login: Login | None = None,
        progress: Progress | None = None,
    ) -> AllPushed:
        """Send an image, or all tags of a repository, to its registry.

        What was pulled is sent as it came; layers that the registry has are not sent.
        Raises as `pull`, Conflict.
        """
        from jubako.images.pushing import push

        return push(
            self,
            reference,
            all_tags=all_tags,
            platform=platform,
            login=login,
            progress=progress,
        )

    def verify(self, references: Sequence[str] = (), *, repair: bool = False) -> Findings:
        """Check every digest and every layer on disk, of some images or of all; what is wrong.

        repair: make damaged layers again from the kept blobs.
        Raises NotFound, KernelError.
        """
        from jubako.images.verifying.verification import verify

        return verify(self, references, repair=repair)

    # --- repair ----------------------------------------------------------------------------------

    def recover(self) -> None:
        """Delete what killed processes left half-made.  Cheap when there is nothing; idempotent."""
        if any((self.layers.recover(), self.content.recover())):
            self.collect()

    def collect(self, *, thorough: bool = False) -> None:
        """Delete layers and blobs that no image names; left for later while others make images.

        The methods of this class call it themselves.  thorough: also what is only kept for speed:
        downloads that were interrupted, blobs that the setting `blobs` does not want any more.
        """
        from jubako.images.removing.garbage import collect

        collect(self, thorough=thorough)
