"""Secrets in real containers: seen inside, and nowhere else (ATTACKS 25)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.store import Store
from tests.fixtures.engine import Jubako


@pytest.fixture
def marker() -> str:
    return f"marker-{os.urandom(12).hex()}"


@pytest.fixture
def file(tmp_path: Path, marker: str) -> Path:
    path = tmp_path / "source"
    path.write_text(marker)
    return path


def _files(top: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def found_in(marker: str, *tops: Path) -> list[Path]:
    """The files below that contain the marker."""
    return [path for top in tops for path in _files(top) if marker.encode() in path.read_bytes()]


def test_a_secret_is_in_memory_and_nowhere_else(
    jubako: Jubako, busybox: str, marker: str, file: Path, root_dir: Path
) -> None:
    env = {"TOKEN": marker}
    jubako.ok(
        *("run", "-d", "--network", "none", "--name", "box"),
        *("--secret", f"id=file,src={file}", "--secret", "id=TOKEN,mode=0400,target=/etc/token"),
        *(busybox, "sh", "-c", "cat /run/secrets/file /etc/token >/dev/null; exec sleep 1000"),
        env=env,
    )
    assert jubako.ok("exec", "box", "cat", "/run/secrets/file") == marker
    assert jubako.ok("exec", "box", "cat", "/etc/token") == marker
    mounts = jubako.ok("exec", "box", "grep", "secrets", "/proc/mounts").splitlines()
    assert len(mounts) == 2
    for line in mounts:
        kind, options = line.split()[2:4]
        assert kind == "tmpfs"
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split(","))
    assert found_in(marker, root_dir) == []

    run_dir = Path(_run_directory(root_dir))
    for path in found_in(marker, run_dir):  # there only where /run is in memory
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    jubako.ok("commit", "box", "image")
    for words in (
        ("inspect", "box"),
        ("inspect", "image"),
        ("history", "image"),
        ("logs", "box"),
        ("diff", "box"),
        ("why", "box"),
        ("events", "--since", "1h", "--until", "0s", "--format", "json"),
        ("inspect", "--as", "run", "box"),
        ("inspect", "--as", "compose", "box"),
        ("inspect", "--as", "python", "box"),
    ):
        assert marker not in jubako.ok(*words), words
    tar = root_dir.parent / "export.tar"
    jubako.ok("export", "-o", tar, "box")
    saved = root_dir.parent / "save.tar"
    jubako.ok("save", "-o", saved, "image")
    assert found_in(marker, root_dir) == []
    assert marker.encode() not in tar.read_bytes() + saved.read_bytes()

    jubako.ok("stop", "-t", "0", "box")
    assert found_in(marker, root_dir) == []
    jubako.ok("start", "box")
    assert jubako.ok("exec", "box", "cat", "/etc/token") == marker, "kept for the next start"
    jubako.ok("rm", "-f", "box")
    assert found_in(marker, root_dir, run_dir) == []
    assert _kept(root_dir) == []


def _run_directory(root: Path) -> str:
    store = Store(str(root))
    try:
        return store.run_dir
    finally:
        store.close()


def _kept(root: Path) -> list[str]:
    """What is kept of secrets that came without a file."""
    store = Store(str(root))
    try:
        places = (store.run_dir, "/dev/shm")
        return [
            name
            for place in places
            for name in os.listdir(place)
            if name.startswith(("secrets.", f"{store.name}.secrets."))
        ]
    finally:
        store.close()


def test_nothing_shows_a_secret_in_debug_output(
    jubako: Jubako, busybox: str, marker: str, file: Path
) -> None:
    done = jubako(
        *("--debug", "run", "--rm", "--network", "none", "--secret", "TOKEN"),
        *("--secret", f"id=file,src={file}", busybox, "true"),
        env={"TOKEN": marker},
    )
    assert done.status == 0
    assert "secrets" in done.stderr and marker not in done.stderr


def test_owner_and_mode(jubako: Jubako, busybox: str, file: Path) -> None:
    shown = jubako.ok(
        *("run", "--rm", "--network", "none", "--read-only", "--user", "1000:1000"),
        *("--secret", f"id=a,src={file}"),
        *("--secret", f"id=b,src={file},uid=1000,gid=50,mode=0400,target=sub/b"),
        *("--secret", f"id=c,src={file},mode=0400"),
        *(
            busybox,
            "sh",
            "-c",
            "stat -c '%n %u:%g %a' /run/secrets /run/secrets/* /run/secrets/*/*",
        ),
    )
    assert shown.splitlines() == [
        "/run/secrets 0:0 755",
        "/run/secrets/a 0:0 444",
        "/run/secrets/c 0:0 400",
        "/run/secrets/sub 0:0 755",
        "/run/secrets/sub/b 1000:50 400",
    ]
    done = jubako(
        *(
            "run",
            "--rm",
            "--network",
            "none",
            "--user",
            "1000",
            "--secret",
            f"id=c,src={file},mode=400",
        ),
        *(busybox, "cat", "/run/secrets/c"),
    )
    assert done.status == 1 and "Permission denied" in done.stderr


def test_nobody_in_the_container_can_change_a_secret(
    jubako: Jubako, busybox: str, file: Path, marker: str
) -> None:
    done = jubako(
        *("run", "--rm", "--network", "none", "--secret", f"id=a,src={file}"),
        *(busybox, "sh", "-c", "echo x >/run/secrets/a; rm /run/secrets/a; touch /run/secrets/b"),
    )
    assert done.stderr.count("Read-only file system") == 3
    assert file.read_text() == marker


def test_a_file_is_read_at_each_start(jubako: Jubako, busybox: str, file: Path) -> None:
    jubako.ok(
        *("run", "--network", "none", "--name", "box", "--secret", f"id=a,src={file}"),
        *(busybox, "cat", "/run/secrets/a"),
    )
    file.write_text("rotated")
    assert jubako.ok("start", "-a", "box") == "rotated"
    file.unlink()
    done = jubako("start", "box")
    assert done.status == 1
    assert f"read secret a {file}: No such file or directory" in done.stderr


def test_content_that_is_gone_is_said_to_be(jubako: Jubako, busybox: str, root_dir: Path) -> None:
    jubako.ok(
        *("create", "--network", "none", "--name", "box", "--secret", "id=a,env=TOKEN"),
        *(busybox, "cat", "/run/secrets/a"),
        env={"TOKEN": "first"},
    )
    for place in (_run_directory(root_dir), "/dev/shm"):
        for name in os.listdir(place):
            if name in _kept(root_dir):  # as a reboot would
                for path in Path(place, name).iterdir():
                    path.unlink()
    done = jubako("start", "box")
    assert done.status == 1
    assert "the content of secret a was given once" in done.stderr
    assert "jubako container edit --secret id=a,env=TOKEN box" in done.stderr
    jubako.ok("container", "edit", "--secret", "id=a,env=TOKEN", "box", env={"TOKEN": "second"})
    assert jubako.ok("start", "-a", "box") == "second"


def test_below_other_mounts_and_beside_them(jubako: Jubako, busybox: str, file: Path) -> None:
    words = ("run", "--rm", "--network", "none", "--secret", f"id=a,src={file}")
    cat = (busybox, "cat", "/run/secrets/a")
    marker = file.read_text()
    assert jubako.ok(*words, "--tmpfs", "/run", *cat) == marker
    assert jubako.ok(*words, "--tmpfs", "/run/secrets", *cat) == marker
    assert jubako.ok(*words, "-v", "data:/run/secrets", *cat) == marker
    assert jubako.ok(*words, "--tmpfs", "/run/secrets/x", *cat) == marker


def test_a_create_that_fails_keeps_nothing(
    jubako: Jubako, busybox: str, root_dir: Path, marker: str
) -> None:
    jubako.ok("create", "--name", "taken", busybox)
    done = jubako("create", "--name", "taken", "--secret", "TOKEN", busybox, env={"TOKEN": marker})
    assert done.status == 1 and marker not in done.stderr
    assert _kept(root_dir) == []


def test_what_a_killed_create_left_is_swept(
    jubako: Jubako, busybox: str, root_dir: Path, marker: str
) -> None:
    done = jubako(
        *("create", "--secret", "TOKEN", busybox),
        env={"TOKEN": marker, "JUBAKO_FAULT": "containers.create.directories"},
    )
    assert done.status != 0 and len(_kept(root_dir)) == 1
    jubako.ok("create", busybox)
    assert _kept(root_dir) == []
