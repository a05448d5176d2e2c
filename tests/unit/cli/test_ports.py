"""The PORTS column."""

from __future__ import annotations

from typing import Any

from jubako.cli.ports import describe


def _port(private: int, kind: str = "tcp", ip: str = "", public: int = 0) -> dict[str, Any]:
    port: dict[str, Any] = {"PrivatePort": private, "Type": kind}
    return {**port, "IP": ip, "PublicPort": public} if ip else port


def test_as_docker_shows_a_busy_container() -> None:
    ports = [
        _port(80, ip="0.0.0.0", public=18080),
        _port(80, ip="::", public=18080),
        *(_port(number, ip="127.0.0.1", public=number) for number in (19000, 19001, 19002)),
        _port(53, "udp", "0.0.0.0", 5353),
        _port(53, "udp", "::", 5353),
        *(_port(number) for number in (7000, 7001, 7002)),
    ]
    assert describe(ports) == (
        "7000-7002/tcp, 127.0.0.1:19000-19002->19000-19002/tcp, 0.0.0.0:5353->53/udp, "
        "[::]:5353->53/udp, 0.0.0.0:18080->80/tcp, [::]:18080->80/tcp"
    )


def test_gaps_and_protocols_split_ranges() -> None:
    ports = [_port(80), _port(81), _port(83), _port(81, "udp"), _port(90, ip="::", public=90)]
    assert describe(ports) == "80-81/tcp, 83/tcp, 81/udp, [::]:90->90/tcp"


def test_nothing() -> None:
    assert describe([]) == ""
