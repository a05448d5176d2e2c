"""`idmap=` of a mount, in Podman's syntax."""

from __future__ import annotations

import pytest

from jubako.containers.definition import idmaps
from jubako.errors import InvalidArgument


def test_ranges() -> None:
    uids, gids = idmaps.parse("uids=0-1000-1#10-11-10;gids=0-100-10")
    assert uids == [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 10, "hostID": 11, "size": 10},
    ]
    assert gids == [{"containerID": 0, "hostID": 100, "size": 10}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "uids=0-1000-1",
        "gids=0-1000-1",
        "uids=0-1-1;uids=0-1-1",
        "uids=0-1;gids=0-1-1",
        "uids=0-1-0;gids=0-1-1",
        "uids=a-1-1;gids=0-1-1",
        "uids=0-4294967295-1;gids=0-1-1",
        "uids=@0-1-1;gids=0-1-1",
        "uids=" + "#".join(["0-1-1"] * 341) + ";gids=0-1-1",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="^invalid idmap"):
        idmaps.parse(text)
