"""Mounts of images, owners of what is mounted, and what the events say about volumes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import Conflict, ContainerFailed, InvalidArgument, JubakoError, NotFound
from jubako.linux import mount
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import OFF, directory, file, image_with, link


def run(engine: Engine, script: str, **more: Any) -> str:
    """The output of a shell script in a container without a network."""
    config = {"User": more.pop("User", "")}
    host: Any = {"NetworkMode": "none", **more}
    command = ["sh", "-ec", script]
    output = engine.containers.run("busybox", command, config=config, host_config=host)
    return output.decode()


def mounted(kind: str, source: str, **more: Any) -> dict[str, Any]:
    """Argument of `run`: one mount at /m."""
    return {"Mounts": [{"Type": kind, "Source": source, "Target": "/m", **more}]}


# --- images --------------------------------------------------------------------------------------


@pytest.fixture
def data_image(engine: Engine, busybox: str, busybox_tar: Path) -> str:
    members = [directory("data"), file("data/file", "content"), link("data/out", "/etc/passwd")]
    members += [link("escape", "/"), link("up", "../../..")]
    return image_with(engine, busybox_tar, members, name="data")


def test_the_files_of_an_image(engine: Engine, data_image: str) -> None:
    at = mounted("image", data_image)
    assert (
        run(engine, "cat /m/data/file; grep -c '/m overlay ro' /proc/mounts", **at) == "content1\n"
    )
    with pytest.raises(ContainerFailed) as failed:
        run(engine, "touch /m/new", **at)
    assert b"Read-only file system" in failed.value.stderr
    with pytest.raises(ContainerFailed):  # not even with the right to mount
        run(engine, "mount -o remount,rw /m", **at, Privileged=True)
    part = mounted("image", data_image, ImageOptions={"Subpath": "data"})
    assert run(engine, "ls /m", **part) == "file\nout\n"
    leaf = mounted("image", data_image, ImageOptions={"Subpath": "data/file"})
    assert run(engine, "cat /m", **leaf) == "content"
    both = {"Mounts": [*at["Mounts"], {**at["Mounts"][0], "Target": "/other"}]}
    assert run(engine, "cat /m/data/file /other/data/file", **both) == "content" * 2


@pytest.mark.parametrize(
    ("subpath", "message"),
    [
        ("none", "cannot access path .*: no such file or directory"),
        ("escape/etc", "Invalid cross-device link"),
        ("up", "Invalid cross-device link"),
        ("data/out", "Invalid cross-device link"),
        ("../x", "subpath must be a relative path within the volume"),
        ("/data", "subpath must be a relative path within the volume"),
    ],
)
def test_parts_of_an_image_that_lead_out(
    subpath: str, message: str, engine: Engine, data_image: str
) -> None:
    with pytest.raises(JubakoError, match=message):
        run(engine, "true", **mounted("image", data_image, ImageOptions={"Subpath": subpath}))
    assert engine.containers.list(all=True) == []


def test_an_image_that_is_mounted_stays(engine: Engine, jubako: Jubako, data_image: str) -> None:
    image_id = engine.images.resolve(data_image)
    option = f"type=image,src={data_image},dst=/m,image-subpath=data"
    jubako.ok("run", "-d", "--name", "box", *OFF, "--mount", option, "busybox", "sleep", "1000")
    short = image_id.removeprefix("sha256:")[:12]
    box = jubako.ok("ps", "-q")
    shown = json.loads(jubako.ok("inspect", "box"))[0]["Mounts"]
    assert shown == [{"Type": "image", "Source": data_image, "Destination": "/m", "Mode": "",
                      "RW": False, "Propagation": ""}]  # fmt: skip
    done = jubako("rmi", data_image)
    assert done.status == 1
    assert f"(must force) - container {box} is using its referenced image {short}" in done.stderr
    with pytest.raises(Conflict, match=f"image is being used by running container {box}"):
        engine.images.remove(image_id, force=True)
    assert engine.images.prune(all_unused=True)[0] == []
    jubako.ok("stop", "-t", "0", "box")
    with pytest.raises(Conflict, match=f"image is being used by stopped container {box}"):
        engine.images.remove(image_id)
    engine.images.remove(image_id, force=True)  # the name goes, the files with their last container
    jubako.ok("start", "box")
    assert jubako.ok("exec", "box", "cat", "/m/file") == "content"
    layers = engine.store.path + "/layers"
    before = len(os.listdir(layers))
    jubako.ok("rm", "-f", "box")
    assert len(os.listdir(layers)) == before - 1


def test_images_that_cannot_be_mounted(engine: Engine, jubako: Jubako, busybox: str) -> None:
    with pytest.raises(NotFound, match="No such image: none:latest"):
        run(engine, "true", **mounted("image", "none"))
    for kind in ("cluster", "npipe", "other"):
        with pytest.raises(InvalidArgument, match="mount type unknown"):
            run(engine, "true", **mounted(kind, "x"))
    with pytest.raises(InvalidArgument, match='config for type "image": field Source must not be'):
        run(engine, "true", **mounted("image", ""))
    with pytest.raises(InvalidArgument, match="field Chown must not be specified"):
        run(engine, "true", **mounted("image", busybox, Chown=True))
    assert engine.containers.list(all=True) == []


def test_others_get_the_mounts_of_images_too(
    engine: Engine, jubako: Jubako, data_image: str
) -> None:
    option = f"type=image,src={data_image},dst=/m"
    jubako.ok("create", "--name", "box", *OFF, "--mount", option, "busybox")
    out = jubako.ok("run", "--rm", *OFF, "--volumes-from", "box", "busybox", "cat", "/m/data/file")
    assert out == "content"
    engine.containers.copy_from("box", "/m/data/file", engine.store.path + "/../copied")
    assert Path(engine.store.path, "../copied").read_text() == "content"
    jubako.ok("rm", "box")


# --- owners --------------------------------------------------------------------------------------


def owners(path: Path) -> set[tuple[int, int]]:
    found = [path, *path.rglob("*")]
    return {(status.st_uid, status.st_gid) for status in map(os.lstat, found)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a link to a file outside, which must keep its owner."""
    path = tmp_path / "source"
    (path / "deep/er").mkdir(parents=True)
    (path / "deep/file").touch()
    (tmp_path / "outside").touch()
    (path / "link").symlink_to(tmp_path / "outside")
    return path


