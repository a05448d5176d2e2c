"""Lists that come in pages, each naming the next in a `Link` header (distribution-spec)."""

from __future__ import annotations

from jubako.errors import InvalidArgument, Unavailable
from jubako.oci.documents import parse_json
from jubako.registry.headers import parse_link_next, same_origin
from jubako.registry.transport import without_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jubako.registry.exchange import Exchange
    from jubako.registry.hosts import Endpoint
    from jubako.registry.transport import Reply

MAX_PAGES = 1000  # of the size below; a list beyond is no list but an attack
PAGE_SIZE = 1000  # entries that are asked for; registries give fewer
MAX_BODY = 4 << 20  # bytes of a page


def iterate(
    exchange: Exchange, endpoint: Endpoint, url: str, scopes: tuple[str, ...]
) -> Iterator[Reply]:
    """The answers for `url` and the pages that follow it, each to be read by the caller.

    The first is given whatever its status; a next page that is refused ends as the first would.
    Raises Unavailable for a page elsewhere, which credentials must not follow, and for a list that
    does not end.
    """
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        seen.add(url)
        reply = exchange.send(endpoint, "GET", url, scopes, limit=MAX_BODY)
        following = parse_link_next(reply.header("Link"), url)
        yield reply
        if reply.status != 200 or following is None:
            return
        if not same_origin(following, url):
            raise Unavailable(f"{without_query(url)}: its next page is on another host, refused")
        if following in seen:
            raise Unavailable(f"{without_query(url)}: its pages go round in a circle")
        url = following
    raise Unavailable(f"{without_query(url)}: more than {MAX_PAGES} pages")


def read_json(reply: Reply) -> dict[str, Any]:
    """The JSON object of a reply that was asked for with the limit.  Raises Unavailable."""
    what = without_query(reply.url)
    try:
        value = parse_json(reply.read(MAX_BODY), what)
    except InvalidArgument as exc:
        raise Unavailable(f"registry answer {exc}") from exc
    if not isinstance(value, dict):
        raise Unavailable(f"registry answer {what}: not a JSON object")
    return value


def texts(value: dict[str, Any], name: str, what: str) -> list[str]:
    """The list of texts that an object has under a name; an absent or null one is empty."""
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Unavailable(f"registry answer {what}: {name} is not a list of texts")
    return found
