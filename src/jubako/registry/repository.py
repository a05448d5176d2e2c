"""One repository of a registry: manifests, tags, referrers, and the way to its blobs.

What is read may come from a mirror: they are asked in order, and whatever goes wrong with one, the
next is asked; what the registry itself says at last counts.  What is written, listed or deleted
goes to the registry itself.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from jubako.errors import IntegrityError, JubakoError, NotFound, Unavailable, Unsupported
from jubako.oci import manifest as manifests
from jubako.oci import media
from jubako.oci.digest import Digest
from jubako.registry import pages, refusals
from jubako.registry.auth import pull_scope, push_scope
from jubako.registry.headers import Quota, parse_digest, parse_quota

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from jubako.oci.manifest import Descriptor, Index
    from jubako.oci.reference import Reference
    from jubako.registry.downloads import BlobStream
    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Endpoint
    from jubako.registry.transport import Reply
    from jubako.registry.uploads import Chunks, DigestOf

    Found_ = TypeVar("Found_")

# All that may come; schema 1 so that it is refused in words and not as something else.
ACCEPT = ", ".join((*sorted(media.MANIFESTS), *sorted(media.INDEXES), *sorted(media.SCHEMA1)))


class Found(NamedTuple):
    """What a registry says of a manifest without sending it.

    size: bytes, None if it does not say.  media_type: empty if it does not say.
    """

    digest: Digest
    size: int | None
    media_type: str
    quota: Quota | None


class Fetched(NamedTuple):
    """A manifest as it came, with the digest that its bytes were found to have."""

    data: bytes
    media_type: str
    digest: Digest
    quota: Quota | None


class Repository:
    """Made by `Client.repository`; safe for threads.

    name: `docker.io/library/busybox`.  Methods raise what registries and networks do:
    NotFound, Unauthorized and PermissionDenied (also of what may or may not exist), Unavailable
    (after all tries), IntegrityError (not what its digest promised), Unsupported.
    """

    def __init__(self, exchange: Exchange, reference: Reference):
        self._exchange = exchange
        self._reference = reference
        self.name = reference.name

    # --- manifests -------------------------------------------------------------------------------

    def head_manifest(self, ref: str) -> Found | None:
        """What a tag or digest stands for, without fetching it; None if it is not there.

        Registries count pulls by GET, so this is free.
        """
        try:
            return self._from_any(lambda endpoint: self._head(endpoint, ref))
        except NotFound:
            return None

    def get_manifest(self, ref: str) -> Fetched:
        """The manifest or index of a tag or digest; by a digest, it is checked to have it."""
        return self._from_any(lambda endpoint: self._get(endpoint, ref))

    def put_manifest(self, ref: str, data: bytes, media_type: str) -> Digest:
        """Store a manifest, whose blobs are there, under a tag or its digest; its digest."""
        endpoint = self._origin()
        reply = self._exchange.send(
            endpoint,
            "PUT",
            endpoint.url(f"manifests/{quote(ref, safe=':')}"),
            self._push(),
            headers={"Content-Type": media_type},
            body=data,
        )
        if reply.status not in (200, 201, 202):
            raise self._refused(reply, "push")
        digest = Digest.parse(ref) if ":" in ref else Digest.of(data)
        stored = parse_digest(reply.header("Docker-Content-Digest"))
        reply.close()
        if stored is not None and stored.algorithm == digest.algorithm and stored != digest:
            raise IntegrityError(
                f"push {self._familiar(ref)}: the registry stored {stored}, sent was {digest}",
                subject=self.name,
            )
        return digest

    def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest with all tags of it.  Raises Unsupported where that is not allowed."""
        endpoint = self._origin()
        scopes = (f"repository:{self._reference.path}:delete,pull",)
        reply = self._exchange.send(endpoint, "DELETE", endpoint.url(f"manifests/{digest}"), scopes)
        if reply.status not in (200, 202, 204):
            raise self._refused(reply, "delete", f"manifest for {self._familiar(digest)}")
        reply.close()

    # --- lists -----------------------------------------------------------------------------------

    def tags(self) -> Iterator[str]:
        """All tags, in the registry's order."""
        endpoint = self._origin()
        url = endpoint.url(f"tags/list?n={pages.PAGE_SIZE}")
        for reply in pages.iterate(self._exchange, endpoint, url, self._pull(endpoint)):
            if reply.status != 200:
                raise self._refused(reply, "pull", f"repository {self._reference.familiar_name()}")
            for tag in pages.texts(pages.read_json(reply), "tags", url):
                yield self._reference.with_tag(tag[:200]).tag or ""

    def referrers(self, digest: Digest, artifact_type: str = "") -> Index:
        """What refers to a manifest (signatures, SBOMs); an empty index if nothing does.

        artifact_type: only those.  Where the registry lacks the list, the tag that stands for it
        is read (distribution-spec, Listing Referrers).
        """
        endpoint = self._origin()
        query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
        url = endpoint.url(f"referrers/{digest}{query}")
        entries: list[Descriptor] = []
        for reply in pages.iterate(self._exchange, endpoint, url, self._pull(endpoint)):
            if reply.status == 404:
                reply.close()
                entries = self._tagged_referrers(digest)
                break
            if reply.status != 200:
                raise self._refused(reply, "pull")
            entries += self._index(reply.read(pages.MAX_BODY), digest).manifests
        chosen = [one for one in entries if artifact_type in ("", one.artifact_type)]
        return manifests.Index(media.OCI_INDEX, tuple(chosen))

    def _tagged_referrers(self, digest: Digest) -> list[Descriptor]:
        tag = f"{digest.algorithm[:32]}-{digest.encoded[:64]}"
        try:
            return list(self._index(self.get_manifest(tag).data, digest).manifests)
        except NotFound:
            return []

    def _index(self, data: bytes, digest: Digest) -> Index:
        what = f"referrers of {self._familiar(digest)}"
        found = manifests.parse(data, media.OCI_INDEX, what)
        if not isinstance(found, manifests.Index):
            raise Unavailable(f"{what}: the registry's answer is no index")
        return found

    # --- blobs -----------------------------------------------------------------------------------

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobStream:
        """A blob as it arrives, from byte `offset` on where the registry can; see `BlobStream`."""
        from jubako.registry.downloads import BlobStream

        return BlobStream(self._exchange, self._reference, descriptor, offset)

    def read_range(self, descriptor: Descriptor, offset: int, size: int) -> bytes:
        """`size` bytes of a blob from `offset` on, all of which it has; nobody has checked them.

        Raises also Unsupported (the registry serves no ranges).
        """
        from jubako.registry.ranges import read_range

        return read_range(self._exchange, self._reference, descriptor, offset, size)

    def has_blob(self, digest: Digest) -> int | None:
        """The size in bytes of a blob that the registry itself has, or None."""
        endpoint = self._origin()
        reply = self._exchange.send(endpoint, "HEAD", endpoint.url(f"blobs/{digest}"), self._push())
        if reply.status == 404:
            reply.close()
            return None
        if reply.status != 200:
            raise self._refused(reply, "push")
        reply.close()
        return reply.length or 0

    def mount_blob(self, digest: Digest, from_path: str) -> bool:
        """Let the registry take a blob from its repository `from_path`; whether it did.

        False leaves nothing behind: the upload that the registry began instead is cancelled.
        """
        from jubako.registry import uploads

        scopes = (*self._push(), pull_scope(from_path))
        return uploads.mount(self._exchange, self._origin(), scopes, digest, from_path)

    def upload(self, digest: DigestOf, size: int | None, open_chunks: Chunks) -> Digest:
        """Send a blob; its digest.  See `uploads.Upload`."""
        from jubako.registry import uploads

        return uploads.Upload(
            self._exchange, self._origin(), self._reference, digest, size, open_chunks
        ).run()

    # --- below -----------------------------------------------------------------------------------

    def _from_any(self, ask: Callable[[Endpoint], Found_]) -> Found_:
        *mirrors, origin = self._exchange.places(self._reference)
        for mirror in mirrors:
            try:
                return ask(self._exchange.resolve(mirror))
            except JubakoError:
                continue  # it lacks it, wants a login, is away: the registry has the last word
        return ask(self._exchange.resolve(origin))

    def _head(self, endpoint: Endpoint, ref: str) -> Found:
        reply = self._ask_manifest(endpoint, "HEAD", ref)
        reply.close()
        digest = parse_digest(reply.header("Docker-Content-Digest"))
        if digest is None:  # not required of registries
            fetched = self._get(endpoint, ref)
            return Found(fetched.digest, len(fetched.data), fetched.media_type, fetched.quota)
        self._compare(ref, digest)
        return Found(digest, reply.length, _media_type(reply), _quota(reply))

    def _get(self, endpoint: Endpoint, ref: str) -> Fetched:
        reply = self._ask_manifest(endpoint, "GET", ref, limit=manifests.MAX_MANIFEST_BYTES)
        data = reply.read(manifests.MAX_MANIFEST_BYTES)
        said = parse_digest(reply.header("Docker-Content-Digest"))
        wanted = Digest.parse(ref) if ":" in ref else said
        if wanted is not None:
            wanted.check(data, f"manifest for {self._familiar(ref)}")
        return Fetched(data, _media_type(reply), wanted or Digest.of(data), _quota(reply))

    def _ask_manifest(self, endpoint: Endpoint, method: str, ref: str, *, limit: int = 0) -> Reply:
        url = endpoint.url(f"manifests/{quote(ref, safe=':')}")
        reply = self._exchange.send(
            endpoint, method, url, self._pull(endpoint), headers={"Accept": ACCEPT}, limit=limit
        )
        if reply.status != 200:
            raise self._refused(reply, "pull", f"manifest for {self._familiar(ref)}")
        return reply

    def _compare(self, ref: str, digest: Digest) -> None:
        if ":" in ref and ref != digest:
            raise IntegrityError(
                f"manifest for {self._familiar(ref)}: expected {ref}, found {digest}",
                subject=self.name,
            )

    def _refused(self, reply: Reply, action: str, missing: str = "") -> JubakoError:
        name = self._reference.familiar_name()
        if reply.status == 405:
            return Unsupported(f"{action} {name}: {refusals.read(reply).text}", subject=name)
        return refusals.error(reply, action, name, self._reference.domain, missing=missing)

    def _familiar(self, ref: str) -> str:
        return f"{self._reference.familiar_name()}{'@' if ':' in ref else ':'}{ref}"

    def _origin(self) -> Endpoint:
        hosts = self._exchange.hosts
        return self._exchange.resolve(hosts.origin(self._reference.domain, self._reference.path))

    def _pull(self, endpoint: Endpoint) -> tuple[str, ...]:
        return (pull_scope(endpoint.path),)

    def _push(self) -> tuple[str, ...]:
        return (push_scope(self._reference.path),)


def _media_type(reply: Reply) -> str:
    return reply.header("Content-Type").partition(";")[0].strip().lower()[:255]


def _quota(reply: Reply) -> Quota | None:
    return parse_quota(reply.header("RateLimit-Limit"), reply.header("RateLimit-Remaining"))
