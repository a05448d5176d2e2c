"""The blobs of an image on their way to one repository, several at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from jubako.errors import IntegrityError, NotFound
from jubako.images.content.blobs import Blob
from jubako.images.pushing.sources import Kept, Known, Made
from jubako.images.reporting import short
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.store import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from jubako.images import ImageService
    from jubako.images.pushing.manifests import Prepared
    from jubako.images.pushing.sources import Source
    from jubako.images.reporting import Reporter
    from jubako.oci.reference import Reference
    from jubako.registry import Client

_MAX_ASKED = 4  # blobs of one layer that the registry is asked for
_MAX_MOUNTS = 4  # other repositories that are tried
_WAIT_S = 0.2


class _Lost(Exception):
    """A blob that cannot be had any more."""


class _Stopped(Exception):
    """Another layer failed."""


class _Layer:
    """One layer, and every way to get it into the registry.  Made where the database is.

    blobs: by which a registry may know it.  mounts: repositories that had one of them, as
    (digest, path).  sources: to send, the best first.
    """

    __slots__ = ("blobs", "diff_id", "mounts", "sources")

    def __init__(
        self,
        diff_id: Digest,
        blobs: Sequence[Blob],
        mounts: Sequence[tuple[Blob, str]],
        sources: Sequence[Source],
    ):
        self.diff_id = diff_id
        self.blobs = blobs
        self.mounts = mounts
        self.sources = sources


class Sender:
    """Sends to one repository; a context manager that ends its threads.

    What was sent once is not asked for again, so one serves for all tags of a repository.
    """

    def __init__(
        self, images: ImageService, client: Client, reference: Reference, reporter: Reporter
    ):
        self._images = images
        self._client = client
        self._repository = client.repository(reference)
        self._reporter = reporter
        self._stopping = False
        self._there: dict[Digest, Blob] = {}
        self._pool = ThreadPoolExecutor(
            settings.load(images.store.path).max_concurrent_uploads, "push"
        )

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- for whoever knows which image -----------------------------------------------------------

    def send_as_it_came(self, prepared: Prepared) -> bool:
        """Send the blobs that a manifest names; False if one of them cannot be had any more."""
        layers = self._as_they_came(prepared)
        gone = [layer for layer in layers if not layer.sources]
        self._announce(layers)
        try:
            self._all(gone)  # before anything is sent in vain
            self._all(layers)
        except _Lost:
            return False
        self.send_config(prepared)
        return True

    def send_layers(self, diff_ids: Sequence[str]) -> list[Blob]:
        """Send layers in whatever form is the least work; the blobs that they are, in order."""
        layers = [self._any_form(Digest(diff_id)) for diff_id in dict.fromkeys(diff_ids)]
        self._announce(layers)
        found = {blob.diff_id: blob for blob in self._all(layers)}
        return [found[Digest(diff_id)] for diff_id in diff_ids]

    def send_config(self, prepared: Prepared) -> None:
        """Send the image's configuration, of which Docker shows nothing."""
        config = prepared.manifest.config
        if self._repository.has_blob(config.digest) is None:
            self._upload(Known(prepared.config, config.digest, config.media_type), lambda _: None)

    def put_manifest(self, tag: str, prepared: Prepared) -> None:
        """Give the image its name; all that its manifest names must be there."""
        self._repository.put_manifest(tag, prepared.data, prepared.manifest.media_type)

    def blobs_of(self, prepared: Prepared) -> list[Blob]:
        """What is known now of the layers' blobs."""
        layers = prepared.manifest.layers
        return [self._there[layer.digest] for layer in layers if layer.digest in self._there]

    # --- ways, found in the thread that has the database -----------------------------------------

    def _as_they_came(self, prepared: Prepared) -> list[_Layer]:
        blobs = self._images.blobs
        layers: dict[Digest, _Layer] = {}
        for diff_id, descriptor in zip(prepared.diff_ids, prepared.manifest.layers, strict=True):
            if media.is_foreign(descriptor.media_type) and descriptor.urls:
                self._say(diff_id, "Skipped foreign layer")
                continue
            known = blobs.find(descriptor.digest)
            recipe = known.recipe if known is not None else ""
            blob = Blob(descriptor.digest, diff_id, descriptor.media_type, descriptor.size, recipe)
            sources: list[Source] = []
            if self._images.content.exists(blob.digest):
                sources.append(Kept(self._images.content, blob))
            if recipe:
                sources.append(self._made(diff_id, blob))
            layers.setdefault(blob.digest, _Layer(diff_id, [blob], self._mounts([blob]), sources))
        return list(layers.values())

    def _any_form(self, diff_id: Digest) -> _Layer:
        known = self._images.blobs.of_layer(diff_id)
        kept = [blob for blob in known if self._images.content.exists(blob.digest)]
        sources: list[Source] = [Kept(self._images.content, blob) for blob in kept]
        sources.append(self._made(diff_id))
        return _Layer(diff_id, known[:_MAX_ASKED], self._mounts(known), sources)

    def _made(self, diff_id: Digest, again: Blob | None = None) -> Made:
        query = "SELECT tar_bytes FROM layers WHERE diff_id = ?"
        row = self._images.store.db.execute(query, (diff_id,)).fetchone()
        if row is None:
            raise NotFound(f"no such layer: {diff_id}", subject=diff_id)
        return Made(diff_id, lambda: self._images.layers.archive(diff_id), row[0], again)

    def _mounts(self, blobs: Sequence[Blob]) -> list[tuple[Blob, str]]:
        domain, _, _ = self._repository.name.partition("/")
        return [
            (blob, name.removeprefix(f"{domain}/"))
            for blob in blobs
            for name in self._images.blobs.repositories(blob.digest, domain)
            if name != self._repository.name
        ][:_MAX_MOUNTS]

    # --- at work, on threads ---------------------------------------------------------------------

    def _announce(self, layers: Sequence[_Layer]) -> None:
        for layer in reversed(layers):  # the topmost first, as Docker does
            self._say(layer.diff_id, "Preparing")

    def _all(self, layers: Sequence[_Layer]) -> list[Blob]:
        """Get all layers there, several at a time."""
        futures = [self._pool.submit(self._one, layer) for layer in layers]
        try:
            found = [future.result() for future in _in_order_of_end(futures)]
        except BaseException as exc:
            self._stopping = True
            if not isinstance(exc, _Lost):
                self._client.close()  # nobody waits for an answer any more
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()  # waits: they report no more afterwards
            self._stopping = False
            raise
        for blob in found:
            self._there[blob.digest] = blob
        return found

    def _one(self, layer: _Layer) -> Blob:
        for blob in layer.blobs:
            if blob.digest in self._there or self._repository.has_blob(blob.digest) is not None:
                self._say(layer.diff_id, "Layer already exists")
                return blob
        for blob, path in layer.mounts:
            if self._repository.mount_blob(blob.digest, path):
                self._say(layer.diff_id, f"Mounted from {path}")
                return blob
        return self._send(layer)

    def _send(self, layer: _Layer) -> Blob:
        for source in layer.sources:
            name = short(layer.diff_id)
            counted = self._reporter.counter("Pushing", name, source.total_bytes)
            try:
                blob = self._upload(source, counted)
            except IntegrityError:
                # a kept blob is damaged, or another version of the library compresses otherwise
                if source.digest is None:
                    raise
                continue
            self._say(layer.diff_id, "Pushed")
            return blob
        raise _Lost(layer.diff_id)

    def _upload(self, source: Source, counted: Callable[[int], None]) -> Blob:
        def chunks() -> Iterator[bytes]:
            for chunk in source.open(counted):
                if self._stopping:
                    raise _Stopped
                yield chunk

        digest = source.digest or (lambda: source.blob().digest)
        self._repository.upload(digest, source.size_bytes, chunks)
        return source.blob()

    def _say(self, diff_id: Digest, status: str) -> None:
        self._reporter.say(status, short(diff_id))


def _in_order_of_end(futures: Sequence[Future[Blob]]) -> Sequence[Future[Blob]]:
    """The same futures, after the first that failed if one did: nobody waits for the others."""
    from concurrent.futures import FIRST_EXCEPTION, wait

    while True:
        # Not for long at a time: a signal that arrives just before a wait does not end it.
        done, waiting = wait(futures, timeout=_WAIT_S, return_when=FIRST_EXCEPTION)
        failed = [future for future in done if future.exception() is not None]
        if failed or not waiting:
            return failed or futures
