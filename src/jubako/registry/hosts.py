"""Where a repository is asked for: the registry of a name, its mirrors, and how each is reached.

    docker.io/library/busybox   https://registry-1.docker.io/v2/library/busybox/...
    quay.io/team/app            https://quay.io/v2/team/app/...
    localhost:5000/app          http://localhost:5000/v2/app/...   (or https)

Plain http is for loopback and for registries that were named insecure; these, as with Docker, are
tried with https first, whose certificate is then not looked at unless an authority was given.

Mirrors are named for a registry (`docker.io`), a part of its names (`docker.io/library`) or, with
`*`, for every registry; the longest that fits wins.  As in Podman's configuration the part that was
named is what the mirror's address stands for:

    "docker.io": ["https://m.example/hub"]     docker.io/library/x -> m.example/hub/library/x
    "quay.io/team": ["https://m.example/t"]    quay.io/team/x      -> m.example/t/x
    "*": ["https://m.example"]                 quay.io/team/x      -> m.example/team/x?ns=quay.io

A mirror of all cannot know whose name it was given, so it is told as containerd tells it.
"""

from __future__ import annotations

import ipaddress

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from jubako.oci.reference import Reference

DOCKER_DOMAIN = "docker.io"
DOCKER_HOST = "registry-1.docker.io"
EVERY_REGISTRY = "*"
_PORTS = {"http": 80, "https": 443}


class Endpoint:
    """One place that can be asked for a repository; immutable.

    domain: whose credentials are used there: `docker.io`, `mirror.example:5000`.
    scheme, host, port: where; an IPv6 address has no brackets.
    path: the repository's there.  in_doubt: http is allowed, and nobody said which of both it is.
    mirror: it may lack what the registry has.  namespace: the registry that a mirror of every
    registry stands for, else empty.
    """

    __slots__ = ("domain", "host", "in_doubt", "mirror", "namespace", "path", "port", "scheme")

    def __init__(
        self,
        domain: str,
        scheme: str,
        host: str,
        port: int,
        path: str,
        *,
        in_doubt: bool = False,
        mirror: bool = False,
        namespace: str = "",
    ):
        self.domain = domain
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path
        self.in_doubt = in_doubt
        self.mirror = mirror
        self.namespace = namespace

    @property
    def base(self) -> str:
        """`https://registry.example:5000`, the port only where it is not the scheme's."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def url(self, tail: str) -> str:
        """The URL of something in the repository: `manifests/latest`."""
        return self.base + self.target(tail)

    def target(self, tail: str) -> str:
        """The same without scheme and host."""
        path = f"/v2/{self.path}/{tail}" if self.path else f"/v2/{tail}"
        if not self.namespace:
            return path
        return f"{path}{'&' if '?' in tail else '?'}ns={self.namespace}"

    def over_http(self) -> Endpoint:
        """The same by http: what is tried with an insecure registry that speaks no TLS."""
        return self._changed(scheme="http", port=80 if self.port == 443 else self.port)

    def at(self, other: Endpoint) -> Endpoint:
        """The same repository by the scheme and port of `other`, about which there is no doubt."""
        return self._changed(scheme=other.scheme, port=other.port, in_doubt=False)

    def below(self, rest: str, namespace: str = "") -> Endpoint:
        """The repository `rest` below this one's path."""
        path = "/".join(part for part in (self.path, rest) if part)
        return self._changed(path=path, namespace=namespace)

    def _changed(self, **changes: Any) -> Endpoint:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Endpoint(**fields | changes)

    def __repr__(self) -> str:
        return f"Endpoint({self.url('')})"


