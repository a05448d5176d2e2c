"""A part of a blob."""

from __future__ import annotations

from jubako.errors import IntegrityError, JubakoError, Unsupported
from jubako.registry import refusals
from jubako.registry.auth import pull_scope
from jubako.registry.headers import parse_content_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.oci.manifest import Descriptor
    from jubako.oci.reference import Reference
    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Endpoint


def read_range(
    exchange: Exchange, reference: Reference, descriptor: Descriptor, offset: int, size: int
) -> bytes:
    """See `Repository.read_range`."""
    *mirrors, origin = exchange.places(reference)
    for mirror in mirrors:
        try:
            return _read(exchange, mirror, reference, descriptor, offset, size)
        except JubakoError:
            continue  # as for whole blobs: the registry has the last word
    return _read(exchange, origin, reference, descriptor, offset, size)


def _read(
    exchange: Exchange,
    place: Endpoint,
    reference: Reference,
    descriptor: Descriptor,
    offset: int,
    size: int,
) -> bytes:
    what = f"blob {descriptor.digest} of {reference.familiar_name()}"
    endpoint = exchange.resolve(place)
    reply = exchange.send(
        endpoint,
        "GET",
        endpoint.url(f"blobs/{descriptor.digest}"),
        (pull_scope(endpoint.path),),
        headers={"Range": f"bytes={offset}-{offset + size - 1}"},
        limit=size,
    )
    if reply.status == 200:
        reply.close()
        raise Unsupported(f"{what}: {reference.domain} serves no ranges", subject=reference.domain)
    if reply.status != 206:
        name, domain = reference.familiar_name(), reference.domain
        raise refusals.error(reply, "pull", name, domain, missing=what)
    data = reply.read(size)
    found = parse_content_range(reply.header("Content-Range"))
    if found is None or found[0] != offset or len(data) != size:
        raise IntegrityError(
            f"{what}: asked for {size} bytes from {offset} on, got {len(data)} of "
            f"{reply.header('Content-Range')[:60]!r}",
            subject=descriptor.digest,
        )
    return data
