"""Docker's grammar of ports.  The texts were taken from the docker command 26.1."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.errors import InvalidArgument
from jubako.networks.portspec import PROTOCOLS, parse_expose, parse_publish, to_bindings
from jubako.networks.publish import wanted_ports


def bindings(text: str) -> dict[str, list[tuple[str, str]]]:
    return {
        key: [(value["HostIp"], value["HostPort"]) for value in values]
        for key, values in to_bindings(parse_publish(text)).items()
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        (":80", {"80/tcp": [("", "")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:80:80", {"80/tcp": [("::1", "80")]}),
        ("[::]:80:80", {"80/tcp": [("::", "80")]}),
        ("8080:80/udp", {"80/udp": [("", "8080")]}),
        ("8080:80/sctp", {"80/sctp": [("", "8080")]}),
        ("80/TCP", {"80/tcp": [("", "")]}),
        ("80/", {"80/tcp": [("", "")]}),
        ("0", {"0/tcp": [("", "")]}),
        ("1-2", {"1/tcp": [("", "")], "2/tcp": [("", "")]}),
        ("9000-9001:80-81", {"80/tcp": [("", "9000")], "81/tcp": [("", "9001")]}),
        ("8000-8002:80", {"80/tcp": [("", "8000-8002")]}),
        ("10.0.0.1:8000-8001:80/udp", {"80/udp": [("10.0.0.1", "8000-8001")]}),
    ],
)
def test_publish(text: str, expected: dict[str, list[tuple[str, str]]]) -> None:
    assert bindings(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "invalid containerPort: x"),
        ("80:x", "invalid containerPort: x"),
        ("x:80", "invalid hostPort: x"),
        ("1:2:3", "invalid IP address: 1"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("a:1:2", "invalid IP address: a"),
        (
            "1.2.3.4:5:6:7",
            "invalid IP address: 1.2.3.4:5",
        ),
        ("::1:80:80", "invalid IP address: ::1"),
        ("80/xyz", "invalid proto: xyz"),
        ("80:80-81", "invalid ranges specified for container and host Ports: 80-81 and 80"),
        (
            "10000-10001:80-82",
            "invalid ranges specified for container and host Ports: 80-82 and 10000-10001",
        ),
        ("80-79:80", "invalid hostPort: 80-79"),
        ("70000", "invalid containerPort: 70000"),
        ("80:", "no port specified: 80:<empty>"),
        ("", "no port specified: <empty>"),
        ("127.0.0.1::", "no port specified: 127.0.0.1::<empty>"),
        ("127.0.0.1:80", "invalid hostPort: 127.0.0.1"),
        ("-1", "invalid containerPort: -1"),
        ("80-", "invalid containerPort: 80-"),
        ("٣", "invalid containerPort: ٣"),
    ],
)
def test_publish_refuses_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}$"):
        parse_publish(text)


@given(st.text(alphabet="0123456789.:-/[]tcpudx", max_size=24))
def test_publish_gives_ports_or_a_clear_error(text: str) -> None:
    try:
        mappings = parse_publish(text)
    except InvalidArgument:
        return
    assert mappings
    for mapping in mappings:
        assert 0 <= mapping["container_port"] <= 65535
        assert mapping["protocol"] in PROTOCOLS
        assert re.fullmatch(r"(\d+(-\d+)?)?", mapping["host_port"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ["80/tcp"]),
        ("80/udp", ["80/udp"]),
        ("80/TCP", ["80/TCP"]),
        ("80/xyz", ["80/xyz"]),
        ("80-82", ["80/tcp", "81/tcp", "82/tcp"]),
        ("0", ["0/tcp"]),
    ],
)
def test_expose(text: str, expected: list[str]) -> None:
    assert parse_expose(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x",
            "invalid range format for --expose: x, error: "
            'strconv.ParseUint: parsing "x": invalid syntax',
        ),
        (
            "80-79",
            "invalid range format for --expose: 80-79, error: "
            "invalid range specified for port: 80-79",
        ),
        (
            "",
            "invalid range format for --expose: , error: empty string specified for ports",
        ),
        (
            "70000",
            "invalid range format for --expose: 70000, error: "
            'strconv.ParseUint: parsing "70000": value out of range',
        ),
        ("1:2", "invalid port format for --expose: 1:2"),
    ],
)
def test_expose_refuses_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{re.escape(message)}$"):
        parse_expose(text)


def test_wanted_ports_are_the_bindings() -> None:
    found = wanted_ports(
        {
            "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "::1", "HostPort": ""}],
            "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "0"}],
            "81": None,
        },
        ["82/tcp"],
    )
    assert [tuple(item.values()) for item in found] == [
        (80, "tcp", "", "8080"),
        (80, "tcp", "::1", ""),
        (53, "udp", "127.0.0.1", ""),
        (81, "tcp", "", ""),
    ]


def test_publish_all_adds_what_is_exposed_and_has_no_binding() -> None:
    found = wanted_ports(
        {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        ["80/tcp", "81/tcp", "53/UDP"],
        publish_all=True,
    )
    assert [(item["container_port"], item["protocol"], item["host_port"]) for item in found] == [
        (80, "tcp", "8080"),
        (81, "tcp", ""),
        (53, "udp", ""),
    ]


@pytest.mark.parametrize(
    ("key", "binding"),
    [
        ("x/tcp", {}),
        ("80/xyz", {}),
        ("70000/tcp", {}),
        ("80/tcp", {"HostPort": "x"}),
        ("80/tcp", {"HostPort": "70000"}),
        ("80/tcp", {"HostIp": "nonsense"}),
    ],
)
def test_impossible_bindings_are_refused(key: str, binding: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        wanted_ports({key: [binding]})


def test_no_bindings() -> None:
    assert wanted_ports(None) == []
    assert wanted_ports({}, ["80/tcp"]) == []
