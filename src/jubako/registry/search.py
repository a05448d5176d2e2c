"""What is asked of a registry as a whole: logins, its catalog, a search."""

from __future__ import annotations

from urllib.parse import urlencode

from jubako.errors import NotFound, Unauthorized, Unavailable, Unsupported
from jubako.registry import pages, refusals
from jubako.registry.auth import CATALOG_SCOPE
from jubako.registry.headers import printable
from jubako.registry.hosts import DOCKER_DOMAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.registry.exchange import Exchange

_DOCKER_SEARCH_HOST = "index.docker.io"
_MAX_DESCRIPTION = 1000  # characters
MAX_RESULTS = 100  # what Docker Hub gives at most


def ping(exchange: Exchange, domain: str) -> None:
    """Ask for the registry's `/v2/`, with credentials if it wants some.

    Raises Unauthorized if they are refused or missing, Unavailable if it is no registry.
    """
    endpoint = exchange.resolve(exchange.hosts.origin(domain))
    url = endpoint.url("")
    reply = exchange.send(endpoint, "GET", url, ())
    if reply.status == 200:
        reply.close()
        return
    reply.close()
    status = refusals.status_line(reply.status)
    text = f"login attempt to {url} failed with status: {status}"
    if reply.status in (401, 403):
        raise Unauthorized(text, subject=domain)
    raise Unavailable(text, hint="is it a registry?", subject=domain)


def catalog(exchange: Exchange, domain: str) -> Iterator[str]:
    """The repositories of a registry, as paths.  Raises NotFound where it keeps no such list."""
    endpoint = exchange.resolve(exchange.hosts.origin(domain))
    url = endpoint.url(f"_catalog?n={pages.PAGE_SIZE}")
    for reply in pages.iterate(exchange, endpoint, url, (CATALOG_SCOPE,)):
        if reply.status != 200:
            raise refusals.error(reply, "search", domain, domain, missing="the catalog")
        yield from pages.texts(pages.read_json(reply), "repositories", url)


def search(exchange: Exchange, domain: str, term: str, *, limit: int) -> list[dict[str, Any]]:
    """Repositories that a registry finds for `term`, at most `limit` and at most 100.

    Each is an object with `name`, `description`, `star_count`, `is_official` and `is_automated`.
    Docker Hub and a few others search; of the rest the catalog is read, where they give it, for
    names that contain the term.  Raises Unsupported where there is neither.
    """
    limit = max(1, min(limit, MAX_RESULTS))
    host = _DOCKER_SEARCH_HOST if domain == DOCKER_DOMAIN else domain
    endpoint = exchange.resolve(exchange.hosts.origin(host))
    url = f"{endpoint.base}/v1/search?{urlencode({'q': term, 'n': limit})}"
    reply = exchange.send(endpoint, "GET", url, (), limit=pages.MAX_BODY)
    if reply.status == 200:
        found = pages.read_json(reply).get("results")
        if not isinstance(found, list):
            raise Unavailable(f"search {domain}: the answer holds no results")
        return [_result(each) for each in found[:limit] if isinstance(each, dict)]
    refusal = refusals.read(reply)
    if domain == DOCKER_DOMAIN:
        raise Unavailable(f"search {domain}: {refusal.text}")
    return _search_catalog(exchange, domain, term, limit)


def _search_catalog(exchange: Exchange, domain: str, term: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        for name in catalog(exchange, domain):
            if term.lower() in name.lower():
                found.append(_result({"name": name}))
            if len(found) == limit:
                break
    except NotFound as exc:
        raise Unsupported(
            f"search {domain}: this registry has no search and gives no list of its repositories",
            subject=domain,
        ) from exc
    return found


def _result(value: dict[str, Any]) -> dict[str, Any]:
    stars = value.get("star_count")
    return {
        "name": printable(str(value.get("name") or ""), 255),
        "description": printable(str(value.get("description") or ""), _MAX_DESCRIPTION),
        "star_count": stars if isinstance(stars, int) and not isinstance(stars, bool) else 0,
        "is_official": value.get("is_official") is True,
        "is_automated": value.get("is_automated") is True,
    }
