"""Which proxy leads to a host, by the environment, as the Go programs around Docker read it.

    HTTP_PROXY, HTTPS_PROXY   by the scheme of the URL; also in lower case, upper case first
    NO_PROXY                  hosts that are reached without: `example.com` (and all below it),
                              `.example.com` (only those below), an address, a network, any of them
                              with `:port`, or `*` for all

Loopback is never reached through a proxy.  Source: golang.org/x/net/http/httpproxy.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote, urlsplit

from jubako.errors import InvalidArgument, Unsupported
from jubako.registry.hosts import is_loopback, split_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Proxy:
    """url: where it is, without user and password.  headers: `Proxy-Authorization`, or nothing."""

    __slots__ = ("headers", "url")

    def __init__(self, url: str, headers: dict[str, str]):
        self.url = url
        self.headers = headers


def find_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for a host (an IPv6 address without brackets); None if there is none to use.

    Raises InvalidArgument for a proxy that is no URL, Unsupported for SOCKS; neither repeats the
    password that such a URL may hold.
    """
    name = f"{scheme}_proxy"
    text = environ.get(name.upper()) or environ.get(name) or ""
    if not text or is_loopback(host):
        return None
    no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_excludes(entry.strip().lower(), host, port) for entry in no_proxy.split(",")):
        return None
    return _parse(name.upper(), text)


def _excludes(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY names the host."""
    if not entry or entry == "*":
        return bool(entry)
    host = host.lower().rstrip(".")
    if "/" in entry:
        return _in_network(host, entry)
    name, only_port = entry, None
    if entry.startswith("[") or entry.count(":") == 1:
        try:
            name, only_port = split_host(entry)
        except InvalidArgument:
            return False
    if only_port is not None and only_port != port:
        return False
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or _same_address(host, name) or host.endswith(f".{name}")


def _in_network(host: str, entry: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _same_address(host: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(host) == ipaddress.ip_address(name)
    except ValueError:
        return False


def _parse(name: str, text: str) -> Proxy:
    """A proxy's URL; one without a scheme is http."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme.startswith("socks"):
        raise Unsupported(f"{name}: SOCKS proxies are not supported", hint="name an http proxy")
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidArgument(
            f"{name}: not the URL of a proxy", hint="write it as http://host:port"
        )
    address = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{address}" + (f":{port}" if port else "")
    return Proxy(url, _authorization(parts.username, parts.password))


def _authorization(username: str | None, password: str | None) -> dict[str, str]:
    if username is None:
        return {}
    import base64

    pair = f"{unquote(username)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode()}
