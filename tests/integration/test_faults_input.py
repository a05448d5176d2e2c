"""Bad input on the command line: a sentence, Docker's exit code, and nothing left behind."""

from __future__ import annotations

import gzip
import io
import re
import socket
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.engine import Jubako
from tests.integration.fault_tools import Traces, status

OFF = ("--network", "none")


REFUSED = [
    # flags
    (["--nope"], "unknown flag: --nope"),
    (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
    (["-m", "lots"], 'invalid argument "lots" for "-m, --memory" flag'),
    (["--memory", "1k"], "Minimum memory limit allowed is 6MB"),
    (["--cpus", "nan"], "invalid"),
    (["--cpuset-cpus", "999"], "999"),
    (["-p", "99999:80"], "99999"),
    (["-p", "80:80:80:80"], "invalid IP address: 80:80"),
    (["-v", "relative/path:/x"], "relative/path"),
    (["-v", "/x:relative"], "relative"),
    (["-v", "/:/"], "/"),
    (["--mount", "type=bind,source=/no/such/place,target=/x"], "/no/such/place"),
    (["--mount", "type=nope,target=/x"], "nope"),
    (["--cap-add", "NOPE"], "NOPE"),
    (["--security-opt", "nope"], "nope"),
    (["--security-opt", "seccomp=/no/such/file"], "/no/such/file"),
    (["--ulimit", "nope=1"], "nope"),
    (["--sysctl", "kernel.panic=1"], "kernel.panic"),
    (["--device", "/dev/no-such-device"], "/dev/no-such-device"),
    (["--env-file", "/no/such/file"], "/no/such/file"),
    (["--runtime", "nope"], "nope"),
    (["--log-driver", "nope"], "nope"),
    (["--log-opt", "max-size=lots"], "lots"),
    (["--stop-signal", "NOPE"], "NOPE"),
    (["--network", "container:nobody"], "No such container: nobody"),
    (["--pid", "container:nobody"], "No such container: nobody"),
    (["--volumes-from", "nobody"], "No such container: nobody"),
    (["--name", "a/b"], "Invalid container name (a/b)"),
    # the image's files
    (["-u", "nobody-here"], "unable to find user nobody-here: no matching entries in passwd file"),
    (["-u", "root:nogroup-here"], "unable to find group nogroup-here"),
    (["--group-add", "nogroup-here"], "nogroup-here"),
]


@pytest.mark.parametrize("remove", [True, False], ids=["rm", "kept"])
def test_run_refuses(jubako: Jubako, busybox: str, traces: Traces, remove: bool) -> None:
    """Each is 125; with --rm no container stays, without it one that has its volumes."""
    rm = ["--rm"] if remove else []
    wrong = []
    for words, message in REFUSED:
        network = [] if "--network" in words else OFF
        found = jubako("run", *rm, *network, "-v", "/anonymous", *words, busybox, "true")
        good = found.status == 125 and not found.stdout and message in found.stderr
        if not good or not found.stderr.startswith(("jubako: ", "unknown", "invalid")):
            wrong.append((words, found))
        assert "internal error" not in found.stderr, (words, found)
    assert wrong == []
    if remove:
        assert jubako.ok("ps", "-aq") == ""
    elif left := jubako.ok("ps", "-aq").split():
        jubako.ok("rm", "-v", *left)
    assert jubako.ok("volume", "ls", "-q") == ""
    traces.assert_none()


def test_a_missing_image(jubako: Jubako, traces: Traces) -> None:
    for argv, code in (
        (("run", "nothing"), 125),
        (("run", "-d", "nothing:1"), 125),
        (("create", "nothing"), 1),
        (("tag", "nothing", "other"), 1),
        (("rmi", "nothing"), 1),
        (("history", "nothing"), 1),
        (("save", "nothing"), 1),
        (("run", "UPPER"), 125),
        (("run", "sha256:" + "0" * 64), 125),
    ):
        found = jubako(*argv)
        assert found.status == code, (argv, found)
        assert "jubako: " in found.stderr
        assert "internal error" not in found.stderr
    jubako.ok("ps", "-a")
    traces.assert_none()


@pytest.mark.parametrize("detached", [True, False], ids=["detached", "foreground"])
def test_a_program_that_cannot_run(
    jubako: Jubako, busybox: str, traces: Traces, detached: bool
) -> None:
    """127 and 126, on the bridge with a port and a volume: all of it is taken down."""
    mode = ["-d"] if detached else []
    options = ("--rm", "-p", "8080:80", "-v", "/anonymous")
    for argv, code, words in (
        (["nope"], 127, "executable file not found in $PATH"),
        (["/nope"], 127, "no such file or directory"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, "permission denied"),
    ):
        found = jubako("run", *mode, *options, busybox, *argv)
        assert found.status == code, (argv, found)
        assert words in found.stderr
        assert jubako.ok("ps", "-aq") == ""
        traces.assert_none()
    assert jubako.ok("volume", "ls", "-q") == ""


def test_a_port_of_another_container(jubako: Jubako, busybox: str, traces: Traces) -> None:
    jubako.ok("run", "-d", "--name", "first", "-p", "8080:80", busybox, "sleep", "100")
    found = jubako("run", "-d", "--name", "second", "-p", "8080:80", busybox, "sleep", "100")
    assert found.status == 125
    assert re.search(
        r"jubako: driver failed programming external connectivity on endpoint second"
        r" \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated",
        found.stderr,
    ), found
    assert status(jubako, "second") == "created 128"
    found = jubako("run", "--rm", "-p", "127.0.0.1:8080:80", busybox, "true")
    assert found.status == 125
    found = jubako("start", "second")
    assert found.status == 1
    assert "port is already allocated" in found.stderr
    jubako.ok("rm", "-f", "first")
    traces.assert_none()
    jubako.ok("start", "second")
    assert status(jubako, "second") == "running 0"
    jubako.ok("rm", "-f", "second")
    traces.assert_none()


@pytest.mark.parametrize(
    ("kind", "option", "place"),
    [
        (socket.SOCK_STREAM, "8080:80", "tcp4 0.0.0.0:8080"),
        (socket.SOCK_STREAM, "127.0.0.1:8080:80", "tcp4 127.0.0.1:8080"),
        (socket.SOCK_DGRAM, "8080:80/udp", "udp4 0.0.0.0:8080"),
    ],
)
def test_a_port_of_another_program(
    jubako: Jubako, busybox: str, traces: Traces, kind: int, option: str, place: str
) -> None:
    command = ("run", "-d", "--rm", "--name", "box", "-p", "8090:90", "-p", option, busybox)
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 8080))
        if kind == socket.SOCK_STREAM:
            other.listen()
        found = jubako(*command, "sleep", "100")
        assert found.status == 125
        words = f"Error starting userland proxy: listen {place}: bind: address already in use"
        assert words in found.stderr
        assert jubako.ok("ps", "-aq") == ""
        traces.assert_none()
    jubako.ok(*command, "sleep", "100")
    jubako.ok("rm", "-f", "box")
    traces.assert_none()


