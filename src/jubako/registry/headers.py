"""What registries say in headers: read strictly, and absent where it is not what it should be."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from jubako.errors import InvalidDigest
from jubako.oci.digest import Digest

_MAX_HEADER = 8 << 10  # characters looked at; real ones have some hundred
_LINK = re.compile(r'[\s,]*<([^<>]*)>((?:\s*;\s*[A-Za-z*]+\s*=\s*(?:"[^"]*"|[^",;\s]*))*)')
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]*))', re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\s*\Z", re.IGNORECASE)
_UPLOAD_RANGE = re.compile(r"\s*(?:bytes=)?0-(\d{1,19})\s*\Z")
_RATE = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w\s*=\s*(\d{1,9})\s*)?(?:[,;].*)?\Z", re.DOTALL)
_WARNING = re.compile(r'\s*299\s+-\s+"((?:[^"\\]|\\.)*)"')
_MAX_WARNING = 500  # characters shown; the specification allows 4096


class Quota(NamedTuple):
    """How many pulls a registry still allows.

    limit: in `window_s` seconds, -1 if it does not say.  window_s: None if it does not say.
    """

    limit: int
    remaining: int
    window_s: int | None


def parse_quota(limit: str, remaining: str) -> Quota | None:
    """`RateLimit-Limit: 100;w=21600` and `RateLimit-Remaining: 76;w=21600`, as Docker Hub has."""
    left = _RATE.match(remaining[:_MAX_HEADER])
    if left is None:
        return None
    whole = _RATE.match(limit[:_MAX_HEADER])
    window = (whole and whole[2]) or left[2]
    return Quota(int(whole[1]) if whole else -1, int(left[1]), int(window) if window else None)


def parse_link_next(link: str, url: str) -> str | None:
    """The URL that a `Link` header (RFC 8288) of the answer from `url` names as the next page.

    None without one.  A relative one is resolved; whether to follow it is for the caller to say.
    """
    position, link = 0, link[:_MAX_HEADER]
    while (match := _LINK.match(link, position)) is not None:
        relation = _RELATION.search(match[2])
        words = (relation[1] or relation[2] or "").lower().split() if relation else ()
        if "next" in words:
            try:
                return str(urljoin(url, match[1]))
            except ValueError:
                return None
        position = match.end()
    return None


def same_origin(one: str, other: str) -> bool:
    """Whether two http or https URLs have scheme, host and port in common."""
    return _origin(one) == _origin(other) is not None


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port


def parse_content_range(text: str) -> tuple[int, int, int | None] | None:
    """`bytes 5-9/10`: first and last byte, and the size of the whole if it is said."""
    match = _CONTENT_RANGE.match(text)
    if match is None:
        return None
    first, last, whole = int(match[1]), int(match[2]), match[3]
    size = None if whole == "*" else int(whole)
    if last < first or (size is not None and last >= size):
        return None
    return first, last, size


def parse_upload_range(text: str) -> int:
    """How many bytes of an upload have arrived by its `Range: 0-N`; 0 where it says nothing.

    `0-0` is what registries say of an empty upload, and of one byte; so it counts as nothing.
    """
    match = _UPLOAD_RANGE.match(text)
    return int(match[1]) + 1 if match and match[1] != "0" else 0


def parse_size(text: str) -> int | None:
    """`Content-Length`."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def parse_digest(text: str) -> Digest | None:
    """`Docker-Content-Digest`."""
    try:
        return Digest.parse(text.strip())
    except InvalidDigest:
        return None


def parse_warnings(values: list[str]) -> list[str]:
    """The texts of `Warning: 299 - "..."` headers (distribution-spec), fit to be shown."""
    found = []
    for value in values[:10]:
        match = _WARNING.match(value[:_MAX_HEADER])
        if match is not None:
            text = printable(re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), _MAX_WARNING)
            if text:
                found.append(text)
    return found


def printable(text: str, limit: int) -> str:
    """Text from outside, at most `limit` characters, without what could steer a terminal."""
    clean = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."
