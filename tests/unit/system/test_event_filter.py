"""Which events a filter lets pass: moby's rules, each seen on a real Docker."""

from __future__ import annotations

from typing import Any

import pytest

from jubako.system.event_filter import EventFilter

CONTAINER = "079113b843636a14f91dd42c155afbf26dfb07608db94d81b9dc4d4251c40505"
NETWORK = "12d156e1e2158498752e4e85fc871b377bfba813c78abb587bc9e2cad1b18309"
IMAGE = "sha256:e508afb1e9d6edd75ea7008b783dc9401e1f740f652a55fb63ddc07c6efe40f0"


def _message(kind: str, action: str, actor: str, **attributes: str) -> dict[str, Any]:
    return {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": actor, "Attributes": attributes},
        "scope": "local",
    }


START = _message("container", "start", CONTAINER, image="web:1", name="front", a="b")
EXEC = _message("container", "exec_start: ls -l", CONTAINER, image="web:1", name="front")
HEALTH = _message("container", "health_status: healthy", CONTAINER, image="web:1", name="front")
CONNECT = _message("network", "connect", NETWORK, container=CONTAINER, name="bridge", type="bridge")
TAG = _message("image", "tag", IMAGE, name="web:1")
VOLUME = _message("volume", "create", "data", driver="local")
ALL = (START, EXEC, HEALTH, CONNECT, TAG, VOLUME)


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({}, ALL),
        ({"type": ["container"]}, (START, EXEC, HEALTH)),
        ({"type": ["image", "volume"]}, (TAG, VOLUME)),
        ({"event": ["start"]}, (START,)),
        ({"event": ["exec_start"]}, (EXEC,)),
        ({"event": ["exec_start: ls -l"]}, (EXEC,)),
        ({"event": ["health_status"]}, (HEALTH,)),
        ({"event": ["health"]}, ()),
        ({"event": ["exec_die", "tag"]}, (TAG,)),
        ({"container": ["front"]}, (START, EXEC, HEALTH)),
        ({"container": ["fro"]}, (START, EXEC, HEALTH)),
        ({"container": [CONTAINER[:12]]}, (START, EXEC, HEALTH)),
        ({"container": ["ront"]}, ()),
        ({"network": ["bridge"]}, (CONNECT,)),
        ({"volume": ["data"]}, (VOLUME,)),
        ({"container": ["front"], "event": ["start"]}, (START,)),
        ({"image": ["web"]}, (START, EXEC, HEALTH, TAG)),
        ({"image": ["web:1"]}, (START, EXEC, HEALTH, TAG)),
        ({"image": [IMAGE]}, (TAG,)),
        ({"image": ["we"]}, ()),
        ({"label": ["a"]}, (START,)),
        ({"label": ["a=b"]}, (START,)),
        ({"label": ["a=c"]}, ()),
        ({"label": ["a", "name=front"]}, (START,)),
        ({"scope": ["local"]}, ALL),
        ({"scope": ["swarm"]}, ()),
        ({"daemon": ["x"]}, ()),
        ({"node": ["x"]}, ()),
        ({"unknown": ["x"]}, ALL),
    ],
)
def test_filters(filters: dict[str, list[str]], wanted: tuple[dict[str, Any], ...]) -> None:
    chosen = EventFilter(filters)
    assert [message for message in ALL if chosen.includes(message)] == list(wanted)