class Hosts:
    """How registries are reached.

    mirrors: by registry or part of its names, the addresses to ask first, in order.
    insecure: hosts, `host:port`, addresses or networks (`10.0.0.0/8`) as in Docker's
    `insecure-registries`.  attempts: how often something is tried before it counts as failed.
    cert_directories: where `<host:port>/*.crt` and its like are, see `certificates`; None for the
    usual ones.  user_agent: what registries are told.
    Raises InvalidArgument for a mirror's address that is none.
    """

    def __init__(
        self,
        *,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        insecure: Sequence[str] = (),
        attempts: int = 5,
        cert_directories: Sequence[str] | None = None,
        user_agent: str = "jubako",
    ):
        self.attempts = attempts
        self.cert_directories = cert_directories
        self.user_agent = user_agent
        self._insecure_names = {name for name in insecure if "/" not in name}
        self._insecure_networks = _networks(insecure)
        self._mirrors = {
            name.rstrip("/"): [self._parse_mirror(name, text) for text in texts]
            for name, texts in (mirrors or {}).items()
        }

    def endpoints(self, reference: Reference) -> list[Endpoint]:
        """Where to ask for a repository: its mirrors in order, at last the registry itself."""
        return [*self._mirrors_of(reference), self.origin(reference.domain, reference.path)]

    def origin(self, domain: str, path: str = "") -> Endpoint:
        """The registry of a domain itself, which pushes, tags and logins always go to."""
        host, port = split_host(DOCKER_HOST if domain == DOCKER_DOMAIN else domain)
        in_doubt = self.is_insecure(host, port)
        return Endpoint(domain, "https", host, port or _PORTS["https"], path, in_doubt=in_doubt)

    def is_insecure(self, host: str, port: int | None) -> bool:
        """Whether http may be spoken with a host, and no certificate is asked of it."""
        names = {host, f"[{host}]"}
        if port is not None:
            names |= {f"{name}:{port}" for name in names}
        if is_loopback(host) or names & self._insecure_names:
            return True
        address = _address(host)
        return address is not None and any(address in each for each in self._insecure_networks)

    def _mirrors_of(self, reference: Reference) -> list[Endpoint]:
        name = reference.name
        while name and name not in self._mirrors:
            name = name.rpartition("/")[0]
        if name:
            rest = reference.name[len(name) + 1 :]
            return [mirror.below(rest) for mirror in self._mirrors[name]]
        return [
            mirror.below(reference.path, reference.domain)
            for mirror in self._mirrors.get(EVERY_REGISTRY, ())
        ]

    def _parse_mirror(self, name: str, text: str) -> Endpoint:
        scheme, mark, rest = text.partition("://")
        if not mark:
            scheme, rest = "", text
        domain, _, path = rest.partition("/")
        try:
            host, port = split_host(domain)
        except InvalidArgument as exc:
            raise _invalid_mirror(name, text) from exc
        in_doubt = not scheme and self.is_insecure(host, port)
        scheme = scheme or "https"
        if scheme not in _PORTS or any(mark in text for mark in "@?#"):
            raise _invalid_mirror(name, text)
        port = port or _PORTS[scheme]
        return Endpoint(domain, scheme, host, port, path.strip("/"), in_doubt=in_doubt, mirror=True)


def _invalid_mirror(name: str, text: str) -> InvalidArgument:
    return InvalidArgument(
        f"registry mirror of {name}: {text[:200]!r} is no address of a registry",
        hint="write it as https://host[:port][/path]",
        subject=text,
    )


def split_host(text: str) -> tuple[str, int | None]:
    """`host`, `host:port` or `[IPv6]:port` in its parts.  Raises InvalidArgument."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        good = bool(bracket) and (not rest or rest.startswith(":"))
        port_text = rest[1:] if rest else ""
        good = good and _address(host) is not None
    else:
        host, colon, port_text = text.partition(":")
        good = bool(host) and (not colon or bool(port_text))
    good = good and not any(mark in host for mark in " /@?#\\%")
    if port_text and not (port_text.isascii() and port_text.isdigit()):
        good = False
    if not good or len(port_text) > 5 or (port_text and not 0 < int(port_text) < 1 << 16):
        raise InvalidArgument(f"invalid registry host {text[:200]!r}", subject=text)
    return host, int(port_text) if port_text else None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whoever serves names: `localhost`, 127.0.0.0/8, `::1`."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _networks(
    insecure: Sequence[str],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for text in insecure:
        if "/" in text:
            try:
                networks.append(ipaddress.ip_network(text, strict=False))
            except ValueError as exc:
                raise InvalidArgument(
                    f"insecure registry {text[:200]!r}: neither a host nor a network",
                    hint="write it as host, host:port or 10.0.0.0/8",
                    subject=text,
                ) from exc
    return networks
