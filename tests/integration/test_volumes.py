"""Volumes, binds and tmpfs in real containers."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import ContainerFailed, InvalidArgument, JubakoError
from jubako.linux import atomic, mount


def run(engine: Engine, script: str, image: str = "busybox", **host: Any) -> str:
    """The output of a shell script in a container without a network."""
    config: Any = {"NetworkMode": "none", **host}
    output = engine.containers.run(image, ["sh", "-ec", script], host_config=config)
    return output.decode()


def names(engine: Engine) -> list[str]:
    return [volume["Name"] for volume in engine.volumes.list()]


@pytest.fixture
def data_image(engine: Engine, busybox_tar: Path) -> str:
    """busybox with content, owners and traps below /data, which is a VOLUME."""
    out = io.BytesIO(busybox_tar.read_bytes())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name, kind, link, owner, mode in (
            ("data", tarfile.DIRTYPE, "", 33, 0o750),
            ("data/sub", tarfile.DIRTYPE, "", 7, 0o700),
            ("data/sub/file", tarfile.REGTYPE, "", 8, 0o640),
            ("data/evil", tarfile.SYMTYPE, "/etc", 0, 0o777),
            ("trap", tarfile.SYMTYPE, "/tmp", 0, 0o777),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, mode
            entry.uid = entry.gid = owner
            if kind == tarfile.REGTYPE:
                entry.size = 4
                tar.addfile(entry, io.BytesIO(b"text"))
            else:
                tar.addfile(entry)
    out.seek(0)
    engine.images.import_tar(out, "data:1", changes=["VOLUME /data", 'CMD ["sh"]'])
    return "data:1"


def test_a_named_volume_outlives_its_containers(engine: Engine, busybox: str) -> None:
    run(engine, "echo kept > /v/file", Binds=["box:/v"])
    assert run(engine, "cat /else/file", Binds=["box:/else:ro"]) == "kept\n"
    assert names(engine) == ["box"]
    path = Path(engine.volumes.inspect("box")["Mountpoint"])
    assert (path / "file").read_text() == "kept\n"


def test_an_image_fills_its_volume_once(engine: Engine, data_image: str) -> None:
    script = "stat -c '%n %u %g %a' /data /data/sub /data/sub/file; readlink /data/evil"
    expected = "/data 33 33 750\n/data/sub 7 7 700\n/data/sub/file 8 8 640\n/etc\n"
    assert run(engine, script, data_image, Binds=["box:/data"]) == expected
    assert run(engine, "rm -r /data/*", data_image, Binds=["box:/data", "other:/o"]) == ""
    path = Path(engine.volumes.inspect("box")["Mountpoint"])
    assert path.stat().st_uid == 33


def test_nocopy_and_binds_stay_empty(engine: Engine, data_image: str, tmp_path: Path) -> None:
    assert run(engine, "ls -A /data", data_image, Binds=["box:/data:nocopy"]) == ""
    (tmp_path / "empty").mkdir()
    assert run(engine, "ls -A /data", data_image, Binds=[f"{tmp_path}/empty:/data"]) == ""


def test_anonymous_volumes_go_with_rm(engine: Engine, data_image: str) -> None:
    assert run(engine, "cat /data/sub/file", data_image) == "text"
    assert names(engine) == []
    config: Any = {"Image": data_image, "Cmd": ["true"]}
    host: Any = {"NetworkMode": "none"}
    for volumes in (False, True):
        made = engine.containers.create(config, host)["Id"]
        assert len(names(engine)) == (1 if volumes is False else 2)
        engine.containers.remove(made, volumes=volumes)
    assert len(names(engine)) == 1  # the one that was kept
    assert engine.volumes.prune()[0] and names(engine) == []


def test_a_failed_create_leaves_no_volume(engine: Engine, data_image: str) -> None:
    config: Any = {"Image": data_image, "Cmd": ["true"]}
    host: Any = {"NetworkMode": "none", "Binds": ["good:/a", "bad name:/b"]}
    with pytest.raises(InvalidArgument):
        engine.containers.create(config, host)
    assert engine.volumes.list({"dangling": ["false"]}) == []
    assert all(len(name) != 64 for name in names(engine))


def test_a_volume_in_use_stays(engine: Engine, busybox: str) -> None:
    config: Any = {"Image": busybox, "Cmd": ["true"]}
    host: Any = {"NetworkMode": "none", "Binds": ["box:/v"]}
    made = engine.containers.create(config, host)["Id"]
    with pytest.raises(JubakoError, match=rf"^remove box: volume is in use - \[{made}\]$"):
        engine.volumes.remove("box")
    engine.containers.remove(made)
    engine.volumes.remove("box")
    assert names(engine) == []


def test_read_only_binds(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    binds = [f"{tmp_path}:/b:ro"]
    assert run(engine, "cat /b/file", Binds=binds) == "x"
    with pytest.raises(ContainerFailed) as failed:
        run(engine, "echo y > /b/file", Binds=binds)
    assert b"Read-only file system" in failed.value.stderr
    # not even with the right to mount
    with pytest.raises(ContainerFailed):
        run(engine, "mount -o remount,rw /b", Binds=binds)


def test_a_missing_source(engine: Engine, busybox: str, tmp_path: Path) -> None:
    run(engine, "touch /b/made", Binds=[f"{tmp_path}/a/b:/b"])
    assert (tmp_path / "a/b/made").exists()
    missing = {"Type": "bind", "Source": f"{tmp_path}/none", "Target": "/b"}
    with pytest.raises(InvalidArgument, match="bind source path does not exist"):
        run(engine, "true", Mounts=[missing])
    assert not (tmp_path / "none").exists()


def test_a_single_file(engine: Engine, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("mine\n")
    binds = [f"{tmp_path}/hosts:/etc/hosts", f"{tmp_path}/hosts:/new/deep/file"]
    assert run(engine, "cat /etc/hosts /new/deep/file", Binds=binds) == "mine\nmine\n"


def test_tmpfs(engine: Engine, busybox: str) -> None:
    script = "grep -E ' /(t|u) ' /proc/mounts; stat -c %a /u; touch /t/x"
    in_memory = {
        "Type": "tmpfs",
        "Target": "/u",
        "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700},
    }
    out = run(engine, script, Tmpfs={"/t": "size=64k,exec"}, Mounts=[in_memory])
    *mounts, mode = out.splitlines()
    one, two = sorted(mounts, key=lambda line: line.split()[1])
    assert "size=64k" in one and "nosuid" in one and "noexec" not in one
    assert "size=1024k" in two and "noexec" in two and mode == "700"


def test_volumes_from(engine: Engine, busybox: str, data_image: str) -> None:
    config: Any = {"Image": data_image, "Cmd": ["true"]}
    host: Any = {"NetworkMode": "none", "Binds": ["box:/v"]}
    made = engine.containers.create(config, host)["Id"]
    run(engine, "echo shared > /v/x; echo shared > /data/x", VolumesFrom=[made])
    assert run(engine, "cat /v/x /data/x", VolumesFrom=[f"{made}:ro"]) == "shared\nshared\n"
    with pytest.raises(ContainerFailed):
        run(engine, "echo no > /v/x", VolumesFrom=[f"{made}:ro"])


def test_driver_options_mount_while_in_use(engine: Engine, busybox: str, tmp_path: Path) -> None:
    engine.volumes.create(
        "small", options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5"}
    )
    engine.volumes.create(
        "bound", options={"type": "none", "device": str(tmp_path), "o": "bind,ro"}
    )
    (tmp_path / "file").write_text("outside")
    out = run(
        engine,
        "df /s | tail -1 | cut -c1-40; stat -c %u /s; cat /b/file; touch /b/x || echo ro",
        Binds=["small:/s", "bound:/b"],
    )
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["tmpfs", "1024"]
    assert lines[1:] == ["5", "outsidero"] or lines[1:] == ["5", "outside", "ro"]
    assert os.listdir(engine.volumes.inspect("small")["Mountpoint"]) == []


def test_subpath(engine: Engine, busybox: str) -> None:
    run(engine, "mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s / /v/out; ln -s a /v/in",
        Binds=["box:/v"])  # fmt: skip

    def with_subpath(path: str) -> str:
        part = {
            "Type": "volume",
            "Source": "box",
            "Target": "/s",
            "VolumeOptions": {"Subpath": path},
        }
        return run(engine, "ls /s; cat /s/* || true", Mounts=[part])

    assert with_subpath("a/b") == "f\ndeep\n"
    assert with_subpath("in/b") == "f\ndeep\n"
    with pytest.raises(JubakoError, match="no such file or directory"):
        with_subpath("nope")
    with pytest.raises(JubakoError):
        with_subpath("out/etc")  # a link of the volume does not lead to the host


def test_a_link_in_the_image_does_not_lead_a_mount_out(
    engine: Engine, data_image: str, tmp_path: Path
) -> None:
    name = f"jbk-{os.getpid()}-trap"
    (tmp_path / "file").write_text("inside")
    script = f"cat /tmp/{name}/file"
    assert run(engine, script, data_image, Binds=[f"{tmp_path}:/trap/{name}"]) == "inside"
    assert not Path("/tmp", name).exists()


@pytest.fixture
def shared_mount(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs whose mounts propagate."""
    path = tmp_path / "shared"
    path.mkdir()
    mount.mount("test", str(path), "tmpfs")
    mount.set_propagation(str(path), mount.MS_SHARED)
    (path / "in").mkdir()
    yield path
    while os.path.ismount(path / "in"):
        mount.umount2(str(path / "in"), mount.MNT_DETACH)
    mount.umount2(str(path), mount.MNT_DETACH)


