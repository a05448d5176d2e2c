"""`cp` with containers that attack it: rows 3, 4, 5 and 13 of the list of attacks."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import InvalidArgument, JubakoError, NotFound, PermissionDenied
from tests.fixtures.engine import COMMAND, Jubako
from tests.integration.attack_tools import (
    OFF,
    directory,
    file,
    image_with,
    link,
    python,
    python_options,
    wait_for,
)
from tests.integration.test_attack_paths import climbing


def start(jubako: Jubako, image: str, *options: str, name: str = "box") -> None:
    jubako.ok("run", "-d", "--name", name, *OFF, *options, image, "sleep", "1000")


def tar_of(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """Members: name, type, link target or content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
            else:
                entry.linkname = text
                tar.addfile(entry)
    out.seek(0)
    return out


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False])
def test_absolute_links_stay_inside(
    running: bool, engine: Engine, jubako: Jubako, busybox_tar: Path, canary: Path, tmp_path: Path
) -> None:
    """moby#52653: /var/run -> /run must work, also with mounts below it; none leads out."""
    members = [
        directory("run"),
        link("var/run", "/run"),
        link("absolute", str(canary)),
        link("climbing", climbing(canary)),
        link("leaf", str(canary / "file")),
        directory("tmp/x"),
    ]
    image = image_with(engine, busybox_tar, members)
    command = ("run", "-d") if running else ("create",)
    jubako.ok(*command, "--name", "box", *OFF, "-v", "named:/var/run/deep", image, "sleep", "1000")
    source = tmp_path / "source"
    source.write_text("mine")
    copy = engine.containers
    copy.copy_to("box", str(source), "/var/run/deep/")
    copy.copy_to("box", str(source), "/var/run/plain")
    data = Path(engine.volumes.inspect("named")["Mountpoint"])
    assert (data / "source").read_text() == "mine"
    assert copy.stat_path("box", "/run/plain").size_bytes == 4
    for name in ("absolute", "climbing"):
        with pytest.raises(NotFound):
            copy.copy_to("box", str(source), f"/{name}/new")
        with pytest.raises(NotFound):
            copy.copy_from("box", f"/{name}/file", f"{tmp_path}/out")
        with pytest.raises(NotFound):
            copy.get_archive("box", f"/{name}/")
        with pytest.raises(NotFound):
            copy.put_archive("box", f"/{name}", tar_of(("x", tarfile.REGTYPE, "x")))
    with pytest.raises(NotFound):
        copy.copy_from("box", "/leaf", f"{tmp_path}/out", follow_link=True)
    with pytest.raises(NotFound):  # what it names is not there inside
        copy.copy_to("box", str(source), "/leaf")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("running", [True, False])
def test_hostile_archives(
    running: bool, engine: Engine, jubako: Jubako, busybox: str, canary: Path
) -> None:
    """What an archive brings may lead where a link of the container leads: never out of it."""
    command = ("run", "-d") if running else ("create",)
    jubako.ok(*command, "--name", "box", *OFF, busybox, "sleep", "1000")
    put = engine.containers.put_archive
    for member in (("../x", tarfile.REGTYPE, "x"), ("a/../../x", tarfile.REGTYPE, "x"),
                   ("x", tarfile.LNKTYPE, "../etc/passwd")):  # fmt: skip
        with pytest.raises(InvalidArgument, match="leads out of the archive"):
            put("box", "/tmp", tar_of(member))
    put("box", "/tmp", tar_of(("/absolute", tarfile.REGTYPE, "x")))
    assert engine.containers.stat_path("box", "/tmp/absolute").size_bytes == 1
    for target in (str(canary), climbing(canary)):
        put("box", "/tmp", tar_of(("out", tarfile.SYMTYPE, target)))
        with pytest.raises(JubakoError):
            put("box", "/tmp", tar_of(("out/new", tarfile.REGTYPE, "x")))
        with pytest.raises(JubakoError):
            put("box", "/tmp", tar_of(("hard", tarfile.LNKTYPE, "out/file")))
    put("box", "/tmp", tar_of(("to", tarfile.SYMTYPE, "/etc"), ("to/made", tarfile.REGTYPE, "x")))
    assert engine.containers.stat_path("box", "/etc/made").size_bytes == 1
    put("box", "/tmp", tar_of(("s", tarfile.SYMTYPE, "/etc/passwd"), ("s", tarfile.REGTYPE, "x")))
    assert engine.containers.stat_path("box", "/etc/passwd").size_bytes > 1
    assert engine.containers.stat_path("box", "/tmp/s").size_bytes == 1


