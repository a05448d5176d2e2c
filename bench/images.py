"""The images that the jobs need."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from side import PREFIX

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


class Sample(NamedTuple):
    """An image to move about.

    text: what the table says of it.  verbs: the jobs that it is for.  layer: the tar of its only
    layer, if it has but one.  archive: what `docker save` would write of it.
    """

    name: str
    text: str
    verbs: tuple[str, ...]

    @property
    def layer(self) -> Path:
        return CACHE / f"{self.name}.tar"

    @property
    def archive(self) -> Path:
        return CACHE / f"{self.name}-archive.tar"

    @property
    def reference(self) -> str:
        return f"{PREFIX}-{self.name}:latest"


_ALL = ("pull", "push", "load", "save", "import", "export")
DEBIAN = Sample("debian", "the Debian image", _ALL)
LAYERS = Sample("layers", "an image of 60 layers", ("pull", "push", "load", "save"))
FILES = Sample("files", "an image of 100,000 small files", _ALL)
SAMPLES = (DEBIAN, LAYERS, FILES)
TINY = Sample("tiny", "a tiny image", ())
_FILES = 100_000
_LAYERS = 60
_BYTES_IN_FILE = 1_000


def make_samples() -> list[Sample]:
    """The images, each made once a machine; the files of all have Debian's content."""
    _once(TINY.layer, make_busybox)
    make_archive([TINY.layer], TINY)
    make_debian(DEBIAN.layer)
    make_archive([DEBIAN.layer], DEBIAN)
    _once(FILES.layer, _make_small_files)
    make_archive([FILES.layer], FILES)
    if not LAYERS.archive.exists():
        layers = _split(DEBIAN.layer, _LAYERS)
        make_archive(layers, LAYERS)
        for layer in layers:
            layer.unlink()
    return list(SAMPLES)


def make_archive(layers: list[Path], sample: Sample) -> None:
    """An archive as `docker save` writes it, with layers that are not compressed."""
    if sample.archive.exists():
        return
    digests = [_sha256(layer) for layer in layers]
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
            "os": "linux",
            "config": {"Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "made"}] * len(layers),
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    names = [f"{digest}.tar" for digest in digests]
    manifest = [{"Config": f"{name}.json", "RepoTags": [sample.reference], "Layers": names}]

    def write(path: Path) -> None:
        with tarfile.open(path, "w") as tar:
            _add(tar, f"{name}.json", config)
            _add(tar, "manifest.json", json.dumps(manifest).encode())
            for layer, member in zip(layers, names, strict=True):
                tar.add(layer, member)

    _once(sample.archive, write)


def _make_small_files(path: Path) -> None:
    """A tar of small files, a hundred in a directory."""
    with DEBIAN.layer.open("rb") as source, tarfile.open(path, "w") as tar:
        step = DEBIAN.layer.stat().st_size // _FILES
        for number in range(_FILES):
            data = os.pread(source.fileno(), _BYTES_IN_FILE, number * step)
            _add(tar, f"data/{number // 100}/{number}", data)


def _split(path: Path, amount: int) -> list[Path]:
    """The regular files of a tar in `amount` tars."""
    parts = [CACHE / f"layer-{number}.tar" for number in range(amount)]
    with tarfile.open(path) as source, ExitStack() as stack:
        tars = [stack.enter_context(tarfile.open(part, "w")) for part in parts]
        members = [member for member in source if member.isreg()]
        for number, member in enumerate(members):
            tar = tars[number * amount // len(members)]
            tar.addfile(member, source.extractfile(member))
    return parts


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _once(path: Path, make: Callable[[Path], object]) -> None:
    if not path.exists():
        new = path.with_name(f"new-{path.name}")
        make(new)
        new.rename(path)
