"""Archives that others wrote, and ours as others read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.conftest import Program
from tests.fixtures.engine import Jubako

# No signature policy of the machine has a say in a test.
_ANY_POLICY = "--insecure-policy"


@pytest.mark.parametrize("archive_format", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save(
    archive_format: str,
    jubako: Jubako,
    busybox: str,
    tmp_path: Path,
    program: Callable[[str], Program],
) -> None:
    skopeo = program("skopeo")
    saved = tmp_path / "saved.tar"
    jubako.ok("save", "-o", str(saved), busybox)
    (ours,) = json.loads(jubako.ok("image", "inspect", busybox))
    config = json.loads(skopeo("inspect", "--config", f"docker-archive:{saved}"))
    assert config["config"]["Cmd"] == ["sh"]
    assert config["rootfs"]["diff_ids"] == ours["RootFS"]["Layers"]
    copy = tmp_path / "copy.tar"
    skopeo(_ANY_POLICY, "copy", f"docker-archive:{saved}", f"{archive_format}:{copy}:other:tag")
    jubako.ok("rmi", busybox)
    jubako.ok("load", "-i", str(copy))
    (loaded,) = json.loads(
        jubako.ok("image", "inspect", jubako.ok("images", "-q", "--no-trunc")),
    )
    assert loaded["RootFS"] == ours["RootFS"]
    if archive_format == "docker-archive":  # for the other skopeo writes a new config
        assert loaded["Id"] == ours["Id"]


def test_save_and_load_keep_the_bytes_of_the_config(
    jubako: Jubako, busybox: str, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.tar"
    before = jubako.ok("images", "-q", "--no-trunc")
    jubako.ok("save", "-o", str(saved), busybox)
    jubako.ok("rmi", busybox)
    assert jubako.ok("load", "-i", str(saved)) == f"Loaded image: {busybox}"
    assert jubako.ok("images", "-q", "--no-trunc") == before


def test_umoci_unpacks_the_same_layer(
    jubako: Jubako, busybox: str, tmp_path: Path, program: Callable[[str], Program]
) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    saved, layout, bundle = tmp_path / "saved.tar", tmp_path / "layout", tmp_path / "bundle"
    jubako.ok("save", "-o", str(saved), busybox)
    skopeo(_ANY_POLICY, "copy", f"docker-archive:{saved}", f"oci:{layout}:latest")
    umoci("unpack", "--image", f"{layout}:latest", bundle)
    theirs = {str(path.relative_to(bundle / "rootfs")) for path in bundle.glob("rootfs/**/*")}
    listing = jubako.ok("run", "--rm", "--network", "none", busybox, "find", "/bin", "/etc", "/usr")
    ours = {path.removeprefix("/") for path in listing.splitlines()}
    made_for_the_container = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"}
    kept = {path for path in theirs if path.split("/")[0] in ("bin", "etc", "usr")}
    assert ours - made_for_the_container == kept - made_for_the_container


def test_an_image_that_umoci_made_runs(
    jubako: Jubako, busybox_tar: Path, tmp_path: Path, program: Callable[[str], Program]
) -> None:
    skopeo, umoci = program("skopeo"), program("umoci")
    layout, archive = tmp_path / "layout", tmp_path / "archive.tar"
    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:made")
    umoci("raw", "add-layer", "--image", f"{layout}:made", busybox_tar)
    umoci("config", "--image", f"{layout}:made", "--config.env", "FROM=umoci")
    skopeo(_ANY_POLICY, "copy", f"oci:{layout}:made", f"oci-archive:{archive}:made:latest")
    jubako.ok("load", "-i", str(archive))
    image = jubako.ok("images", "-q")
    output = jubako.ok("run", "--rm", "--network", "none", image, "sh", "-c", "echo $FROM")
    assert output == "umoci"
