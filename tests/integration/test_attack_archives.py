"""Archives that try to leave their layer, and what layers hide of one another: rows 13 and 14 of
the list of attacks, from `import` and `load` to a running container."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.bad_registry import BadRegistry
from tests.fixtures.engine import Jubako
from tests.integration.attack_tools import (
    OFF,
    Member,
    device,
    directory,
    file,
    link,
)

HARD = tarfile.LNKTYPE


def tar_of(members: list[Member], headers: dict[str, dict[str, str]] | None = None) -> bytes:
    """An archive; headers: PAX headers by the member's name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, text, mode in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, mode
            entry.pax_headers = dict((headers or {}).get(name, {}))
            if kind == tarfile.REGTYPE:
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
                continue
            if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                entry.devmajor, entry.devminor = map(int, text.split(":"))
            else:
                entry.linkname = text
            tar.addfile(entry)
    return out.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """What no archive may touch; nothing called `escaped` may appear anywhere but in a layer."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "canary").write_text("untouched")
    yield path
    assert os.listdir(path) == ["canary"]
    assert (path / "canary").read_text() == "untouched"
    assert (path / "canary").stat().st_nlink == 1 and (path / "canary").stat().st_mode & 0o4000 == 0
    for top, names, files in os.walk(tmp_path):
        if Path(top) == tmp_path / "root":
            names[:] = [name for name in names if name != "layers"]
        assert "escaped" not in (*names, *files), top
    assert not Path("/escaped").exists() and not Path("/tmp/escaped").exists()


def deep(count: int, target: str) -> list[Member]:
    """Links whose resolved path is longer than PATH_MAX (CVE-2025-4517): realpath(3) gives up."""
    members: list[Member] = []
    path = ""
    for letter in "abcdefghijklmnop":
        members.append(directory(f"{path}{'d' * count}"))
        members.append(link(f"{path}{letter}", "d" * count))
        path += f"{letter}/"
    members.append(link(f"{path}{'l' * 200}", "../" * 16))
    members.append(link("escape", f"{path}{'l' * 200}/../../../../../..{target}"))
    return members


# name -> members, with {out} for the directory outside; refused, or what `find` must not show
CORPUS: dict[str, list[Member]] = {
    "dotdot": [file("../escaped")],
    "dotdot inside": [directory("a"), file("a/../../escaped")],
    "absolute": [file("{out}/escaped")],
    "link then write": [link("l", "{out}"), file("l/escaped")],
    "link to dotdot": [link("l", "../../../../../../../../../../..{out}"), file("l/escaped")],
    "link to link": [link("a", "{out}"), link("b", "a"), file("b/escaped")],
    "link by parts": [link("a", ".."), link("a/b", ".."), file("a/b/escaped")],
    "out and in again": [link("l", "{out}/../root/layers"), file("l/escaped")],
    "proc root": [link("l", "/proc/self/root/tmp"), file("l/escaped")],
    "proc cwd": [link("l", "/proc/self/cwd/.."), file("l/escaped")],
    "hard link outside": [("h", HARD, "{out}/canary", 0o644), file("h", "overwritten")],
    "hard link dotdot": [("h", HARD, "../../../../../../../../..{out}/canary", 0o644)],
    "hard link to a link": [link("l", "{out}/canary"), ("h", HARD, "l", 0o4777),
                            file("h", "overwritten", 0o4777)],
    "hard link through a link": [link("l", "{out}"), ("h", HARD, "l/canary", 0o4777)],
    "link replaced by a directory": [link("d", "{out}"), directory("d", 0o777), file("d/escaped")],
    "directory replaced by a link": [directory("d"), link("d", "{out}"), file("d/escaped")],
    "file through its own link": [link("f", "{out}/escaped"), file("f", "text")],
    "mode through a link": [link("c", "{out}/canary"), file("c", "x", 0o4777)],
    "empty name": [link("", "{out}"), file("escaped")],
    "root is a link": [link("./", "{out}"), file("escaped")],
    "whiteout outside": [file("../.wh.outside"), file(".wh.../outside")],
    "whiteout through a link": [link("l", "{out}"), file("l/.wh.canary")],
    "opaque through a link": [link("l", "{out}"), file("l/.wh..wh..opq")],
    "longer than a path": [*deep(247, "{out}"), file("escape/escaped")],
    "device": [device("disk", tarfile.BLKTYPE, "8:0"), device("mem", tarfile.CHRTYPE, "1:1")],
    "a false whiteout": [device("etc", tarfile.CHRTYPE, "0:0")],
}  # fmt: skip

# What Docker unpacks too, every name of it inside the layer; the others are refused.
CONTAINED = {
    "absolute", "link by parts", "hard link to a link", "link replaced by a directory",
    "file through its own link", "mode through a link", "device",
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_no_archive_leaves_its_layer(
    name: str,
    storage_driver: str,
    jubako: Jubako,
    busybox: str,
    outside: Path,
    root_dir: Path,
    bad_registry: BadRegistry,
) -> None:
    members = [
        (path.format(out=outside), kind, text.format(out=outside), mode)
        for path, kind, text, mode in CORPUS[name]
    ]
    data = tar_of(members)
    layers = sorted(os.listdir(root_dir / "layers"))
    imported = jubako("import", "-", "hostile", stdin=data)
    loaded = jubako("load", stdin=docker_archive("loaded", [data]))
    bad_registry.add_image("pulled", [data])
    remote = f"{bad_registry.host}/pulled"
    pulled = jubako("pull", remote, env={"DOCKER_CONFIG": str(root_dir / "none")})
    for done, image in ((imported, "hostile"), (loaded, "loaded"), (pulled, remote)):
        assert done.status == (0 if name in CONTAINED else 1), done
        if done.status == 1:
            assert "internal error" not in done.stderr and done.stderr.strip(), done
            assert jubako("image", "inspect", image).status == 1
    if name not in CONTAINED:
        assert sorted(os.listdir(root_dir / "layers")) == layers, "a failed layer leaves nothing"


def docker_archive(name: str, layers: list[bytes]) -> bytes:
    """What `docker save` writes, for an image of these layers, which starts `sh`."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, ""),
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [f"{name}:latest"],
                 "Layers": [f"{digest}/layer.tar" for digest in digests]}]  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        documents = {"manifest.json": manifest, "config.json": config}
        contents = {path: json.dumps(value).encode() for path, value in documents.items()}
        contents |= {f"{digests[n]}/layer.tar": layers[n] for n in range(len(layers))}
        for path, data in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