def test_a_source_is_given_to_the_user(
    engine: Engine, jubako: Jubako, busybox: str, source: Path
) -> None:
    run(engine, "touch /m/mine", Binds=[f"{source}:/m:U"], User="www-data")
    assert owners(source) == {(33, 33)}
    assert os.stat(source.parent / "outside").st_uid == 0
    run(engine, "touch /m/mine", **mounted("bind", str(source), Chown=True), User="1000:7")
    assert owners(source) == {(1000, 7)}
    for word in ("U", "U=true", "chown=true"):
        option = f"type=volume,src=box,dst=/m,{word}"
        jubako.ok("run", "--rm", *OFF, "-u", "5", "--mount", option, busybox, "touch", "/m/x")
        jubako.ok("run", "--rm", *OFF, "-v", "box:/m", busybox, "chown", "-R", "0:0", "/m")
    jubako.ok("run", "--rm", *OFF, "-u", "5", "-v", "box:/m:ro,U", busybox, "true")
    assert owners(Path(engine.volumes.inspect("box")["Mountpoint"])) == {(5, 0)}


def test_owners_of_a_part_and_of_a_file(engine: Engine, busybox: str, source: Path) -> None:
    data = Path(engine.volumes.create("box")["Mountpoint"])
    (data / "part").mkdir()
    (data / "rest").touch()
    part = mounted("volume", "box", Chown=True, VolumeOptions={"Subpath": "part"})
    run(engine, "touch /m/x", **part, User="8")
    assert owners(data / "part") == {(8, 8)} and os.stat(data / "rest").st_uid == 0
    run(engine, "echo x > /m", Binds=[f"{source}/deep/file:/m:U"], User="8")
    assert os.stat(source / "deep/file").st_uid == 8 and os.stat(source / "deep").st_uid == 0


def test_what_is_mounted_below_a_source_keeps_its_owner(
    engine: Engine, busybox: str, source: Path
) -> None:
    mount.mount("tests", str(source / "deep/er"), "tmpfs", 0)
    try:
        (source / "deep/er/file").touch()
        run(engine, "true", Binds=[f"{source}:/m:U"], User="33")
        assert os.stat(source / "deep/er/file").st_uid == 0
        assert os.stat(source / "deep/file").st_uid == 33
    finally:
        mount.umount2(str(source / "deep/er"))


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/../usr", "/tmp"])
def test_directories_of_the_system_keep_their_owner(
    path: str, engine: Engine, busybox: str
) -> None:
    with pytest.raises(InvalidArgument, match="chowning host path .* is not allowed") as refused:
        run(engine, "true", Binds=[f"{path}:/m:U"], User="33")
    assert refused.value.hint is not None and refused.value.hint.startswith("chown -R 33:33 /")
    assert os.stat(path).st_uid == 0


def test_other_owners_inside(engine: Engine, jubako: Jubako, busybox: str, source: Path) -> None:
    os.chown(source / "deep/file", 1000, 1000)
    text = "uids=0-100-1#1000-5-1;gids=0-100-1#1000-6-1"
    script = "stat -c '%u %g' /m /m/deep/file; echo x > /m/deep/file"
    out = run(engine, script, **mounted("bind", str(source), IDMap=text), User="5:6")
    assert out == "100 100\n5 6\n"
    assert (source / "deep/file").read_text() == "x\n"


