"""Volumes: what exists, who uses it, what a crash leaves; sentences of a real Docker 26.1."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from jubako.errors import Conflict, InvalidArgument, NotFound
from jubako.store import Store
from jubako.volumes import VolumeService


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeService:
    return VolumeService(Store(str(tmp_path / "root")))


def test_create_and_inspect(volumes: VolumeService, tmp_path: Path) -> None:
    made = volumes.create("data", labels={"a": "b"})
    path = f"{tmp_path}/root/volumes/data/_data"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made.pop("CreatedAt"))
    assert made == {
        "Driver": "local",
        "Labels": {"a": "b"},
        "Mountpoint": path,
        "Name": "data",
        "Options": None,
        "Scope": "local",
    }
    assert list(volumes.inspect("data")) == [
        "CreatedAt",
        "Driver",
        "Labels",
        "Mountpoint",
        "Name",
        "Options",
        "Scope",
    ]
    assert os.stat(path).st_mode & 0o777 == 0o755
    assert os.stat(f"{tmp_path}/root/volumes/data").st_mode & 0o777 == 0o700


def test_create_again_changes_nothing(volumes: VolumeService) -> None:
    first = volumes.create("data", labels={"a": "b"})
    Path(first["Mountpoint"], "file").write_text("kept")
    assert volumes.create("data", labels={"c": "d"}) == first
    assert Path(first["Mountpoint"], "file").read_text() == "kept"


def test_anonymous(volumes: VolumeService) -> None:
    made = volumes.create()
    assert re.fullmatch("[0-9a-f]{64}", made["Name"])
    assert made["Labels"] == {"com.docker.volume.anonymous": ""}
    assert volumes.create("")["Name"] != made["Name"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x", "create x: volume name is too short, names should be at least two alphanumeric "
              "characters"),
        ("d v", 'create d v: "d v" includes invalid characters for a local volume name, only '
                '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
                "directory, use absolute path"),
        ("../x", 'create ../x: "../x" includes invalid characters'),
        (".hidden", 'create .hidden: ".hidden" includes invalid characters'),
        ("a/b", 'create a/b: "a/b" includes invalid characters'),
        ("ab\n", 'create ab\n: "ab\n" includes invalid characters'),
        ("a" * 256, f"create {'a' * 20}...: volume name is over 255 characters"),
    ],
)  # fmt: skip
def test_bad_names(volumes: VolumeService, name: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        volumes.create(name)
    assert str(caught.value).startswith(message)
    assert volumes.list() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": "bar"}, 'create ab: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create ab: missing required option: "device"'),
        ({"o": "ro"}, 'create ab: missing required option: "device"'),
        ({"device": "x"}, 'create ab: missing required option: "type"'),
        ({"size": "10m"}, "create ab: quota size requested but no quota support"),
    ],
)
def test_bad_options(volumes: VolumeService, options: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        volumes.create("ab", options=options)
    assert str(caught.value) == message
    assert not volumes.exists("ab")


def test_unknown_driver(volumes: VolumeService) -> None:
    with pytest.raises(NotFound) as caught:
        volumes.create("ab", driver="other")
    assert str(caught.value) == (
        'create ab: error looking up volume plugin other: plugin "other" not found'
    )


def test_uses_keep_a_volume(volumes: VolumeService) -> None:
    volumes.create("data", container_id="c1")
    volumes.use("data", "c2")
    volumes.use("data", "c2")
    assert volumes.users("data") == ["c1", "c2"] and volumes.used_by("c1") == ["data"]
    with pytest.raises(Conflict) as caught:
        volumes.remove("data", force=True)
    assert str(caught.value) == "remove data: volume is in use - [c1, c2]"
    assert not volumes.remove_if_unused("data")
    assert volumes.release("c1") == []
    assert volumes.release("c1") == []
    volumes.release("c2")
    volumes.remove("data")
    assert not volumes.exists("data")


def test_release_tells_the_anonymous_ones(volumes: VolumeService) -> None:
    volumes.create("data", container_id="c")
    names = sorted(volumes.create(container_id="c")["Name"] for _ in range(2))
    assert volumes.release("c", names[:1]) == names[:1]
    assert volumes.release("c") == names[1:]


def test_a_failed_create_uses_nothing(volumes: VolumeService) -> None:
    with pytest.raises(InvalidArgument):
        volumes.create("a b", container_id="c")
    with pytest.raises(NotFound, match="^get nope: no such volume$"):
        volumes.use("nope", "c")
    assert volumes.used_by("c") == []


def test_remove(volumes: VolumeService) -> None:
    path = Path(volumes.create("data")["Mountpoint"])
    (path / "deep/er").mkdir(parents=True)
    (path / "deep/er/file").write_text("x")
    volumes.remove("data")
    assert os.listdir(path.parent.parent) == []
    with pytest.raises(NotFound, match="^get data: no such volume$"):
        volumes.remove("data")
    volumes.remove("data", force=True)
    assert not volumes.remove_if_unused("data")


def test_list_and_filters(volumes: VolumeService) -> None:
    volumes.create("web-data", labels={"env": "prod", "tier": "1"})
    volumes.create("db-data", labels={"env": "test"}, container_id="c")

    def names(**filters: list[str]) -> list[str]:
        return [volume["Name"] for volume in volumes.list(filters)]

    assert names() == ["db-data", "web-data"]
    assert names(name=["web"]) == ["web-data"]
    assert names(name=["^db", "nothing"]) == ["db-data"]
    assert names(name=["("]) == []
    assert names(label=["env"]) == ["db-data", "web-data"]
    assert names(label=["env=prod", "tier"]) == ["web-data"]
    assert names(label=["env=prod", "nope"]) == []
    assert names(dangling=["true"]) == ["web-data"]
    assert names(dangling=["0"]) == ["db-data"]
    assert names(driver=["local"]) == ["db-data", "web-data"]
    assert names(driver=["other"]) == []


def test_bad_filters(volumes: VolumeService) -> None:
    with pytest.raises(InvalidArgument, match="^invalid filter 'foo'$"):
        volumes.list({"foo": ["bar"]})
    with pytest.raises(InvalidArgument) as caught:
        volumes.list({"dangling": ["maybe"]})
    assert str(caught.value) == "invalid filter 'dangling=[maybe]'"
    with pytest.raises(InvalidArgument, match="^invalid filter 'name'$"):
        volumes.prune({"name": ["x"]})


def test_prune_takes_anonymous_volumes_only(volumes: VolumeService) -> None:
    volumes.create("named")
    used = volumes.create(container_id="c")["Name"]
    loose = volumes.create()
    Path(loose["Mountpoint"], "file").write_bytes(b"x" * 1000)
    assert volumes.prune() == ([loose["Name"]], 1000)
    assert {volume["Name"] for volume in volumes.list()} == {"named", used}


def test_prune_all_and_labels(volumes: VolumeService) -> None:
    volumes.create("keep", labels={"keep": "yes"})
    volumes.create("other", labels={"x": "y"})
    volumes.create("mounted", options={"type": "tmpfs", "device": "tmpfs"})
    assert volumes.prune({"label!": ["keep"], "all": ["true"]}) == (["other"], 0)
    assert volumes.prune({"label": ["keep=no"]}, all_unused=True) == ([], 0)
    assert volumes.prune(all_unused=True) == (["keep"], 0)
    assert [volume["Name"] for volume in volumes.list()] == ["mounted"]


def test_options_of_an_owner(volumes: VolumeService) -> None:
    uid, gid = os.getuid(), os.getgid()
    made = volumes.create("mine", uid=uid, gid=gid, mode=0o2750)
    assert made["Options"] == {"uid": str(uid), "gid": str(gid), "mode": "2750"}
    assert os.stat(made["Mountpoint"]).st_mode & 0o7777 == 0o2750
    assert volumes.create("mine", mode=0o700) == made  # it is there: nothing changes
    assert volumes.inspect("mine", size=True)["UsageData"]["Size"] == 0
    assert volumes.prune(all_unused=True) == (["mine"], 0)
    for bad in ({"uid": -1}, {"gid": 1 << 32}, {"mode": 0o10000}):
        with pytest.raises(InvalidArgument, match="must be in range"):
            volumes.create("bad", **bad)  # type: ignore[arg-type]  # the keys differ in each case
    with pytest.raises(InvalidArgument, match="an owner cannot be set with driver options"):
        volumes.create("bad", uid=1, options={"type": "tmpfs", "device": "tmpfs"})
    assert volumes.list() == []


def test_size(volumes: VolumeService) -> None:
    path = Path(volumes.create("data")["Mountpoint"])
    (path / "sub").mkdir()
    (path / "one").write_bytes(b"x" * 100)
    os.link(path / "one", path / "sub/two")
    (path / "sub/three").write_bytes(b"x" * 7)
    usage = volumes.inspect("data", size=True)["UsageData"]
    assert usage == {"RefCount": 0, "Size": 107}
    volumes.create("far", options={"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4"})
    assert volumes.inspect("far", size=True)["UsageData"]["Size"] == -1


def test_a_lost_directory_is_made_again(volumes: VolumeService) -> None:
    path = Path(volumes.create("data")["Mountpoint"])
    path.rmdir()
    assert volumes.path("data") == str(path) and path.is_dir()
    path.rmdir()
    path.parent.rmdir()
    assert volumes.path("data") == str(path) and path.is_dir()
    with pytest.raises(NotFound, match="^get nope: no such volume$"):
        volumes.path("nope")


def test_content_without_a_row_is_adopted_not_deleted(
    volumes: VolumeService, tmp_path: Path
) -> None:
    path = tmp_path / "root/volumes/data/_data"
    path.mkdir(parents=True)
    (path / "file").write_text("kept")
    volumes.create("data")
    assert (path / "file").read_text() == "kept"


def test_sweep_deletes_leftovers(volumes: VolumeService, tmp_path: Path) -> None:
    volumes.create("data")
    for name in (".gone-1", ".new-1"):
        (tmp_path / "root/volumes" / name / "_data/x").mkdir(parents=True)
    volumes.sweep()
    assert os.listdir(tmp_path / "root/volumes") == ["data"]


def test_sweep_without_any_volume(volumes: VolumeService) -> None:
    volumes.sweep()


@pytest.mark.parametrize("at", ["volumes.create.directory", "volumes.remove.moved"])
def test_killed_in_the_middle(
    volumes: VolumeService, tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed volume's content never comes back, and the name can be used again."""
    if "remove" in at:
        Path(volumes.create("data")["Mountpoint"], "old").touch()
    monkeypatch.setattr("jubako.store.faults._armed", {at: 1})
    pid = os.fork()
    if pid == 0:
        try:
            own = VolumeService(Store(str(tmp_path / "root")))
            own.create("data") if "create" in at else own.remove("data")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    monkeypatch.undo()
    after = VolumeService(Store(str(tmp_path / "root")))
    path = Path(after.create("data")["Mountpoint"])
    assert list(path.iterdir()) == []
    assert after.path("data") == str(path)
    after.remove("data")
    after.sweep()
    assert os.listdir(tmp_path / "root/volumes") == []


def test_discard_takes_anonymous_volumes_with_their_last_use(
    volumes: VolumeService, tmp_path: Path
) -> None:
    named = volumes.create("data", container_id="a")["Name"]
    shared = volumes.create(container_id="a")["Name"]
    own = volumes.create(container_id="a")["Name"]
    volumes.use(shared, "b")
    volumes.discard("a")
    assert {volume["Name"] for volume in volumes.list()} == {named, shared}
    assert volumes.users(named) == []
    assert volumes.users(shared) == ["b"]
    assert own not in os.listdir(tmp_path / "root/volumes")
    volumes.discard("a")  # idempotent


def test_sweep_deletes_unknown_directories_only_if_they_are_empty(
    volumes: VolumeService, tmp_path: Path
) -> None:
    volumes.create("data")
    root = tmp_path / "root/volumes"
    (root / "half-made/_data").mkdir(parents=True)
    (root / "saved/_data/file").mkdir(parents=True)
    volumes.sweep()
    assert sorted(os.listdir(root)) == ["data", "saved"]
    assert os.listdir(root / "saved/_data") == ["file"]
