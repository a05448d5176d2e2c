"""Paths of images, volumes and containers that are made to lead somewhere else: rows 6 to 9 and 11
of the list of attacks, through the engine."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from jubako import Engine
from jubako.errors import JubakoError
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import (
    OFF,
    directory,
    file,
    image_with,
    link,
    pipe,
    python,
    python_options,
    wait_for,
)


def climbing(path: Path) -> str:
    """A relative link target that leads to `path` of the host from wherever it is followed."""
    return "../" * 30 + str(path).lstrip("/")


# --- the image's own directories -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("relative", [False, True])
def test_an_image_whose_kernel_directories_are_links_is_refused(
    name: str, relative: bool, engine: Engine, jubako: Jubako, busybox_tar: Path, canary: Path
) -> None:
    target = climbing(canary) if relative else str(canary)
    image_with(engine, busybox_tar, [link(name, target)], without=[name])
    done = jubako("run", "--rm", *OFF, "evil", "true")
    assert done.status == 125
    assert f"/{name} in the container's root must be a directory" in done.stderr
    assert jubako.ok("ps", "-aq") == ""


@pytest.mark.parametrize("relative", [False, True])
def test_an_image_whose_etc_is_a_link_keeps_it_inside(
    relative: bool, engine: Engine, jubako: Jubako, busybox_tar: Path, canary: Path
) -> None:
    target = climbing(canary) if relative else str(canary)
    image_with(engine, busybox_tar, [link("etc", target)], without=["etc"])
    script = f"ls {canary}; cat /etc/hostname"
    out = jubako.ok("run", "--rm", *OFF, "--hostname", "inner", "evil", "sh", "-c", script)
    assert out.split() == ["hostname", "hosts", "resolv.conf", "inner"]
    done = jubako("run", "--rm", *OFF, "-u", "evil", "evil", "true")
    assert done.status == 125 and "unable to find user evil" in done.stderr


def test_files_that_the_engine_mounts_lead_to_no_part_of_proc(
    engine: Engine, jubako: Jubako, busybox_tar: Path
) -> None:
    """CVE-2025-52881: hosts, written by the engine, would cover or become a file of the kernel."""
    for target in ("/proc/self/attr/exec", "/proc/sys/kernel/hostname", "/proc/self/fd/1"):
        image_with(engine, busybox_tar, [link("etc/hosts", target)])
        done = jubako("run", "--rm", *OFF, "evil", "true")
        assert done.status == 125, done
        assert "inside /proc" in done.stderr or "etc/hosts: Invalid cross-device" in done.stderr


@pytest.mark.parametrize("options", [("-v", "{0}:/proc"), ("-v", "named:/proc/"),
                                     ("--tmpfs", "/proc"), ("-v", "{0}:/sneaky")])  # fmt: skip
def test_nothing_but_proc_is_mounted_at_proc(
    options: tuple[str, str], engine: Engine, jubako: Jubako, busybox_tar: Path, tmp_path: Path
) -> None:
    image_with(engine, busybox_tar, [link("sneaky", "proc")])
    source = tmp_path / "fake"
    source.mkdir()
    done = jubako("run", "--rm", *OFF, options[0], options[1].format(source), "evil", "true")
    assert done.status == 125
    assert "cannot be mounted because it is not of type proc" in done.stderr
    assert list(source.iterdir()) == []


# --- users ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["link", "climb", "pipe", "sparse", "kernel", "directory"])
def test_hostile_account_files(
    name: str,
    kind: str,
    engine: Engine,
    jubako: Jubako,
    busybox_tar: Path,
    root_dir: Path,
    canary: Path,
) -> None:
    path = f"etc/{name}"
    member = {
        "link": link(path, str(canary / "passwd")),
        "climb": link(path, climbing(canary / "passwd")),
        "pipe": pipe(path),
        "sparse": link(path, "/big"),
        "kernel": link(path, "/proc/kmsg"),
        "directory": directory(path),
    }[kind]
    image_with(engine, busybox_tar, [member, directory("tmp", 0o1777)], without=[path])
    started = time.monotonic()
    # From inside too, where /proc is there: `kernel` would wait for messages of the kernel.
    made = engine.containers.create({"Image": "evil", "Cmd": ["sleep", "60"]},
                                    {"NetworkMode": "none"}, name="box")["Id"]  # fmt: skip
    if kind == "sparse":
        with open(root_dir / "containers" / made / "upper/big", "wb") as big:
            big.truncate(1 << 30)
    try:
        engine.containers.start(made)
    except JubakoError as error:
        assert f"/etc/{name} of the image" in str(error), error
        assert kind in ("pipe", "sparse", "directory")
    else:
        for user in ("evil", "root:evil", "1000:1000"):
            done = jubako("exec", "-u", user, "box", "id", "-u")
            # 126: as Docker, when there is no such user
            assert done.status == 126 or done.stdout == "1000\n", (user, done)
    assert time.monotonic() - started < 10


# --- destinations of mounts ----------------------------------------------------------------------


def test_links_at_the_place_of_a_mount_stay_inside(
    engine: Engine, jubako: Jubako, busybox_tar: Path, canary: Path, tmp_path: Path
) -> None:
    members = [
        link("absolute", str(canary)),
        link("climbing", climbing(canary)),
        link("dangling", str(canary / "new")),
        link("work", str(canary / "directory")),
        link("file", str(canary / "file")),
    ]
    image_with(engine, busybox_tar, members, changes=["VOLUME /absolute/anonymous"])
    source = tmp_path / "source"
    source.write_text("source")
    script = f"cat /absolute/one /dangling /file; ls {canary}; mount | grep -c {canary}; pwd"
    out = jubako.ok(
        "run", "--rm", *OFF, "-w", "/work", "-v", f"{source}:/absolute/one",
        "-v", f"{source}:/dangling", "-v", f"{source}:/file", "-v", "named:/climbing/named",
        "--tmpfs", "/climbing/tmpfs", "evil", "sh", "-c", script,
    )  # fmt: skip
    assert out.startswith("source" * 3)
    assert out.removeprefix("source" * 3).split() == [
        "anonymous", "directory", "file", "named", "new", "one", "tmpfs", "6", f"{canary}/directory"
    ]  # fmt: skip


SWAP = """
import ctypes, os, sys
os.chdir("/v")
os.makedirs("part", exist_ok=True)
os.path.lexists("other") or os.symlink(sys.argv[1], "other")
swap = ctypes.CDLL(None).renameat2
open("swapping", "w").close()
while not os.path.exists("stop"):
    for _ in range(1000):
        swap(-100, b"part", -100, b"other", 2)  # RENAME_EXCHANGE