def test_references_to_nothing(jubako: Jubako, busybox: str, traces: Traces) -> None:
    for argv in (
        ("start", "nobody"),
        ("stop", "nobody"),
        ("kill", "nobody"),
        ("restart", "nobody"),
        ("pause", "nobody"),
        ("unpause", "nobody"),
        ("rm", "nobody"),
        ("exec", "nobody", "true"),
        ("logs", "nobody"),
        ("attach", "nobody"),
        ("wait", "nobody"),
        ("top", "nobody"),
        ("port", "nobody"),
        ("rename", "nobody", "other"),
        ("commit", "nobody"),
        ("export", "nobody"),
    ):
        found = jubako(*argv)
        assert found.status == 1, (argv, found)
        assert "No such container: nobody" in found.stderr, (argv, found)
    traces.assert_none()


# --- archives ------------------------------------------------------------------------------------


@pytest.fixture
def saved(jubako: Jubako, busybox: str, tmp_path: Path) -> bytes:
    """A good archive of an image that is not in the store any more."""
    path = tmp_path / "good.tar"
    jubako.ok("save", "-o", str(path), busybox)
    jubako.ok("rmi", busybox)
    return path.read_bytes()


def test_a_cut_archive_is_not_loaded(
    jubako: Jubako, saved: bytes, traces: Traces, tmp_path: Path
) -> None:
    path = tmp_path / "cut.tar"
    end = len(saved.rstrip(b"\0"))
    for at in [0, 1, 511, 512, *(end * part // 8 for part in range(1, 8)), end - 1]:
        for data in (saved[:at], gzip.compress(saved, 1)[: at // 3]):
            path.write_bytes(data)
            found = jubako("load", "-i", str(path))
            assert found.status == 1, (at, found)
            assert found.stderr.startswith("jubako: "), (at, found)
            assert "internal error" not in found.stderr, (at, found)
    assert jubako.ok("images", "-aq") == ""
    traces.assert_none()
    assert jubako.ok("load", stdin=saved) == "Loaded image: busybox:latest"


def test_a_corrupted_archive_is_not_loaded(
    jubako: Jubako, saved: bytes, traces: Traces, tmp_path: Path
) -> None:
    """One bit of a layer's, the configuration's or the manifest's content."""
    path = tmp_path / "bad.tar"
    changed = 0
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        members = [member for member in tar if member.isfile() and member.size > 100]
    for member in members:
        data = bytearray(saved)
        data[member.offset_data + member.size // 2] ^= 0x10
        path.write_bytes(data)
        found = jubako("load", "-i", str(path))
        assert "internal error" not in found.stderr, (member.name, found)
        if found.status == 0:  # the other of the two indexes that such an archive has
            jubako.ok("rmi", "-f", *jubako.ok("images", "-aq").split())
            continue
        changed += 1
        assert found.stderr.startswith("jubako: "), (member.name, found)
        assert jubako.ok("images", "-aq") == ""
        traces.assert_none()
    assert changed >= 2


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o755
    return info


def _fake_layers(layer: bytes) -> bytes:
    """A Docker archive around a hostile layer, whose digests are right."""
    import hashlib
    import json

    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }
    manifest = [{"Config": "c.json", "RepoTags": ["evil:latest"], "Layers": ["l.tar"]}]
    return _tar(
        (_member("l.tar"), layer),
        (_member("c.json"), json.dumps(config).encode()),
        (_member("manifest.json"), json.dumps(manifest).encode()),
    )


HOSTILE: dict[str, Callable[[str], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "dots": lambda out: [(_member("../../evil"), b"x")],
    "link out": lambda out: [
        (_member("l", tarfile.SYMTYPE, out), b""),
        (_member("l/evil"), b"x"),
    ],
    "link up": lambda out: [
        (_member("l", tarfile.SYMTYPE, "../../../../.."), b""),
        (_member(f"l{out}/evil"), b"x"),
    ],
    "hard link out": lambda out: [(_member("h", tarfile.LNKTYPE, f"{out}/canary"), b"")],
    "hard link through a link": lambda out: [
        (_member("l", tarfile.SYMTYPE, out), b""),
        (_member("h", tarfile.LNKTYPE, "l/canary"), b""),
        (_member("h"), b"overwritten"),
    ],
    "absolute": lambda out: [(_member(f"{out}/evil"), b"x")],
    "device 0/0": lambda out: [(_member("null", tarfile.CHRTYPE), b"")],
    "whiteout": lambda out: [(_member("../.wh.canary"), b"")],
}


@pytest.mark.parametrize("command", ["import", "load"])
def test_hostile_archives(
    jubako: Jubako, traces: Traces, tmp_path: Path, root_dir: Path, command: str
) -> None:
    """Refused with a sentence, or confined to the image; the host does not change."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("untouched")
    jubako.ok("images")
    for name, members in HOSTILE.items():
        data = _tar(*members(str(outside)))
        argv = ("import", "-", "evil") if command == "import" else ("load",)
        found = jubako(*argv, stdin=data if command == "import" else _fake_layers(data))
        assert "internal error" not in found.stderr, (name, found)
        if found.status:
            assert found.stderr.startswith("jubako: "), (name, found)
            assert jubako.ok("images", "-aq") == "", name
        else:
            assert name in ("absolute", "link up"), (name, found)
            jubako.ok("rmi", "evil")
        assert [path.name for path in outside.iterdir()] == ["canary"], name
        assert (outside / "canary").read_text() == "untouched", name
        assert (outside / "canary").stat().st_nlink == 1, name
        assert not list(root_dir.rglob("evil")), name
        traces.assert_none()


def test_devices_of_an_image_open_nothing(
    jubako: Jubako, traces: Traces, busybox_tar: Path, tmp_path: Path
) -> None:
    """An image may bring any device node; the container's cgroup decides."""
    path = tmp_path / "devices.tar"
    path.write_bytes(busybox_tar.read_bytes())
    with tarfile.open(path, "a") as tar:
        for name, kind, major, minor in (
            ("memory", tarfile.CHRTYPE, 1, 1),
            ("kmsg", tarfile.CHRTYPE, 1, 11),
            ("disk", tarfile.BLKTYPE, 7, 0),
        ):
            info = _member(name, kind)
            info.devmajor, info.devminor, info.mode = major, minor, 0o666
            tar.addfile(info)
    jubako.ok("import", str(path), "devices")
    for name in ("memory", "kmsg", "disk"):
        command = ("run", "--rm", *OFF, "devices", "head", "-c", "1", f"/{name}")
        found = jubako(*command)
        assert found.status == 1, (name, found)
        assert re.search("Operation not permitted|Permission denied", found.stderr), (name, found)
    jubako.ok("rmi", "devices")
    traces.assert_none()


@contextmanager
def _bomb(path: Path, megabytes: int) -> Iterator[None]:
    """A gzip of a tar with one file of zeros: a thousandth of its size."""
    header = _member("zeros")
    header.size = megabytes << 20
    with gzip.open(path, "wb", compresslevel=9) as out:
        out.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(megabytes):
            out.write(bytes(1 << 20))
        out.write(bytes(1024))
    yield
    path.unlink()


def test_a_bomb(jubako: Jubako, traces: Traces, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    jubako.ok("images")
    with _bomb(path, 300):
        assert path.stat().st_size < 1 << 20
        found = jubako("import", str(path), "bomb")
    assert found.status == 1
    assert "times" in found.stderr
    assert jubako.ok("images", "-aq") == ""
    traces.assert_none()


def test_what_is_no_archive_at_all(jubako: Jubako, traces: Traces) -> None:
    for data in (b"", b"hello\n", bytes(10240), gzip.compress(b"hello"), b"\x1f\x8b" + b"x" * 99):
        for argv in (("load",), ("import", "-", "evil")):
            found = jubako(*argv, stdin=data)
            assert "internal error" not in found.stderr, (argv, data[:10], found)
            if found.status == 0:  # a tar of nothing is an image of nothing
                assert argv[0] == "import" and not data.strip(b"\0"), (data[:10], found)
                jubako.ok("rmi", "evil")
    assert jubako.ok("images", "-aq") == ""
    traces.assert_none()
