"""`WWW-Authenticate`: what a registry asks for before it answers.

A header holds any number of challenges, each a scheme and either parameters or one opaque text
(RFC 9110, 11.6.1); a reply may have several such headers:

    Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push"
    Negotiate, Basic realm="x"

Commas separate challenges as well as parameters, and stand in quoted values too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEADER = 16 << 10  # characters read of all headers of a reply; a real challenge has some 200
_MAX_CHALLENGES = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(
    rf"({_TOKEN})[ \t]*=[ \t]*"
    r'(?:"((?:[^"\\]|\\.)*)"'  # quoted
    r'|([^ \t,"=][^ \t,"]*))'  # bare: some servers quote neither URLs nor spaces' absence
    r"[ \t]*(?=,|\Z)",
    re.DOTALL,
)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+|(?=,|\Z))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_SEPARATOR = re.compile(r"[ \t,]*")


class Challenge(NamedTuple):
    """One challenge.  scheme and the names of parameters are in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a Bearer token should have, `repository:a/b:pull,push`."""
        return tuple(self.parameters.get("scope", "").split())


def parse(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of a reply's headers, in their order.

    Never raises: what does not follow the grammar ends the reading of its header, and what was
    read before stays.  At most 16 challenges and 16 KiB are looked at.
    """
    found: list[Challenge] = []
    left = MAX_HEADER
    for header in headers:
        found.extend(_of_header(header[:left]))
        left -= len(header)
        if left <= 0 or len(found) >= _MAX_CHALLENGES:
            break
    return tuple(found[:_MAX_CHALLENGES])


def _of_header(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = _skip(text, 0)
    while position < len(text) and len(found) < _MAX_CHALLENGES:
        scheme = _SCHEME.match(text, position)
        if scheme is None:
            break
        parameters, position = _parameters(text, scheme.end())
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def _parameters(text: str, position: int) -> tuple[dict[str, str], int]:
    """The parameters from `position` on, and where the next challenge begins."""
    parameters: dict[str, str] = {}
    match = _PARAMETER.match(text, position)
    if match is None:
        opaque = _TOKEN68.match(text, position)
        return {}, _skip(text, opaque.end() if opaque else position)
    while match is not None:
        name, quoted, bare = match.groups()
        value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        parameters.setdefault(name.lower(), value)  # a second one could only mislead
        position = _skip(text, match.end())
        match = _PARAMETER.match(text, position)
    return parameters, position


def _skip(text: str, position: int) -> int:
    match = _SEPARATOR.match(text, position)
    return match.end() if match else position