"""


def test_a_container_swaps_what_another_mounts_on(
    engine: Engine, jubako: Jubako, busybox: str, canary: Path, tmp_path: Path
) -> None:
    """CVE-2021-30465: binds, tmpfs, files and the working directory in a volume that another
    container changes a hundred thousand times a second."""
    data = Path(engine.volumes.create("shared")["Mountpoint"])
    swap = python(SWAP, climbing(canary))
    jubako.ok("run", "-d", "--name", "swap", *OFF, "-v", "shared:/v", *python_options(),
              busybox, *swap)  # fmt: skip
    wait_for((data / "swapping").exists, "the swapping")
    source = tmp_path / "source"
    source.mkdir()
    (source / "mine").touch()
    worked = 0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        done = jubako(
            "run", "--rm", *OFF, "-v", "shared:/v", "-v", f"{source}:/v/part/bind",
            "--tmpfs", "/v/part/tmpfs", "-v", f"{source}/mine:/v/part/file", "-w", "/v/part/work",
            busybox, "sh", "-c", "ls /v/part/bind/mine >/dev/null 2>&1; true",
        )  # fmt: skip
        worked += done.status == 0
        assert sorted(os.listdir(canary)) == ["file", "passwd"]
    (data / "stop").touch()
    assert jubako.ok("wait", "swap") == "0"
    assert worked > 0
    assert os.listdir(source) == ["mine"]


FILL = """
import os, sys
os.chdir("/v")
open("/ready/go", "w").close()
while not os.path.exists("/ready/stop"):
    for path in ("a", "a/b"):
        try:
            os.rename(path, path + "-moved-" + os.urandom(4).hex())
            os.symlink(sys.argv[1], path)
        except OSError:
            pass
    for name in os.listdir("."):
        if os.path.islink(name):
            os.unlink(name)
