"""`pull`: images from registries, each layer in one pass, all layers of an image at once.

    resolving    reference -> manifest and config, checked
    layers       which layers are missing; all of them at once, shared with other processes
      layer      one layer's pipeline
      memory     what the pipelines share
      partial    what of a blob has come so far
    recording    rows, names, blobs: an image that is there
    planning     what a pull would do

Whenever it is killed: before a layer's rows are written its bytes are in `content/.partial` (see
`images.content.partial`), after that the layer is there; the image has all or none of its rows and
names.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from jubako.errors import InvalidArgument, JubakoError, KernelError, Unsupported
from jubako.images import reporting
from jubako.images.platform_check import require_image_platform
from jubako.images.pulling.layers import LayerFetcher
from jubako.images.pulling.planning import Plan, PlannedLayer, make_plan
from jubako.images.pulling.recording import is_complete, record
from jubako.images.pulling.resolving import Resolver
from jubako.images.registries.remote import open_client
from jubako.images.reporting import Reporter
from jubako.oci.reference import parse
from jubako.store import point, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jubako.images import ImageService
    from jubako.images.layers.session import Session
    from jubako.images.progress import Progress
    from jubako.images.pulling.resolving import Target
    from jubako.images.registries.remote import Login
    from jubako.oci.digest import Digest
    from jubako.oci.reference import Reference
    from jubako.registry.headers import Quota
    from jubako.registry.repository import Repository

    Start = Callable[[Target, LayerFetcher], bool | None]

__all__ = ["Plan", "PlannedLayer", "Pulled", "plan", "pull"]

NEWER = "Downloaded newer image"
UP_TO_DATE = "Image is up to date"


class Pulled:
    """What was pulled under a name.

    reference: with tag or digest.  digest: what the registry has under that name, a manifest or an
    index.  status: NEWER or UP_TO_DATE.  quota: the pulls that are left, if the registry says.
    """

    __slots__ = __match_args__ = ("reference", "digest", "image_id", "status", "quota")

    def __init__(
        self,
        reference: Reference,
        digest: Digest,
        image_id: Digest,
        status: str,
        quota: Quota | None = None,
    ):
        self.reference = reference
        self.digest = digest
        self.image_id = image_id
        self.status = status
        self.quota = quota


def pull(
    images: ImageService,
    text: str,
    *,
    platform: str | None,
    all_tags: bool,
    login: Login | None,
    progress: Progress | None,
    lazy: bool = False,
) -> list[Pulled]:
    """See `ImageService.pull`."""
    reference = parse(text)
    if all_tags and lazy:
        raise InvalidArgument("--lazy can't be used with --all-tags/-a", subject=text)
    if all_tags and (reference.tag is not None or reference.digest is not None):
        raise InvalidArgument("tag can't be used with --all-tags/-a", subject=text)
    reporter = Reporter(progress)
    try:
        pulled = _pull_names(images, reference, platform, all_tags, login, reporter, lazy)
    except KernelError:
        # Most likely the disk is full: what is unfinished would stand in everybody's way.
        with suppress(JubakoError):
            images.collect()
        raise
    images.recover()  # what was removed meanwhile
    new = any(one.status == NEWER for one in pulled)
    shown = reference if all_tags else reference.tagged()
    reporter.say(f"Status: {NEWER if new else UP_TO_DATE} for {shown.familiar()}")
    if platform is not None:
        # As late as Docker does it: the image is here then, whatever it is for.
        for one in pulled:
            require_image_platform(images, one.image_id, platform, str(one.reference))
    return pulled


def _pull_names(
    images: ImageService,
    reference: Reference,
    platform: str | None,
    all_tags: bool,
    login: Login | None,
    reporter: Reporter,
    lazy: bool,
) -> list[Pulled]:
    # With the session open nothing is collected, also not what an earlier pull left unfinished.
    with images.layers.session() as session:
        images.recover()
        with open_client(
            images.store,
            reference.domain,
            login,
            reporter.retry,
            on_warning=reporter.warn,
        ) as client:
            repository = client.repository(reference)
            names = [reference.tagged()]
            if all_tags:
                names = [reference.with_tag(tag) for tag in repository.tags()]
            start = partial(_start, images, reporter, platform, login) if lazy else None
            puller = _Puller(images, session, repository, platform, reporter, start)
            return [puller.pull(name) for name in names]


def plan(images: ImageService, text: str, *, platform: str | None, login: Login | None) -> Plan:
    """See `ImageService.plan_pull`."""
    reference = parse(text).tagged()
    with open_client(images.store, reference.domain, login) as client:
        resolver = Resolver(images, client.repository(reference), platform)
        return make_plan(images, resolver.resolve(reference))


class _Puller:
    """Pulls names of one repository, one after the other."""

    def __init__(
        self,
        images: ImageService,
        session: Session,
        repository: Repository,
        platform: str | None,
        reporter: Reporter,
        start: Start | None,
    ):
        self._start = start
        self._images = images
        self._reporter = reporter
        self._resolver = Resolver(images, repository, platform)
        self._layers = LayerFetcher(
            images,
            session,
            repository.open_blob,
            reporter,
            settings.load(images.store.path).max_concurrent_downloads,
        )

    def pull(self, name: Reference) -> Pulled:
        reporter = self._reporter
        target = self._resolver.resolve(name)
        # As Docker says it: the repository without its registry.
        reporter.say(f"Pulling from {name.path}", name.digest or name.tag or "")
        point("images.pull.resolved")
        new = self._take(target)
        reporter.say(f"Digest: {target.digest}")
        status = NEWER if new else UP_TO_DATE
        return Pulled(name, target.digest, target.image_id, status, target.quota)

    def _take(self, target: Target) -> bool:
        """Fetch an image, or begin with it, and write it down; whether its name is new."""
        if not is_complete(self._images, target):
            if self._start is not None:
                new = self._start(target, self._layers)
                if new is not None:
                    return new
            self._layers.fetch(target.layers())
        point("images.pull.fetched")
        return record(self._images, target)


def _start(
    images: ImageService,
    reporter: Reporter,
    platform: str | None,
    login: Login | None,
    target: Target,
    fetcher: LayerFetcher,
) -> bool | None:
    """Let an image arrive lazily; whether its name is new, or None if it has to be fetched."""
    from jubako.images.lazy import starting

    try:
        with images.store.lock(starting.LOCK):
            layers = starting.choose(images, target)
            fetcher.fetch(layers.to_fetch)
            new = starting.start(images, target, layers, platform=platform, login=login)
    except Unsupported as exc:
        reporter.warn(f"{target.reference.familiar()} cannot start before it is here: {exc}")
        return None
    for layer in layers.lazy:
        reporter.say(reporting.ARRIVING, layer.name)
    return new