def test_links_in_what_is_copied_out(
    engine: Engine, jubako: Jubako, busybox_tar: Path, canary: Path, tmp_path: Path
) -> None:
    """A container's tree over one of the host's that has links: nothing is written through them."""
    members = [
        directory("d"),
        directory("d/sub"),
        file("d/sub/new", "evil"),
        file("d/leaf", "evil"),
    ]
    image = image_with(engine, busybox_tar, members)
    start(jubako, image)
    host = tmp_path / "host"
    host.mkdir()
    (host / "sub").symlink_to(canary)
    with pytest.raises(InvalidArgument, match="cannot overwrite non-directory"):
        engine.containers.copy_from("box", "/d/.", str(host))
    (host / "sub").unlink()
    (host / "leaf").unlink(missing_ok=True)
    (host / "leaf").symlink_to(canary / "file")
    engine.containers.copy_from("box", "/d/.", str(host))
    assert (host / "leaf").read_text() == "evil" and not (host / "leaf").is_symlink()


# --- /proc and its kin ---------------------------------------------------------------------------


def test_views_of_the_kernel_are_no_files(
    engine: Engine, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> None:
    """Reading /proc/kmsg would take the host's messages away, writing below /proc/sys change it."""
    members = [link("tmp/a", "/proc/sys/kernel"), link("tmp/b", "/proc/self/fd"), directory("tmp")]
    image = image_with(engine, busybox_tar, members)
    start(jubako, image, "--privileged", "--pid", "host")
    (tmp_path / "core_pattern").write_text("|/evil")
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    copy = engine.containers
    for path in ("/proc/kmsg", "/proc/self/environ", "/sys/kernel/uevent_helper", "/tmp/a/ostype",
                 "/proc/1/root/etc/passwd", "/dev/pts/0"):  # fmt: skip
        with pytest.raises(JubakoError, match="Could not find the file|lstat"):
            copy.get_archive("box", path)
    for path in ("/proc", "/proc/sys/kernel", "/tmp/a", "/tmp/b", "/sys"):
        with pytest.raises((PermissionDenied, NotFound, InvalidArgument)):
            copy.copy_to("box", str(tmp_path / "core_pattern"), path)
        with pytest.raises((PermissionDenied, NotFound, InvalidArgument)):
            copy.put_archive("box", path, tar_of(("core_pattern", tarfile.REGTYPE, "evil")))
    with pytest.raises(JubakoError):
        copy.put_archive("box", "/tmp", tar_of(("a/core_pattern", tarfile.REGTYPE, "evil")))
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    _, stream = copy.get_archive("box", "/")
    with stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        names = set(tar.getnames())
    assert {"/proc", "/sys", "/dev/null", "/dev/pts"} <= {"/" + name.strip("/") for name in names}
    assert not [
        name for name in names if name.lstrip("/").startswith(("proc/", "sys/", "dev/pts/"))
    ]


# --- races ---------------------------------------------------------------------------------------

SWAP = """
import ctypes, os, sys
os.chdir("/v")
os.makedirs("part/in", exist_ok=True)
open("part/in/file", "w").write("inner")
os.path.lexists("other") or os.symlink(sys.argv[1], "other")
swap = ctypes.CDLL(None).renameat2
open("swapping", "w").close()
while not os.path.exists("stop"):
    for _ in range(1000):
        swap(-100, b"part", -100, b"other", 2)  # RENAME_EXCHANGE
"""

TRIES = 150  # each against some hundred thousand exchanges a second


def test_a_container_swaps_what_is_copied(
    engine: Engine, jubako: Jubako, busybox: str, canary: Path, tmp_path: Path
) -> None:
    """CVE-2018-15664: a part of the path is a link to the host's directory every other moment."""
    data = Path(engine.volumes.create("shared")["Mountpoint"])
    jubako.ok("run", "-d", "--name", "box", *OFF, "-v", "shared:/v", *python_options(),
              busybox, *python(SWAP, str(canary)))  # fmt: skip
    wait_for((data / "swapping").exists, "the swapping")
    (tmp_path / "file").write_text("from outside")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("from outside")
    out = tmp_path / "out"
    worked = 0
    copy = engine.containers

    def attempts() -> list[Callable[[], object]]:
        return [
            lambda: copy.copy_to("box", str(tmp_path / "file"), "/v/part/file"),
            lambda: copy.copy_to("box", f"{tmp_path}/tree/.", "/v/part"),
            lambda: copy.put_archive("box", "/v/part", tar_of(("file", tarfile.REGTYPE, "put"))),
            lambda: copy.copy_from("box", "/v/part/file", str(out)),
            lambda: copy.copy_from("box", "/v/part/.", str(out)),
            lambda: copy.copy_from("box", "/v/part", str(out), follow_link=True),
        ]

    for _ in range(TRIES):
        for attempt in attempts():
            out.mkdir(exist_ok=True)
            try:
                attempt()
                worked += 1
            except JubakoError:
                pass  # the link was there in that moment
            texts = [path.read_text() for path in out.rglob("*") if path.is_file()]
            assert "untouched" not in texts
            shutil.rmtree(out)
        assert sorted(os.listdir(canary)) == ["file", "passwd"]
    (data / "stop").touch()
    assert jubako.ok("wait", "box") == "0"
    assert worked > TRIES / 2


# --- code of the container -----------------------------------------------------------------------


def test_nothing_of_the_container_is_executed_or_loaded(
    engine: Engine, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> None:
    """CVE-2019-14271 and CVE-2026-41567: libraries, programs and modules that wait for cp."""
    places = ["lib/x86_64-linux-gnu/libnss_files.so.2", "usr/bin/unpigz", "usr/bin/xz", "bin/tar"]
    places += [f"{top}/{name}.py" for top in ("", "usr/lib/python3.11") for name in (
        "pwd", "grp", "encodings/idna", "tarfile", "shutil", "jubako/errors")]  # fmt: skip
    members = [file(path.strip("/"), "#!/bin/sh\ntouch /ran\n", 0o755) for path in places]
    image = image_with(engine, busybox_tar, members)
    start(jubako, image)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    archive = tmp_path / "tree.tar.xz"
    with tarfile.open(archive, "w:xz") as compressed:
        compressed.add(tmp_path / "tree", "tree")
    for arguments, stdin in (
        (["cp", "-a", f"{tmp_path}/tree", "box:/root/"], os.devnull),
        (["cp", "-a", "box:/root/tree", f"{tmp_path}/back"], os.devnull),
        (["cp", "-", "box:/tmp"], archive),
    ):
        with open(stdin, "rb") as source:
            calls = traced(jubako, arguments, source.fileno(), tmp_path / "calls")
        inside: set[str] = set()
        for pid, call in calls:
            if call.startswith("setns("):
                inside.add(pid)
            elif pid in inside:
                assert call.startswith('openat(AT_FDCWD, "/", ') or "open" not in call, call
            assert not call.startswith("execve(") or "/python" in call or "/jubako" in call, call
        assert inside
    with pytest.raises(NotFound):
        engine.containers.stat_path("box", "/ran")


def traced(jubako: Jubako, arguments: list[str], stdin: int, log: Path) -> list[tuple[str, str]]:
    """Run the command; its system calls that open, execute and enter as (PID, call)."""
    which = "trace=execve,open,openat,openat2,setns"
    command = ["strace", "-f", "-qq", "-e", which, "-o", str(log), str(COMMAND), *arguments]
    environment = {**os.environ, **jubako.environment}
    subprocess.run(command, stdin=stdin, env=environment, check=True)
    pairs = (line.split(None, 1) for line in log.read_text().splitlines())
    return [(pid, call) for pid, call in pairs]
