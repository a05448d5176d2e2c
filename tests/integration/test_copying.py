"""`cp`: every pair of source and destination as Docker does it, and what files keep on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument, JubakoError, NotFound
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import OFF

# What Docker 26.1 with the client of 28.2 did, case by case: [error or "", changes of the tree].
# A case is "DIRECTION [-L] SOURCE DESTINATION".
GOLDEN: dict[str, list[Any]] = json.loads(
    Path(__file__).with_name("golden").joinpath("cp.json").read_text()
)
# Docker's client does not follow a link that ends in a slash when it unpacks; it means a directory.
BETTER = {"out dir/. ledir/", "out ldir/. ledir/", "out -L ldir/. ledir/"}
SOURCES = sorted({" ".join(name.split(" ")[:-1]) for name in GOLDEN})


def build(top: str, *, seen_as: str) -> None:
    """The tree in which a case happens.  seen_as: its path where it is looked at."""
    shutil.rmtree(top, ignore_errors=True)
    for path in ("src/dir/sub", "dst/edir/sub", "dst/clash/file", "dst/abs"):
        os.makedirs(f"{top}/{path}")
    for path, text, mode in (
        ("src/file", "file content", 0o640),
        ("src/dir/a", "a content", 0o600),
        ("src/dir/sub/b", "b", 0o644),
        ("dst/edir/old", "old", 0o644),
        ("dst/efile", "old file", 0o644),
        ("dst/clash/dir", "x", 0o644),
        ("dst/clash/ldir", "y", 0o644),
    ):
        Path(top, path).write_text(text)
        os.chmod(f"{top}/{path}", mode)
    os.chmod(f"{top}/src/dir", 0o750)
    os.chmod(f"{top}/src/dir/sub", 0o711)
    for link, target in (
        ("src/lfile", "file"),
        ("src/ldir", "dir"),
        ("src/lbroken", "nothing"),
        ("dst/ledir", "edir"),
        ("dst/lefile", "efile"),
        ("dst/lbroken", "gone"),
        ("dst/lnoparent", "no/gone"),
        ("dst/loop", "loop"),
        ("dst/labs", f"{seen_as}/dst/abs"),
    ):
        os.symlink(target, f"{top}/{link}")


def tree(top: str) -> list[str]:
    """One line for each entry: type, mode, content or target."""
    found = []
    for directory, below, files in os.walk(top):
        for name in (*below, *files):
            path = f"{directory}/{name}"
            status, shown = os.lstat(path), os.path.relpath(path, top)
            mode = f"{status.st_mode & 0o7777:o}"
            if stat.S_ISLNK(status.st_mode):
                found.append(f"{shown} -> {os.readlink(path)}")
            elif stat.S_ISDIR(status.st_mode):
                found.append(f"{shown}/ {mode}")
            else:
                found.append(f"{shown} {mode} {Path(path).read_text()}")
    return sorted(found)


def changes(top: str, action: Callable[[], object]) -> tuple[str, list[str]]:
    """The error of `action`, or "", and what it changed below `top`."""
    before = tree(top)
    error = ""
    try:
        action()
    except JubakoError as exc:
        error = str(exc)
    after = tree(top)
    gone = [f"-{line}" for line in before if line not in after]
    return error, gone + [f"+{line}" for line in after if line not in before]


def expected(name: str, host: str) -> tuple[str, list[str]]:
    error, changed = GOLDEN[name]
    return error.replace("@HOST@", host).replace("@C@", "box"), changed


def check(engine: Engine, source: str, host: str, inside: str) -> None:
    """All cases of one source.  host, inside: the two trees, both as paths of the host."""
    direction, *flags, name = source.split(" ")
    follow = bool(flags)
    containers = engine.containers
    for case in [case for case in GOLDEN if case.rpartition(" ")[0] == source]:
        if case in BETTER:
            continue
        destination = case.rpartition(" ")[2]
        build(host, seen_as=host)
        build(inside, seen_as="/w")
        if direction == "out":
            top, where = host, f"{host}/dst/{destination}"
            action: Callable[..., object] = partial(containers.copy_from, "box", f"/w/src/{name}")
        else:
            origin: Any = f"{host}/src/{name}"
            if name == "-:tar":
                archive = ["tar", "-C", f"{host}/src", "-c", "dir", "file"]
                origin = io.BytesIO(subprocess.run(archive, capture_output=True).stdout)
            top, where = inside, f"/w/dst/{destination}"
            action = partial(containers.copy_to, "box", origin)
        found = changes(f"{top}/dst", partial(action, where, follow_link=follow))
        assert found == expected(case, host), case


def start(jubako: Jubako, image: str, *options: str, name: str = "box") -> str:
    """A running container; the path of its root on the host."""
    jubako.ok("run", "-d", "--name", name, *OFF, *options, image, "sleep", "1000")
    return f"/proc/{jubako.ok('inspect', '-f', '{{.State.Pid}}', name)}/root"


@pytest.mark.parametrize("source", SOURCES)
def test_into_and_out_of_a_running_container(
    source: str, engine: Engine, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    root = start(jubako, busybox)
    check(engine, source, f"{tmp_path}/host", f"{root}/w")


@pytest.mark.parametrize("source", ["in dir", "in -:tar", "in lfile", "out dir/.", "out -L ldir"])
def test_into_and_out_of_a_stopped_container(
    source: str, engine: Engine, busybox: str, root_dir: Path, tmp_path: Path
) -> None:
    made = engine.containers.create({"Image": busybox}, {"NetworkMode": "none"}, name="box")["Id"]
    check(engine, source, f"{tmp_path}/host", f"{root_dir}/containers/{made}/upper/w")


# --- the command ---------------------------------------------------------------------------------


def test_the_command(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    start(jubako, busybox)
    (tmp_path / "file").write_text("content")
    assert jubako("cp", tmp_path / "file", "box:/new") == (0, "", "")
    assert jubako.ok("exec", "box", "cat", "/new") == "content"
    done = jubako("cp", "-q=false", "box:/new", tmp_path / "back")
    assert done == (0, "", f"Successfully copied 2.05kB to {tmp_path}/back\n")
    done = jubako("cp", "-q=false", tmp_path / "file", "box:/tmp")
    assert done == (0, "", "Successfully copied 2.05kB to box:/tmp\n")
    archive = tmp_path / "out.tar"
    archive.write_text(jubako.ok("cp", "box:/etc/passwd", "-"))
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["passwd"]
    for arguments, text in (
        (("a", "b"), "must specify at least one container source"),
        (("-", "-"), "must specify at least one container source"),
        (("./a:b", "b"), "must specify at least one container source"),
        (("", "box:/"), "source can not be empty"),
        (("box:/", ""), "destination can not be empty"),
        (("box:/a", "other:/b"), "copying between containers is not supported"),
        (("none:/a", str(tmp_path)), "No such container: none"),
        (("box:", str(tmp_path)), "bad parameter: path cannot be empty"),
        (("box:/etc/passwd", "/dev/null"), 'invalid output path: "/dev/null" must be a directory '
         "or a regular file: got a device"),
        ((str(tmp_path / "file"), "box:/dev/null"), 'destination "box:/dev/null" must be a '
         "directory or a regular file: got a device"),
        (("-", "box:/etc/passwd"), 'destination "box:/etc/passwd" must be a directory'),
    ):  # fmt: skip
        done = jubako("cp", *arguments)
        assert (done.status, done.stdout) == (1, ""), arguments
        assert done.stderr == f"jubako: {text}\n"


def test_streams(engine: Engine, jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    start(jubako, busybox)
    jubako.ok("exec", "box", "sh", "-c", "mkdir -p /d/e; echo x > /d/e/f; ln -s d /l")
    for path, follow, names in (
        ("/d", False, ["d", "d/e", "d/e/f"]),
        ("/d/.", False, [".", "./e", "./e/f"]),
        ("d/", False, ["d", "d/e", "d/e/f"]),
        ("/l", False, ["l"]),
        ("/l/", False, ["l", "l/e", "l/e/f"]),
        ("/l", True, ["d", "d/e", "d/e/f"]),
        ("/d/../d/e/f", False, ["f"]),
    ):
        found, stream = engine.containers.get_archive("box", path, follow_link=follow)
        with stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
            assert tar.getnames() == names, path
    status = engine.containers.stat_path("box", "/l").to_api()
    assert {key: status[key] for key in ("name", "mode", "linkTarget")} == {
        "name": "l",
        "mode": 0x8000000 | 0o777,
        "linkTarget": "/d",
    }
    assert engine.containers.stat_path("box", "/tmp").to_api()["mode"] == 0x80100000 | 0o777
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo("implied/deep/file")
        entry.uid, entry.gid, entry.mode = 33, 44, 0o4711
        tar.addfile(entry)
    out.seek(0)
    engine.containers.put_archive("box", "/l", out)
    text = jubako.ok("exec", "box", "stat", "-c", "%u %g %a", "/d/implied", "/d/implied/deep/file")
    assert text == "0 0 755\n33 44 4711"
    engine.containers.put_archive("box", "/d", io.BytesIO())  # as Docker: nothing at all is fine
    with pytest.raises(InvalidArgument, match="truncated"):
        engine.containers.put_archive("box", "/d", io.BytesIO(b"garbage"))
    with pytest.raises(InvalidArgument, match="extraction point is not a directory"):
        engine.containers.put_archive("box", "/etc/passwd", io.BytesIO())
    with pytest.raises(NotFound, match="Could not find the file /none in container box"):
        engine.containers.put_archive("box", "/none", io.BytesIO())


def test_events(engine: Engine, busybox: str, tmp_path: Path) -> None:
    containers = engine.containers
    made = containers.create({"Image": busybox}, {"NetworkMode": "none"}, name="box")["Id"]
    (tmp_path / "file").touch()
    containers.copy_to("box", str(tmp_path / "file"), "/")
    containers.copy_from("box", "/file", str(tmp_path))
    containers.stat_path("box", "/file")
    containers.get_archive("box", "/file")[1].close()
    containers.put_archive("box", "/", io.BytesIO())
    rows = engine.store.db.execute("SELECT action, actor FROM events WHERE type = 'container'")
    actions = [row["action"] for row in rows.fetchall() if row["actor"] == made]
    assert actions == [
        "create", "extract-to-dir", "archive-path", "archive-path", "extract-to-dir"
    ]  # fmt: skip


def test_patterns(jubako: Jubako, busybox: str, tmp_path: Path) -> None:
    start(jubako, busybox)
    names = "/d/a.log /d/b.log /d/.hidden.log /d/c.txt '/d/[x]*.log'"
    jubako.ok("exec", "box", "sh", "-c", f"mkdir -p /d/dir.log; touch {names} /d/dir.log/in")
    for pattern, expected in (
        ("*.log", ["[x]*.log", "a.log", "b.log", "dir.log"]),
        (".*.log", [".hidden.log"]),
        ("?.log", ["a.log", "b.log"]),
        ("[bc].*", ["b.log", "c.txt"]),
        ("c.txt", ["c.txt"]),
    ):
        target = tmp_path / pattern.replace("*", "star")
        target.mkdir()
        assert jubako("cp", "--glob", f"box:/d/{pattern}", target) == (0, "", "")
        assert sorted(os.listdir(target)) == expected
    assert (tmp_path / "star.log/dir.log/in").exists()
    jubako.ok("cp", "box:/d/[x]*.log", tmp_path / "plain")  # without the flag it is a name
    for arguments, text in (
        (("box:/d/*.none", tmp_path), "no file matches /d/*.none in container box"),
        (("box:/*/a.log", tmp_path), "Could not find the file /* in container box"),
        (("box:/d/*", tmp_path / "plain"),
         f"copy /d/*: the destination {tmp_path}/plain must be a directory"),
        (("box:/d/*", "-"), "--glob copies to a directory, not to '-'"),
        ((tmp_path, "box:/d"), "--glob is for files of a container: the shell knows those of the"
         " host"),
    ):  # fmt: skip
        done = jubako("cp", "--glob", *arguments)
        assert (done.status, done.stderr) == (1, f"jubako: {text}\n")


# --- what files keep -----------------------------------------------------------------------------


def attributes(path: str | os.PathLike[str]) -> tuple[Any, ...]:
    status = os.lstat(path)
    xattrs = {}
    if not stat.S_ISLNK(status.st_mode):
        xattrs = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)


@pytest.fixture
def odd_files(tmp_path: Path) -> Iterator[Path]:
    """A directory of everything that a file can be."""
    top = tmp_path / "odd"
    top.mkdir()
    (top / "setuid").write_text("x")
    os.chown(top / "setuid", 1234, 2345)
    os.chmod(top / "setuid", 0o4751)
    os.setxattr(top / "setuid", "user.mine", b"value\0")
    os.setxattr(
        top / "setuid", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12)
    )
    os.link(top / "setuid", top / "second")
    os.symlink("/nowhere", top / "link")
    os.chown(top / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(top / "pipe", 0o620)
    os.mknod(top / "device", stat.S_IFCHR | 0o604, os.makedev(1, 7))
    with open(top / "sparse", "wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    os.mkdir(os.fsencode(top) + b"/not-\xff-text")
    os.chown(os.fsencode(top) + b"/not-\xff-text", 9, 9)
    for path in top.iterdir():
        os.utime(path, ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
    yield top


def check_odd(top: str, original: Path, *, owners: bool) -> None:
    for name in sorted(os.listdir(os.fsencode(original))):
        here, there = os.fsencode(top) + b"/" + name, os.fsencode(original) + b"/" + name
        found, wanted = attributes(os.fsdecode(here)), attributes(os.fsdecode(there))
        if not owners:
            wanted = (wanted[0], 0, 0, *wanted[3:])
        assert found == wanted, name
    assert os.stat(f"{top}/second").st_ino == os.stat(f"{top}/setuid").st_ino
    assert os.readlink(f"{top}/link") == "/nowhere"
    assert os.stat(f"{top}/device").st_rdev == os.makedev(1, 7)
    sparse = os.stat(f"{top}/sparse")
    assert sparse.st_size == (64 << 20) + 3 and sparse.st_blocks * 512 < 1 << 20
    with open(f"{top}/sparse", "rb") as file:
        file.seek(64 << 20)
        assert file.read() == b"end"


def test_odd_files(
    engine: Engine, jubako: Jubako, busybox: str, odd_files: Path, tmp_path: Path
) -> None:
    root = start(jubako, busybox)
    engine.containers.copy_to("box", str(odd_files), "/")
    check_odd(f"{root}/odd", odd_files, owners=True)
    engine.containers.copy_to("box", f"{odd_files}/.", "/odd")  # over what is there
    check_odd(f"{root}/odd", odd_files, owners=True)
    engine.containers.copy_from("box", "/odd", f"{tmp_path}/mine")
    check_odd(f"{tmp_path}/mine", odd_files, owners=False)
    engine.containers.copy_from("box", "/odd", f"{tmp_path}/kept", archive=True)
    check_odd(f"{tmp_path}/kept", odd_files, owners=True)


def test_odd_files_through_a_stream(
    engine: Engine, jubako: Jubako, busybox: str, odd_files: Path
) -> None:
    root = start(jubako, busybox)
    for path in odd_files.iterdir():
        os.utime(path, ns=(1, 1_234_567_890_000_000_000), follow_symlinks=False)
    engine.containers.copy_to("box", str(odd_files), "/")
    _, stream = engine.containers.get_archive("box", "/odd/.")
    jubako.ok("exec", "box", "mkdir", "/again")
    with stream:
        engine.containers.put_archive("box", "/again", stream)
    check_odd(f"{root}/again", odd_files, owners=True)


def test_a_failed_copy_keeps_the_old_file(
    engine: Engine, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    root = start(jubako, busybox, "--tmpfs", "/small:size=64k")
    jubako.ok("exec", "box", "sh", "-c", "echo old > /small/file")
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    for name in ("file", "new"):
        with pytest.raises(JubakoError, match="No space left on device"):
            engine.containers.copy_to("box", str(tmp_path / "file"), f"/small/{name}")
    assert os.listdir(f"{root}/small") == ["file"]
    assert Path(f"{root}/small/file").read_text() == "old\n"


# --- mounts --------------------------------------------------------------------------------------


@pytest.fixture
def mounted(jubako: Jubako, busybox: str, tmp_path: Path) -> tuple[str, ...]:
    for name in ("bind", "readonly"):
        (tmp_path / name).mkdir()
    (tmp_path / "single").write_text("single")
    return (
        *("-v", "named:/named", "-v", "named:/deep/in/there", "-v", f"{tmp_path}/bind:/bind"),
        *("-v", f"{tmp_path}/readonly:/readonly:ro", "-v", f"{tmp_path}/single:/single"),
        *("--tmpfs", "/memory", busybox),
    )


@pytest.mark.parametrize("running", [True, False])
def test_volumes_and_binds(
    running: bool, engine: Engine, jubako: Jubako, mounted: tuple[str, ...], tmp_path: Path
) -> None:
    command = ("run", "-d") if running else ("create",)
    jubako.ok(*command, "--name", "box", *OFF, *mounted, "sleep", "1000")
    (tmp_path / "file").write_text("content")
    copy = engine.containers.copy_to
    for target in ("/named", "/deep/in/there/", "/bind/name"):
        copy("box", str(tmp_path / "file"), target)
    data = Path(engine.volumes.inspect("named")["Mountpoint"])
    assert (data / "file").read_text() == (tmp_path / "bind/name").read_text() == "content"
    with pytest.raises(InvalidArgument, match="^mounted volume is marked read-only$"):
        copy("box", str(tmp_path / "file"), "/readonly")
    with pytest.raises(JubakoError, match="/single: Device or resource busy") as refused:
        copy("box", str(tmp_path / "file"), "/single")
    assert refused.value.hint == "something is mounted there"
    _, stream = engine.containers.get_archive("box", "/deep")
    with stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        assert tar.getnames() == ["deep", "deep/in", "deep/in/there", "deep/in/there/file"]
    engine.containers.copy_from("box", "/single", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "single"
    assert sorted(os.listdir(tmp_path / "readonly")) == []


def test_memory_of_a_running_container(
    engine: Engine, jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    """moby#22020: Docker copies into the directory that the tmpfs hides."""
    start(jubako, busybox, "--tmpfs", "/memory", "--read-only")
    (tmp_path / "file").write_text("content")
    engine.containers.copy_to("box", str(tmp_path / "file"), "/memory")
    assert jubako.ok("exec", "box", "cat", "/memory/file") == "content"
    jubako.ok("exec", "box", "sh", "-c", "echo more >> /memory/file; echo x > /dev/shm/y")
    engine.containers.copy_from("box", "/memory/file", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "contentmore\n"
    assert engine.containers.stat_path("box", "/dev/shm/y").size_bytes == 2
    with pytest.raises(InvalidArgument, match="^container rootfs is marked read-only$"):
        engine.containers.copy_to("box", str(tmp_path / "file"), "/etc")


def test_a_stopped_container_with_a_read_only_root(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    host: Any = {"NetworkMode": "none", "ReadonlyRootfs": True, "Binds": ["named:/v"]}
    engine.containers.create({"Image": busybox}, host, name="box")
    (tmp_path / "file").touch()
    engine.containers.copy_to("box", str(tmp_path / "file"), "/v")
    with pytest.raises(InvalidArgument, match="^container rootfs is marked read-only$"):
        engine.containers.copy_to("box", str(tmp_path / "file"), "/")
    engine.containers.copy_from("box", "/etc/passwd", str(tmp_path))


def test_an_image_fills_a_volume_before_something_is_copied_there(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    host: Any = {"NetworkMode": "none", "Binds": ["named:/etc"]}
    engine.containers.create({"Image": busybox}, host, name="box")
    engine.containers.copy_to("box", str(tmp_path / "file"), "/etc")
    data = engine.volumes.inspect("named")["Mountpoint"]
    assert {"file", "passwd", "group"} <= set(os.listdir(data))
    engine.containers.start("box")


def test_a_copy_from_a_stopped_container_holds_it(
    engine: Engine, jubako: Jubako, busybox: str
) -> None:
    """Two writable mounts of one directory would be more than overlayfs promises to bear."""
    engine.containers.create({"Image": busybox, "Cmd": ["sleep", "9"]}, {"NetworkMode": "none"},
                             name="box")  # fmt: skip
    _, stream = engine.containers.get_archive("box", "/etc")
    starting = jubako.start("start", "box")
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(0.3)
    stream.close()
    assert starting.wait(30) == 0
    assert engine.containers.inspect("box")["State"]["Running"]


# --- programs with threads -----------------------------------------------------------------------


def test_programs_with_threads(engine: Engine, busybox: str, tmp_path: Path) -> None:
    """Nothing is forked, and the other threads stay where they are."""
    made = engine.containers.create({"Image": busybox, "Cmd": ["sleep", "100"]},
                                    {"NetworkMode": "none"}, name="box")["Id"]  # fmt: skip
    stop = threading.Event()
    seen: set[str] = set()

    def watch() -> None:
        while not stop.is_set():
            seen.add(
                os.readlink("/proc/thread-self/ns/mnt") + os.readlink("/proc/thread-self/root")
            )

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for running in (False, True):
            if running:
                engine.containers.start(made)
            engine.containers.copy_from("box", "/etc", f"{tmp_path}/{running}")
            out = io.BytesIO()
            engine.containers.export("box", out)
            assert len(out.getvalue()) > 1 << 20
            assert engine.containers.changes("box") == []
            engine.containers.commit("box", "copy:1")
    finally:
        stop.set()
        thread.join()
    assert len(seen) == 1
