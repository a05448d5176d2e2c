"""Legacy links: their grammar and the variables that they bring."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jubako.containers import links
from jubako.errors import InvalidArgument


def link(alias: str, address: str = "172.17.0.3", name: str = "db", **config: Any) -> links.Link:
    record = {"Config": {"Hostname": "dbhost", "Env": None, **config}}
    child: Any = SimpleNamespace(name=name, record=record)
    return links.Link(child, alias, address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db", ("db", "db")),
        ("db:alias", ("db", "alias")),
        ("/db:/web/alias", ("db", "alias")),  # as inspect shows it
    ],
)
def test_parse(text: str, expected: tuple[str, str]) -> None:
    assert links.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "empty string specified for links"), ("a:b:c", "bad format for links: a:b:c")],
)
def test_bad_links(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        links.parse(text)


def test_names_in_the_hosts_file() -> None:
    assert link("alias").host_names() == "alias dbhost db"
    assert link("db").host_names() == "db dbhost"


def test_variables_as_docker_has_them() -> None:
    """Compared with a real Docker; ports in a row are bundled in addition."""
    ports: dict[str, Any] = {
        "5432/tcp": {},
        "53/udp": {},
        "7000/tcp": {},
        "7001/tcp": {},
        "7002/tcp": {},
    }
    one = link("al-ias", ExposedPorts=ports, Env=["A=1", "PASS=x y", "PATH=/bin", "HOME=/", "B"])
    found = dict(entry.split("=", 1) for entry in links.environment("web", [one]))
    expected = {
        "AL_IAS_PORT": "udp://172.17.0.3:53",
        "AL_IAS_NAME": "/web/al-ias",
        "AL_IAS_ENV_A": "1",
        "AL_IAS_ENV_PASS": "x y",
        "AL_IAS_PORT_7000_TCP_START": "tcp://172.17.0.3:7000",
        "AL_IAS_PORT_7000_TCP_PORT_START": "7000",
        "AL_IAS_PORT_7000_TCP_END": "tcp://172.17.0.3:7002",
        "AL_IAS_PORT_7000_TCP_PORT_END": "7002",
    }
    for port in ports:
        number, protocol = port.split("/")
        name = f"AL_IAS_PORT_{number}_{protocol.upper()}"
        expected[name] = f"{protocol}://172.17.0.3:{number}"
        expected[f"{name}_ADDR"] = "172.17.0.3"
        expected[f"{name}_PORT"] = number
        expected[f"{name}_PROTO"] = protocol
    assert found == expected


def test_a_container_without_ports() -> None:
    assert links.environment("web", [link("db")]) == ["DB_NAME=/web/db"]
