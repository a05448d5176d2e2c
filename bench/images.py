"""The images that the jobs need."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from side import DEBIAN

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".cache" / "bench"
# Together with the minimal variant near 477 MB in some 15,000 files: an image as people build them.
DEBIAN_SUITE = "bookworm"
DEBIAN_PACKAGES = "build-essential,python3"


def make_busybox(path: Path) -> None:
    sys.path.insert(0, str(REPOSITORY))
    from tests.fixtures.images import make_busybox_tar

    path.write_bytes(make_busybox_tar(Path("/bin/busybox")))


def make_debian(path: Path) -> None:
    """The Debian root file system, once a machine."""
    if path.exists():
        return
    print(f"making {path} with mmdebstrap", file=sys.stderr)
    new = path.with_name(f"new-{path.name}")
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={DEBIAN_PACKAGES}",
            DEBIAN_SUITE,
            new,
        ],
        check=True,
    )
    new.rename(path)


def make_archive(layer: Path, path: Path) -> None:
    """An archive as `docker save` writes it, with one layer that is not compressed."""
    if path.exists():
        return
    with layer.open("rb") as file:
        diff_id = hashlib.file_digest(file, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "mmdebstrap"}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": [DEBIAN], "Layers": [f"{diff_id}.tar"]}]
    new = path.with_name(f"new-{path.name}")
    with tarfile.open(new, "w") as tar:
        for member, data in (
            (f"{name}.json", config),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.add(layer, f"{diff_id}.tar")
    new.rename(path)
