"""Addresses of log servers, with the sentences of Docker and of Go's `net/url`."""

from __future__ import annotations

from jubako.golang.number import parse_uint
from jubako.golang.quote import quote


class Address:
    """scheme; host without brackets and port (None: not given); path behind the host."""

    __slots__ = ("host", "path", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int | None, path: str):
        self.scheme = scheme
        self.host = host
        self.port = port
        self.path = path


def parse(text: str) -> Address:
    """`scheme://host:port/path`; the scheme is "" when there is none.  Raises ValueError."""
    scheme, found, rest = text.partition("://")
    if not found:
        if ":" in text.partition("/")[0]:
            raise ValueError(f"parse {quote(text)}: first path segment in URL cannot contain colon")
        return Address("", "", None, text)
    host, slash, path = rest.partition("/")
    name, port = _split_port(text, host)
    return Address(scheme.lower(), name, port, slash + path)


def _split_port(text: str, host: str) -> tuple[str, int | None]:
    name, colon, port = host.rpartition(":")
    if host.startswith("["):
        name, bracket, after = host[1:].partition("]")
        if not bracket:
            raise ValueError(f"parse {quote(text)}: missing ']' in host")
        colon, port = after[:1], after[1:]
    elif not colon:
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit()):
        raise ValueError(f"parse {quote(text)}: invalid port {quote(f':{port}')} after host")
    if not port:
        return name, None
    try:
        return name, parse_uint(port, 65535)
    except ValueError as exc:
        raise ValueError(f"invalid port: {exc}") from None


def joined(host: str, port: int) -> str:
    """`host:port` as Go's `net.JoinHostPort` writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
