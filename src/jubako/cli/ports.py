"""The PORTS column: `0.0.0.0:8080->80/tcp, 9000-9002/udp`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def describe(ports: Sequence[Any]) -> str:
    """The API's ports of a container in words.

    Neighbouring ports become a range when they are not published, or published under the same
    number.
    """
    groups: dict[str, list[int]] = {}
    shown: list[str] = []
    mapped: list[str] = []
    for port in sorted(ports, key=_order):
        private, ip, kind = port["PrivatePort"], port.get("IP", ""), port["Type"]
        if ip and port.get("PublicPort") != private:
            mapped.append(f"{_join(ip, str(port.get('PublicPort', 0)))}->{private}/{kind}")
            continue
        key = f"{ip}/{kind}" if ip else kind
        span = groups.get(key)
        if span is None:
            groups[key] = [private, private]
        elif private == span[1] + 1:
            span[1] = private
        else:
            shown.append(_group(key, *span))
            groups[key] = [private, private]
    shown += [_group(key, *span) for key, span in groups.items()]
    return ", ".join(shown + mapped)


def _order(port: Any) -> tuple[int, str, int, str]:
    return port["PrivatePort"], port.get("IP", ""), port.get("PublicPort", 0), port["Type"]


def _group(key: str, first: int, last: int) -> str:
    ip, _, kind = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    return f"{_join(ip, span)}->{span}/{kind}" if ip else f"{span}/{kind}"


def _join(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