def test_a_shared_bind_shows_the_host_what_the_container_mounts(
    engine: Engine, busybox: str, shared_mount: Path
) -> None:
    script = "mount -t tmpfs container /b/in; touch /b/in/made"
    run(engine, script, Binds=[f"{shared_mount}:/b:rshared"], Privileged=True)
    assert (shared_mount / "in/made").exists()


def test_a_private_bind_does_not(engine: Engine, busybox: str, shared_mount: Path) -> None:
    script = "mount -t tmpfs container /b/in; touch /b/in/made"
    for mode in ("", ":rslave"):
        run(engine, script, Binds=[f"{shared_mount}:/b{mode}"], Privileged=True)
        assert list((shared_mount / "in").iterdir()) == []


def test_a_slave_bind_sees_what_the_host_mounts(
    engine: Engine, busybox: str, shared_mount: Path
) -> None:
    config: Any = {"Image": busybox, "Cmd": ["sleep", "60"]}
    host: Any = {"NetworkMode": "none", "Binds": [f"{shared_mount}:/b:rslave"]}
    made = engine.containers.create(config, host)["Id"]
    engine.containers.start(made)
    mount.mount("host", str(shared_mount / "in"), "tmpfs")
    (shared_mount / "in/made").touch()
    pid = engine.containers.inspect(made)["State"]["Pid"]
    assert os.listdir(f"/proc/{pid}/root/b/in") == ["made"]