LOWER = [
    directory("d"), file("d/a", "a"), file("d/b", "b"), directory("d/sub"), file("d/sub/c", "c"),
    directory("opaque"), file("opaque/old", "old"), directory("opaque/deep"),
    file("opaque/deep/old", "old"), file("target", "target"), link("name", "target"),
    directory("gone"), file("gone/x"), file("replaced", "file"), directory("becomes"),
    file("becomes/y"), link("linked", "d"), file(".whale", "no whiteout"),
]  # fmt: skip
UPPER = [
    file("d/.wh.a"), directory("opaque"), file("opaque/new", "new"), file("opaque/.wh..wh..opq"),
    file(".wh.name"), file(".wh.gone"), file(".wh.replaced"), directory("replaced"),
    file("replaced/z", "z"), file(".wh.becomes"), file("becomes", "file"), file(".wh.absent"),
]  # fmt: skip
EXPECTED = {
    "/t/.whale", "/t/d", "/t/d/b", "/t/d/sub", "/t/d/sub/c", "/t/opaque", "/t/opaque/new",
    "/t/target", "/t/replaced", "/t/replaced/z", "/t/becomes", "/t/linked",
}  # fmt: skip


@pytest.mark.parametrize("order", ["as written", "reversed", "whiteouts last"])
def test_whiteouts_hide_what_is_below_and_nothing_else(
    order: str, storage_driver: str, jubako: Jubako, busybox_tar: Path
) -> None:
    """image-spec layer.md: in any order of a layer's entries, and never those of the same layer."""
    upper = list(UPPER)
    if order == "reversed":
        upper.reverse()
        upper.sort(key=lambda member: member[1] != tarfile.DIRTYPE)
    elif order == "whiteouts last":
        upper.sort(key=lambda member: "/.wh." in f"/{member[0]}")
    layers = [
        busybox_tar.read_bytes(),
        tar_of([directory("t"), *((f"t/{name}", *rest) for name, *rest in LOWER)]),  # type: ignore[list-item]
        tar_of([(f"t/{name}", *rest) for name, *rest in upper]),  # type: ignore[misc]
    ]
    jubako.ok("load", stdin=docker_archive("stack", layers))
    found = set(jubako.ok("run", "--rm", *OFF, "stack", "find", "/t", "-mindepth", "1").split())
    assert found == EXPECTED, found ^ EXPECTED
    out = jubako.ok("run", "--rm", *OFF, "stack", "sh", "-c", "cat /t/target /t/becomes /t/.whale")
    assert out == "targetfileno whiteout"


def test_attributes_of_an_archive_do_not_steer_the_overlay(
    storage_driver: str, jubako: Jubako, busybox_tar: Path
) -> None:
    """An upper layer redirects a name to another directory, marks one opaque, and a file as data
    that is elsewhere."""
    lower = [directory("secret"), file("secret/key", "key"), directory("plain"), file("plain/x")]
    upper = [directory("public"), directory("plain"), file("meta", "own")]
    prefix = "SCHILY.xattr."
    headers = {
        name: {
            f"{prefix}{space}.overlay.{key}": value
            for space in ("trusted", "user")
            for key, value in attributes.items()
        }
        for name, attributes in {
            "public": {"redirect": "/secret"},
            "plain": {"opaque": "y", "whiteout": ""},
            "meta": {"metacopy": "", "redirect": "/secret/key"},
        }.items()
    }
    layers = [busybox_tar.read_bytes(), tar_of(lower), tar_of(upper, headers)]
    jubako.ok("load", stdin=docker_archive("stack", layers))
    out = jubako.ok("run", "--rm", *OFF, "stack", "sh", "-c", "ls /public /plain; cat /meta")
    assert out.split() == ["/plain:", "x", "/public:", "own"]


def test_set_user_id_files_of_an_image_are_the_images(
    storage_driver: str, jubako: Jubako, busybox_tar: Path
) -> None:
    """They are kept for the container, and no user of the host can reach them by name."""
    layers = [busybox_tar.read_bytes(), tar_of([file("root-shell", "#!/bin/sh\n", 0o4755)])]
    jubako.ok("load", stdin=docker_archive("suid", layers))
    out = jubako.ok("run", "--rm", *OFF, "suid", "stat", "-c", "%a %u", "/root-shell")
    assert out == "4755 0"
    top = jubako.root / "layers"
    assert top.stat().st_mode & 0o077 == 0
