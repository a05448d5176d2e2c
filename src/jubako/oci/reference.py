"""Image references, `[domain/]path[:tag][@digest]`, with Docker's grammar and normalisation.

    busybox            docker.io/library/busybox      (no tag: callers use `tagged`)
    me/app:1           docker.io/me/app:1
    localhost:5000/app localhost:5000/app
    x@sha256:...       docker.io/library/x@sha256:...

The first component is a domain only if it holds a dot or a colon, is `localhost`, or has an upper
case letter.  Grammar: github.com/distribution/reference; its limits and error texts are kept.
"""

from __future__ import annotations

import re

from jubako.errors import InvalidDigest, InvalidReference
from jubako.oci.digest import Digest

DEFAULT_DOMAIN = "docker.io"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
DEFAULT_TAG = "latest"
_MAX_NAME = 255  # characters of the repository path, a limit of the registry protocol

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

# Compiled when first needed: the names of images that exist are found without (`guess`).
_REFERENCE = rf"((?:{_DOMAIN}/)?{_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?\Z"
_IDENTIFIER_DIGITS = 64
_HEX = frozenset("0123456789abcdef")


class Reference:
    """A parsed reference; immutable, compares by value.

    domain: `docker.io`, `localhost:5000`.  path: `library/busybox`.  tag, digest: None if not
    given.  `str()` is the canonical text, `familiar()` what Docker shows to people.
    """

    __slots__ = __match_args__ = ("domain", "path", "tag", "digest")

    def __init__(self, domain: str, path: str, tag: str | None, digest: Digest | None):
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        """The repository with its domain: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    def familiar_name(self) -> str:
        """The repository as people write it: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        path = self.path
        if path.startswith(_OFFICIAL) and "/" not in path[len(_OFFICIAL) :]:
            return path[len(_OFFICIAL) :]
        first = path.partition("/")[0]
        return self.name if _is_domain(first) and "/" in path else path

    def familiar(self) -> str:
        """The whole reference as people write it: `busybox:1`."""
        return self.familiar_name() + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return tag + (f"@{self.digest}" if self.digest is not None else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def _key(self) -> tuple[str, str, str | None, Digest | None]:
        return self.domain, self.path, self.tag, self.digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def tagged(self) -> Reference:
        """The same with tag `latest` if it has neither tag nor digest."""
        if self.tag is not None or self.digest is not None:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG, None)

    def with_tag(self, tag: str) -> Reference:
        """The repository with another tag and no digest.  Raises InvalidReference."""
        if not re.match(rf"{_TAG}\Z", tag, re.ASCII):
            raise InvalidReference(f"invalid tag format: {tag[:140]!r}", subject=tag)
        return Reference(self.domain, self.path, tag, None)

    def with_digest(self, digest: Digest) -> Reference:
        """The repository with a digest and no tag."""
        return Reference(self.domain, self.path, None, digest)


def parse(text: str) -> Reference:
    """Parse what a user typed.

    Raises InvalidReference: the texts after `invalid reference format` are those of Docker.  Text
    of 64 hexadecimal digits is refused, because it can only be an ID.
    """
    if len(text) == _IDENTIFIER_DIGITS and _HEX.issuperset(text):
        raise _invalid(
            text,
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings",
        )
    domain, remainder = _split_domain(text)
    repository = re.split("[:@]", remainder, maxsplit=1)[0]
    if repository.lower() != repository:
        raise _invalid(
            text,
            f"invalid reference format: repository name ({repository[:140]}) must be lowercase",
        )
    match = re.match(_REFERENCE, f"{domain}/{remainder}", re.ASCII)
    if match is None:
        if not text:
            raise _invalid(text, "invalid reference format")
        if re.match(_REFERENCE, text.lower(), re.ASCII):
            raise _invalid(text, "invalid reference format: repository name must be lowercase")
        raise _invalid(text, "invalid reference format")
    name, tag, digest_text = match.groups()
    path = name[len(domain) + 1 :]
    if not re.match(rf"{_DOMAIN}\Z", domain, re.ASCII) or not re.match(
        rf"{_PATH}\Z", path, re.ASCII
    ):
        raise _invalid(text, "invalid reference format")
    if len(path) > _MAX_NAME:
        raise _invalid(text, f"repository name must not be more than {_MAX_NAME} characters")
    digest = None
    if digest_text is not None:
        try:
            digest = Digest.parse(digest_text)
        except InvalidDigest as exc:
            raise _invalid(text, str(exc)) from exc
    return Reference(domain, path, tag, digest)


def _invalid(text: str, message: str) -> InvalidReference:
    return InvalidReference(message, subject=text)


def _is_domain(component: str) -> bool:
    """Whether a first path component names a host rather than a directory of docker.io."""
    return (
        "." in component
        or ":" in component
        or component == "localhost"
        or component.lower() != component
    )


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and _is_domain(first):
        domain, remainder = first, rest
    else:
        domain, remainder = DEFAULT_DOMAIN, text
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def guess(text: str) -> str:
    """The canonical text that `parse` would give for a valid name, without checking anything.

    For looking up names that were checked when they were stored.
    """
    domain, remainder = _split_domain(text)
    name, at, digest = remainder.partition("@")
    last = name.rpartition("/")[2]
    if at:
        tag = name.rpartition(":")[0] if ":" in last else name
        return f"{domain}/{tag}@{digest}"
    return f"{domain}/{name}" if ":" in last else f"{domain}/{name}:{DEFAULT_TAG}"