def test_what_is_made_inside_belongs_to_the_other_owner(
    engine: Engine, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    """moby#21738: root in the container, somebody else on the host."""
    source = tmp_path / "mine"
    source.mkdir()
    os.chown(source, 1000, 1000)
    option = f"type=bind,src={source},dst=/m,idmap=uids=1000-0-1;gids=1000-0-1"
    script = "touch /m/new; stat -c %u /m /m/new"
    out = jubako.ok("run", "--rm", *OFF, "--mount", option, busybox, "sh", "-c", script)
    assert out == "0\n0"
    assert owners(source) == {(1000, 1000)}


def test_a_file_system_that_cannot_map_owners(engine: Engine, busybox: str, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    data = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
    mount.mount("overlay", f"{tmp_path}/merged", "overlay", 0, data)
    try:
        ids = mounted("bind", f"{tmp_path}/merged", IDMap="uids=0-1-1;gids=0-1-1")
        with pytest.raises(JubakoError, match="map IDs of .*/merged: Invalid argument") as refused:
            run(engine, "true", **ids)
        assert refused.value.hint is not None and "overlayfs cannot" in refused.value.hint
    finally:
        mount.umount2(f"{tmp_path}/merged")


def test_a_volume_with_an_owner(engine: Engine, jubako: Jubako, busybox: str) -> None:
    command = ("volume", "create", "--uid", "33", "--gid", "44", "--mode", "2770", "mine")
    assert jubako.ok(*command) == "mine"
    script = "stat -c '%u %g %a' /etc; touch /etc/x"
    out = run(engine, script, Binds=["mine:/etc"], User="33")  # an image fills it
    assert out == "33 44 2770\n"
    shown = engine.volumes.inspect("mine")
    assert shown["Options"] == {"uid": "33", "gid": "44", "mode": "2770"}
    assert {"passwd", "x"} <= set(os.listdir(shown["Mountpoint"]))
    assert jubako("volume", "create", "--mode", "99", "x").stderr.startswith(
        "jubako: invalid mode: 99"
    )
    assert engine.volumes.prune(all_unused=True)[0] == ["mine"]


# --- events --------------------------------------------------------------------------------------


def test_events_of_volumes(engine: Engine, busybox: str) -> None:
    made = engine.containers.create(
        {"Image": busybox, "Cmd": ["true"], "Volumes": {"/anonymous": {}}},
        {"NetworkMode": "none", "Binds": ["named:/v:ro"]},
    )["Id"]
    engine.containers.start(made)
    engine.containers.wait(made)
    engine.containers.remove(made, volumes=True)
    engine.volumes.prune(all_unused=True)
    rows = engine.store.db.execute(
        "SELECT type, action, actor, attributes FROM events"
        " WHERE type IN ('container', 'volume') ORDER BY id"
    ).fetchall()
    order = [f"{row['type']} {row['action']}" for row in rows]
    assert order == [
        *("volume create", "volume create", "container create"),
        *("volume mount", "volume mount", "container start"),
        *("volume unmount", "volume unmount", "container die"),
        *("volume destroy", "container destroy"),
        *("volume destroy", "volume prune"),
    ]
    named = [
        (row["action"], json.loads(row["attributes"])) for row in rows if row["actor"] == "named"
    ]
    assert named == [
        ("create", {"driver": "local"}),
        ("mount", {"container": made, "destination": "/v", "driver": "local", "propagation": "",
                   "read/write": "false"}),
        ("unmount", {"container": made, "driver": "local"}),
        ("destroy", {"driver": "local"}),
    ]  # fmt: skip
    assert json.loads(rows[-1]["attributes"]) == {"reclaimed": "0"}


# --- binds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "writable", "below"),
    [
        ("", (True, True), True),
        ("bind-recursive=disabled", (True, None), False),
        ("bind-nonrecursive", (True, None), False),
        ("readonly", (False, False), True),
        ("readonly,bind-recursive=writable", (False, True), True),
        ("readonly,bind-recursive=readonly,bind-propagation=rprivate", (False, False), True),
        ("readonly,bind-recursive=disabled", (False, None), False),
    ],
)
def test_recursive_binds(
    options: str, writable: tuple[bool, bool | None], below: bool, jubako: Jubako, busybox: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    mount.mount("tests", str(source / "below"), "tmpfs", 0)
    try:
        (source / "below/file").touch()
        option = f"type=bind,src={source},dst=/m" + (f",{options}" if options else "")
        script = "test -e /m/below/file; echo $?; touch /m/x; echo $?; touch /m/below/x; echo $?"
        out = jubako.ok("run", "--rm", *OFF, "--mount", option, busybox, "sh", "-c", script)
    finally:
        mount.umount2(str(source / "below"))
    visible, top, inner = (word == "0" for word in out.split())
    assert (visible, top) == (below, writable[0])
    assert writable[1] is None or inner == writable[1]


def test_tmpfs_options(jubako: Jubako, busybox: str) -> None:
    option = "type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=0710"
    script = "stat -c %a /m; grep ' /m ' /proc/mounts"
    mode, line = jubako.ok(
        "run", "--rm", *OFF, "--mount", option, busybox, "sh", "-c", script
    ).split("\n")
    assert mode == "710" and "size=1024k" in line and "noexec" in line