"""


def test_a_container_swaps_directories_while_an_image_fills_the_volume(
    engine: Engine, jubako: Jubako, busybox: str, busybox_tar: Path, canary: Path, tmp_path: Path
) -> None:
    tree = [directory("v"), directory("v/a"), directory("v/a/b")]
    tree += [file(f"v/a/b/{number}", "content") for number in range(300)]
    image_with(engine, busybox_tar, tree)
    ready = tmp_path / "ready"
    ready.mkdir()
    for number in range(4):
        name = f"volume{number}"
        engine.volumes.create(name)
        jubako.ok("run", "-d", "--name", name, *OFF, "-v", f"{name}:/v", "-v", f"{ready}:/ready",
                  *python_options(), busybox, *python(FILL, climbing(canary)))  # fmt: skip
        wait_for((ready / "go").exists, "the swapping")
        jubako("run", "--rm", *OFF, "-v", f"{name}:/v", "evil", "true")  # it may fail
        assert sorted(os.listdir(canary)) == ["file", "passwd"]
        (ready / "stop").touch()
        jubako.ok("wait", name)
        for mark in ready.iterdir():
            mark.unlink()


def test_a_volume_shared_as_tmpfs_is_not_another_directory(
    engine: Engine, jubako: Jubako, busybox: str, canary: Path
) -> None:
    """A container moves the directory above its mount away and puts a link there; whoever gets the
    same volume next must not get what the link names."""
    engine.volumes.create("mem", options={"type": "tmpfs", "device": "tmpfs"})
    jubako.ok("run", "-d", "--name", "one", *OFF, "-v", "mem:/up/root", busybox, "sleep", "60")
    jubako.ok("exec", "one", "sh", "-c",
              "mv /up /moved && mkdir /up && ln -s /proc/self/root /up/root")  # fmt: skip
    out = jubako.ok("run", "--rm", *OFF, "-v", "mem:/two", busybox, "ls", "-A", "/two")
    assert out == ""
    jubako.ok("exec", "one", "sh", "-c", "rm /up/root; mkdir /up/root; touch /up/root/false")
    out = jubako.ok("run", "--rm", *OFF, "-v", "mem:/two", busybox, "ls", "-A", "/two")
    assert out == ""


# --- the engine's own files ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_other_users_read_nothing_of_a_root(
    mode: int, jubako: Jubako, busybox: str, root_dir: Path
) -> None:
    """Also when the directory was there before and is open to all."""
    root_dir.chmod(mode)
    jubako.ok("run", "-d", "--name", "box", "-e", "TOKEN=canary", "-v", "named:/v", *OFF, busybox,
              "sleep", "60")  # fmt: skip
    jubako.ok("exec", "box", "sh", "-c", "echo canary > /v/file; echo canary > /file; echo canary")
    found = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "find", root_dir,
         "/run/jubako", "-mindepth", "1", "-readable"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert [line for line in found.stdout.splitlines() if line != "/run/jubako"] == []
    for path in root_dir.rglob("*"):
        if path.parent == root_dir or path.suffix == ".sock":
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_new_root_belongs_to_root_alone(jubako: Jubako, root_dir: Path) -> None:
    root_dir.rmdir()
    jubako.ok("images")
    assert root_dir.stat().st_mode & 0o777 == 0o700
