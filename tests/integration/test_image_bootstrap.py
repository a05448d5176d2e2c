"""A base image made from the distribution's signed archive."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument, JubakoError, Unavailable
from jubako.images import ImageService
from jubako.store import Store
from tests.fixtures.images import DEBIAN_SUITE
from tests.fixtures.isolation import run_on_machine_network
from tests.integration.image_tools import seen

_PROGRAM = """
import sys
from jubako.images import ImageService
from jubako.store import Store
ImageService(Store(sys.argv[1])).bootstrap(sys.argv[2])
"""


@pytest.fixture
def images(root_dir: Path) -> Iterator[ImageService]:
    store = Store(str(root_dir))
    yield ImageService(store)
    store.close()


@pytest.mark.slow
def test_a_debian_image(images: ImageService) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap (Debian package mmdebstrap)")
    target = f"debian:{DEBIAN_SUITE}"
    argv = [sys.executable, "-c", _PROGRAM, images.store.path, target]
    run_on_machine_network(argv, timeout_s=600)
    found = images.inspect(target)
    assert found["RepoTags"] == [target]
    assert found["Config"]["Cmd"] == ["bash"]
    assert found["Config"]["Env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ]
    (step,) = images.history(target)
    assert step["CreatedBy"].startswith("# mmdebstrap --variant=minbase")
    with seen(images.layers, *found["RootFS"]["Layers"]) as top:
        check_content(top, step["Created"])
    ingest = Path(images.store.path, "layers", ".ingest")
    assert [path.name for path in ingest.iterdir() if path.name != "empty"] == []


def check_content(top: Path, created_s: float) -> None:
    assert (top / "etc/os-release").exists() and (top / "usr/bin/apt-get").exists()
    # Nothing of this machine, nothing that only takes space.
    for name in ("etc/hostname", "etc/resolv.conf", "var/log/dpkg.log"):
        assert not (top / name).exists(), name
    assert list((top / "dev").iterdir()) == []
    assert list((top / "var/cache/apt").rglob("*.deb")) == []
    assert list((top / "var/lib/apt/lists").rglob("*Packages*")) == []
    assert (top / "usr/sbin/policy-rc.d").read_text() == "#!/bin/sh\nexit 101\n"
    assert "rm -f /var/cache/apt" in (top / "etc/apt/apt.conf.d/docker-clean").read_text()
    newest = max(path.lstat().st_mtime for path in top.rglob("*"))
    assert newest <= created_s


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        ("plan9:4", {}, InvalidArgument, "cannot bootstrap 'plan9'"),
        ("debian:Bad Suite", {}, InvalidArgument, "not a suite"),
        ("debian:--help", {}, InvalidArgument, "not a suite"),
        ("debian:bookworm", {"variant": "huge"}, InvalidArgument, "unknown variant"),
        ("debian:bookworm", {"include": ["--hook=x"]}, InvalidArgument, "not a package name"),
        ("debian:bookworm", {"mirror": "nonsense"}, InvalidArgument, "not an archive's address"),
        (
            "debian:bookworm",
            {"mirror": "file:///nonexistent"},
            Unavailable,
            "file:///nonexistent/dists/bookworm/Release",
        ),
    ],
)
def test_bad_requests(
    images: ImageService,
    target: str,
    options: dict[str, object],
    error: type[JubakoError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        images.bootstrap(target, **options)  # type: ignore[arg-type]
    assert images.list() == []


def test_a_failing_mmdebstrap_is_reported(images: ImageService, tmp_path: Path) -> None:
    """A mirror that has a Release file, but no signature."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap (Debian package mmdebstrap)")
    release = tmp_path / "mirror" / "dists" / "bookworm" / "Release"
    release.parent.mkdir(parents=True)
    release.write_text("Date: Sat, 06 Jan 2024 12:00:00 UTC\nCodename: bookworm\n")
    with pytest.raises(Unavailable, match="mmdebstrap failed") as info:
        images.bootstrap("debian:bookworm", mirror=f"file://{tmp_path}/mirror")
    assert info.value.hint is not None
    assert images.list() == []
    assert os.listdir(Path(images.store.path, "layers", ".ingest")) == []
