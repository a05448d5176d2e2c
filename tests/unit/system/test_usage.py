"""What takes how much space: a layer counts once, what a container needs does not come back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jubako.errors import InvalidArgument
from jubako.images import ImageService
from jubako.store import Store
from jubako.system import usage
from jubako.system.cleaning import prune
from tests.fixtures import engine_api


class _Listed:
    """A service that lists what it was given."""

    def __init__(self, objects: list[dict[str, Any]]):
        self._objects = objects

    def list(self, **_: object) -> list[dict[str, Any]]:
        return self._objects


def _services(path: Path) -> Any:
    """Images a (layers base, one) and b (base, two); a container of a; volumes used and unused."""
    store = Store(str(path))
    with store.transaction() as db:
        for name, size in (("base", 100), ("one", 10), ("two", 1)):
            db.execute(
                "INSERT INTO layers (diff_id, driver, size_bytes, tar_bytes)"
                " VALUES (?, 'overlay', ?, 0)",
                (name, size),
            )
        for image, layer in (("a", "one"), ("b", "two")):
            db.execute(
                "INSERT INTO images (id, created, size_bytes, config, last_used_ns)"
                " VALUES (?, '', 0, '{}', 0)",
                (image,),
            )
            for position, name in enumerate(("base", layer)):
                db.execute("INSERT INTO image_layers VALUES (?, ?, ?)", (image, position, name))
        db.execute(
            "INSERT INTO containers (id, name, image_id, created_ns, record, status)"
            " VALUES ('c', 'c', 'a', 0, '{}', 'exited')"
        )
    volumes = [
        {"Name": "used", "UsageData": {"RefCount": 1, "Size": 5}},
        {"Name": "free", "UsageData": {"RefCount": 0, "Size": 7}},
        {"Name": "nfs", "UsageData": {"RefCount": 0, "Size": -1}},
    ]
    return SimpleNamespace(store=store, images=ImageService(store), volumes=_Listed(volumes))


def test_disk_usage(tmp_path: Path) -> None:
    containers: Any = _Listed(
        [{"State": "running", "SizeRw": 20}, {"State": "exited", "SizeRw": 30}]
    )
    found = usage.disk_usage(_services(tmp_path), containers)
    assert found["LayersSize"] == 111
    assert [(image["SharedSize"], image["Containers"]) for image in found["Images"]] == [
        (100, 1),
        (100, 0),
    ]

    def summary(key: str) -> tuple[int, ...]:
        return tuple(
            found[key][name] for name in ("TotalCount", "ActiveCount", "TotalSize", "Reclaimable")
        )

    assert summary("ImageUsage") == (2, 1, 111, 1)
    assert summary("ContainerUsage") == (2, 1, 50, 30)
    assert summary("VolumeUsage") == (3, 1, 12, 7)
    assert summary("BuildCacheUsage") == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("filters", "volumes", "words"),
    [
        ({"foo": ["x"]}, False, "invalid filter 'foo'"),
        ({"until": ["1h"]}, True, 'The "until" filter is not supported with "--volumes"'),
    ],
)
def test_a_wrong_prune_removes_nothing(
    filters: dict[str, list[str]], volumes: bool, words: str
) -> None:
    nothing: Any = None
    with pytest.raises(InvalidArgument, match=words):
        prune(nothing, nothing, filters, all_images=False, volumes=volumes)


def test_info_is_that_of_the_engine_api(tmp_path: Path) -> None:
    from jubako import Engine

    with Engine(str(tmp_path)) as engine:
        found = engine.system.info()
    engine_api.check(_with_lists(found), "definitions", "SystemInfo")


def _with_lists(value: Any) -> Any:
    """Docker writes a list that nobody set as null, which its description does not know."""
    if isinstance(value, dict):
        return {key: _with_lists(one) for key, one in value.items()}
    return [] if value is None else value
