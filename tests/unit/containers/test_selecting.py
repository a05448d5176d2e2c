"""`ps --filter`: moby's rules, each seen on a real Docker; and rows that are read in part."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jubako.containers.selecting import Filters
from jubako.containers.table import ContainerTable
from jubako.errors import InvalidArgument, NotFound
from jubako.store import Store

PORTS = {"82/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18998"}], "90/udp": None}
ROWS: tuple[tuple[str, str, str, int, dict[str, Any]], ...] = (
    ("made", "base", "created", 0, {}),
    ("done", "child", "exited", 3, {}),
    ("busy", "base", "running", 0, {"NetworkID": "ab12", "Ports": PORTS}),
)


@pytest.fixture
def services(tmp_path: Path) -> Any:
    """`made` was created, `done` has exited, `busy` runs with a published port and a volume.

    Image `child` was made from `base`.
    """
    store = Store(str(tmp_path))
    with store.transaction() as db:
        for image, parent in (("base", None), ("child", "base")):
            db.execute(
                "INSERT INTO images (id, parent, created, size_bytes, config, last_used_ns)"
                " VALUES (?, ?, '', 0, '{}', 0)",
                (image, parent),
            )
        for number, (name, image, status, code, endpoint) in enumerate(ROWS):
            record = {
                "Id": f"{number}c" + "0" * 62,
                "Name": name,
                "ImageRef": image,
                "ImageId": image,
                "Path": "true",
                "Args": [],
                "Mounts": [{"Name": "vol", "Source": "/v", "Destination": "/d"}]
                if name == "busy"
                else [],
                "Config": {"Labels": {"a": "b"}, "ExposedPorts": {"81/tcp": {}}},
                "HostConfig": {"NetworkMode": "default", "Binds": ["not shown"]},
            }
            db.execute(
                "INSERT INTO containers (id, name, image_id, created_ns, record, status,"
                " exit_code, endpoint, health) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record["Id"],
                    name,
                    image,
                    number,
                    json.dumps(record),
                    status,
                    code,
                    json.dumps(endpoint),
                    '{"Status": "healthy"}' if name == "busy" else "",
                ),
            )

    def resolve(reference: str) -> str:
        if reference not in ("base", "child"):
            raise NotFound(reference)
        return reference

    images = SimpleNamespace(resolve=resolve)
    return SimpleNamespace(store=store, table=ContainerTable(store), images=images)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, "busy done made"),
        ({"name": ["a"]}, "made"),
        ({"name": ["^/bu"]}, "busy"),
        ({"name": ["["]}, ""),
        ({"id": ["1c"]}, "done"),
        ({"id": ["c"]}, ""),
        ({"status": ["created", "exited"]}, "done made"),
        ({"exited": ["3"]}, "done"),
        ({"exited": ["0"]}, ""),
        ({"health": ["none"]}, "done made"),
        ({"health": ["healthy"]}, "busy"),
        ({"label": ["a"]}, "busy done made"),
        ({"label": ["a=b", "c"]}, ""),
        ({"network": ["bridge"]}, "busy done made"),
        ({"network": ["ab"]}, "busy"),
        ({"network": ["other"]}, ""),
        ({"volume": ["vol"]}, "busy"),
        ({"volume": ["/d"]}, "busy"),
        ({"volume": ["/v"]}, ""),
        ({"publish": ["18998"]}, "busy"),
        ({"publish": ["82"]}, ""),
        ({"publish": ["18990-18999/tcp"]}, "busy"),
        ({"publish": ["18998/udp"]}, ""),
        ({"expose": ["82"]}, "busy"),
        ({"expose": ["90/udp"]}, "busy"),
        ({"expose": ["81"]}, "busy"),
        ({"before": ["done"]}, "made"),
        ({"since": ["done"]}, "busy"),
        ({"ancestor": ["base"]}, "busy done made"),
        ({"ancestor": ["child"]}, "done"),
        ({"ancestor": ["none", "child"]}, "done"),
        ({"ancestor": ["none"]}, ""),
        ({"is-task": ["false"]}, "busy done made"),
        ({"is-task": ["1"]}, ""),
        ({"isolation": ["x"]}, "busy done made"),
        ({"status": ["running"], "ancestor": ["child"]}, ""),
    ],
)
def test_filters(services: Any, filters: dict[str, list[str]], names: str) -> None:
    chosen = Filters(services, filters)
    for rows in (services.table.all(), services.table.listed(stopped=True)):
        assert " ".join(row.name for row in rows if chosen.matches(row)) == names


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"foo": ["x"]}, "invalid filter 'foo'"),
        ({"status": ["bla"]}, "invalid filter 'status=bla'"),
        (
            {"exited": ["x"]},
            "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        ({"health": ["bla"]}, "unrecognized filter value for health: bla"),
        ({"is-task": ["bla"]}, "invalid filter 'is-task=[bla]'"),
        (
            {"publish": ["bla"]},
            'error while looking up for publish bla: strconv.ParseUint: parsing "bla": '
            "invalid syntax",
        ),
        (
            {"expose": ["99999"]},
            'error while looking up for expose 99999: strconv.ParseUint: parsing "99999": '
            "value out of range",
        ),
        ({"expose": ["3-1"]}, "invalid range specified for port: 3-1"),
        ({"publish": ["1/foo"]}, "invalid proto: foo"),
    ],
)
def test_refused(services: Any, filters: dict[str, list[str]], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Filters(services, filters)
    assert words in str(caught.value)


def test_bounds_must_be_there(services: Any) -> None:
    with pytest.raises(NotFound, match="No such container: nonex"):
        Filters(services, {"before": ["nonex"]})


def test_only_a_status_wants_to_see_what_is_stopped(services: Any) -> None:
    assert Filters(services, {"status": ["created"]}).wants_stopped
    assert not Filters(services, {"exited": ["0"]}).wants_stopped
    assert [row.name for row in services.table.listed(stopped=False)] == ["busy"]


def test_a_listed_row_has_what_is_shown(services: Any) -> None:
    from jubako.containers.listing import summarize

    def summaries(rows: Any) -> list[dict[str, Any]]:
        return [summarize(services, row, size=False) for row in rows]

    assert summaries(services.table.listed(stopped=True)) == summaries(services.table.all())