def test_propagation_needs_a_shared_source(engine: Engine, busybox: str, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    mount.mount("test", str(private), "tmpfs")
    mount.set_propagation(str(private), mount.MS_PRIVATE)
    try:
        for mode, word in (("rshared", "shared"), ("slave", "shared or slave")):
            with pytest.raises(JubakoError) as caught:
                run(engine, "true", Binds=[f"{private}:/b:{mode}"])
            assert str(caught.value) == (
                f"path {private} is mounted on {private} but it is not a {word} mount"
            )
    finally:
        mount.umount2(str(private), mount.MNT_DETACH)


def test_containers_share_the_tmpfs_of_a_volume(engine: Engine, busybox: str) -> None:
    engine.volumes.create("mem", options={"type": "tmpfs", "device": "tmpfs"})
    config: Any = {"Image": busybox, "Cmd": ["sh", "-c", "echo here > /m/file; sleep 60"]}
    host: Any = {"NetworkMode": "none", "Binds": ["mem:/m"]}
    made = engine.containers.create(config, host)["Id"]
    engine.containers.start(made)
    wait = "for i in $(seq 100); do [ -e /else/file ] && break; sleep 0.05; done; "
    script = f"{wait}cat /else/file; echo also > /else/two"
    assert run(engine, script, Binds=["mem:/else"]) == "here\n"
    pid = engine.containers.inspect(made)["State"]["Pid"]
    assert Path(f"/proc/{pid}/root/m/two").read_text() == "also\n"
    assert os.listdir(engine.volumes.inspect("mem")["Mountpoint"]) == []


@pytest.fixture
def swapping(engine: Engine) -> Iterator[str]:
    """A volume in which `part` is a directory and a link to `/` by turns, thousands a second."""
    data = Path(engine.volumes.create("swap")["Mountpoint"])
    (data / "part").mkdir()
    (data / "part/good").touch()
    (data / "other").symlink_to("/")
    pid = os.fork()
    if pid == 0:
        try:
            fd = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
            while True:
                atomic.renameat2(fd, "part", fd, "other", atomic.RENAME_EXCHANGE)
        finally:
            os._exit(1)
    yield "swap"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_swapped_links_lead_no_mount_to_the_host(
    engine: Engine, busybox: str, swapping: str, tmp_path: Path
) -> None:
    """CVE-2021-30465: the target of a mount lies in a volume that somebody else changes."""
    canary = f"jbk-canary-{os.getpid()}"
    (tmp_path / "source").mkdir()
    for _ in range(15):
        try:
            run(
                engine,
                "true",
                Binds=[f"{swapping}:/v", f"{tmp_path}/source:/v/part/{canary}"],
            )
        except JubakoError:
            pass  # a start may fail, it may not leave the container
        assert not Path("/", canary).exists()


def test_a_swapped_subpath_is_the_volumes_or_nothing(
    engine: Engine, busybox: str, swapping: str
) -> None:
    part = {
        "Type": "volume",
        "Source": swapping,
        "Target": "/s",
        "VolumeOptions": {"Subpath": "part", "NoCopy": True},
    }
    for _ in range(15):
        try:
            assert run(engine, "ls -A /s", Mounts=[part]) == "good\n"
        except JubakoError:
            pass
