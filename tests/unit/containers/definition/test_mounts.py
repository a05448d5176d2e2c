"""Which mounts a container gets, and what happens to its volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jubako.containers.definition import config
from jubako.containers.definition.mounts import resolve_mounts
from jubako.errors import InvalidArgument, NotFound
from jubako.store import Store
from jubako.volumes import VolumeService


class Resolver:
    """Creates containers, as far as their mounts go."""

    def __init__(self, root: Path):
        self.volumes = VolumeService(Store(str(root)))
        self.records: dict[str, Any] = {}

    def __call__(
        self, name: str, host: dict[str, Any] | None = None, **request: Any
    ) -> list[dict[str, Any]]:
        merged, merged_host, _ = config.merge({"Cmd": ["x"], **request}, host or {}, None)
        points = resolve_mounts(name, merged, merged_host, self.volumes, self._other, self._image)
        self.records[name] = {"Id": name, "Mounts": points}
        return [dict(point) for point in points]

    def _other(self, reference: str) -> Any:
        try:
            return self.records[reference]
        except KeyError:
            raise NotFound(f"No such container: {reference}") from None

    @staticmethod
    def _image(reference: str) -> str:
        return f"id-of-{reference}"

    def names(self) -> list[str]:
        return [volume["Name"] for volume in self.volumes.list()]


@pytest.fixture
def resolve(tmp_path: Path) -> Resolver:
    return Resolver(tmp_path / "root")


def brief(points: list[dict[str, Any]]) -> dict[str, tuple[str, bool]]:
    return {point["Destination"]: (point["Type"], point["RW"]) for point in points}


def test_every_kind(resolve: Resolver, tmp_path: Path) -> None:
    points = resolve(
        "c",
        {
            "Binds": ["data:/v", f"{tmp_path}:/b:ro"],
            "Mounts": [
                {"Type": "tmpfs", "Target": "/t"},
                {"Type": "volume", "Source": "more", "Target": "/m", "ReadOnly": True,
                 "VolumeOptions": {"Labels": {"x": "y"}, "NoCopy": True}},
                {"Type": "volume", "Target": "/anon"},
            ],
            "Tmpfs": {"/run": ""},
        },
        Volumes={"/image": {}, "/v": {}, "/run": {}},
    )  # fmt: skip
    assert brief(points) == {
        "/v": ("volume", True),
        "/b": ("bind", False),
        "/t": ("tmpfs", True),
        "/m": ("volume", False),
        "/anon": ("volume", True),
        "/image": ("volume", True),
    }
    by_target = {point["Destination"]: point for point in points}
    named = by_target["/v"]
    assert (named["Name"], named["Driver"], named["Mode"]) == ("data", "local", "z")
    assert named["Source"] == f"{tmp_path}/root/volumes/data/_data"
    assert named["CopyData"] and not named.get("Anonymous")
    assert not by_target["/m"]["CopyData"]
    assert by_target["/image"]["Anonymous"] and by_target["/image"]["Mode"] == ""
    assert by_target["/anon"]["Anonymous"] and by_target["/anon"]["Mode"] == "z"
    assert resolve.volumes.inspect("more")["Labels"] == {"x": "y"}
    assert len(resolve.volumes.used_by("c")) == 4 == len(resolve.names())


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["aa:/v", "bb:/v"]},
        {"Binds": ["aa:/v", "bb:/v/"]},
        {"Binds": ["aa:/v"], "Tmpfs": {"/v": ""}},
        {"Binds": ["aa:/v"], "Mounts": [{"Type": "tmpfs", "Target": "/v"}]},
    ],
)
def test_two_mounts_at_one_place(resolve: Resolver, host: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="^Duplicate mount point: /v$"):
        resolve("c", host)
    assert resolve.volumes.used_by("c") == []


def test_failure_leaves_no_volume_of_this_container(resolve: Resolver) -> None:
    with pytest.raises(InvalidArgument):
        resolve("c", {"Mounts": [{"Type": "volume", "Target": "/a"}, {"Type": "x"}]})
    assert resolve.names() == [] and resolve.volumes.used_by("c") == []


def test_volumes_from(resolve: Resolver) -> None:
    theirs = resolve("one", {"Binds": ["data:/v", "/tmp:/b:ro"]}, Volumes={"/anon": {}})
    points = resolve("two", {"VolumesFrom": ["one:ro"]})
    assert brief(points) == {
        "/v": ("volume", False),
        "/b": ("bind", False),
        "/anon": ("volume", False),
    }
    assert not any(point.get("CopyData") or point.get("Anonymous") for point in points)
    anonymous = next(point["Name"] for point in theirs if point["Destination"] == "/anon")
    assert resolve.volumes.users(anonymous) == ["one", "two"]
    assert brief(resolve("three", {"VolumesFrom": ["two:rw"]}))["/v"] == ("volume", False)


def test_own_mounts_win_over_those_of_others(resolve: Resolver) -> None:
    resolve("one", {"Binds": ["data:/v", "keep:/k"]})
    points = resolve("two", {"VolumesFrom": ["one"], "Binds": ["/tmp:/v"]}, Volumes={"/k": {}})
    assert brief(points) == {"/v": ("bind", True), "/k": ("volume", True)}
    assert resolve.volumes.used_by("two") == ["keep"]


@pytest.mark.parametrize(
    ("reference", "error"),
    [("nope", "^No such container: nope$"), ("one:zz", "^invalid mode: zz$")],
)
def test_bad_volumes_from(resolve: Resolver, reference: str, error: str) -> None:
    resolve("one")
    with pytest.raises((NotFound, InvalidArgument), match=error):
        resolve("two", {"VolumesFrom": [reference]})


def test_volume_of_another_driver(resolve: Resolver) -> None:
    with pytest.raises(NotFound, match="error looking up volume plugin other"):
        resolve("c", {"Binds": ["data:/v"], "VolumeDriver": "other"})


def test_image_volume_at_the_root_is_refused(resolve: Resolver) -> None:
    with pytest.raises(InvalidArgument, match="destination can't be '/'"):
        resolve("c", Volumes={"/": {}})


def test_the_files_of_an_image(resolve: Resolver) -> None:
    mount = {"Type": "image", "Source": "busybox", "Target": "/i", "ReadOnly": False}
    (point,) = resolve("c", {"Mounts": [mount]})
    assert (point["RW"], point["Source"], point["ImageId"]) == (False, "busybox", "id-of-busybox")
    assert resolve.names() == []


def test_a_volume_that_has_an_owner_keeps_it(resolve: Resolver) -> None:
    resolve.volumes.create("mine", uid=33, mode=0o2770)
    mine, other = resolve("c", {"Binds": ["mine:/m:U", "other:/o"]})
    assert (mine.get("KeepOwner"), mine.get("Chown")) == (True, True)
    assert (other.get("KeepOwner"), other.get("Chown")) == (None, None)
