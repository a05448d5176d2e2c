"""Lists of manifests: skopeo reads what we push, and we read what it pushes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jubako import Engine
from jubako.oci import media
from tests.compat.conftest import Program
from tests.fixtures.registry import Registry

TLS = ["--src-tls-verify=false", "--dest-tls-verify=false"]


def test_lists_are_read_on_both_sides(
    engine: Engine,
    registry: Registry,
    busybox_tar: Path,
    program: Callable[[str], Program],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skopeo = program("skopeo")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    name = f"{registry.host}/skopeo/lists"
    for tag, platform in (("amd64", "linux/amd64"), ("arm", "linux/arm/v6")):
        with busybox_tar.open("rb") as stream:
            engine.images.import_tar(stream, f"{name}:{tag}", platform=platform)
        engine.images.push(f"{name}:{tag}")
    service = engine.registries
    service.manifest_create(f"{name}:all", [f"{name}:amd64", f"{name}:arm"])
    digest = service.manifest_push(f"{name}:all").digest
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}@{digest}")
    assert len(json.loads(raw)["manifests"]) == 2
    skopeo("copy", "--all", *TLS, f"docker://{name}:all", f"docker://{name}:copy")
    assert service.manifest_inspect(f"{name}:copy") == service.manifest_inspect(f"{name}:all")
    # a manifest of OCI's beside one of Docker's makes an index of OCI's
    skopeo("copy", "--format", "oci", *TLS, f"docker://{name}:amd64", f"docker://{name}:oci")
    service.manifest_create(f"{name}:mixed", [f"{name}:oci", f"{name}:arm"])
    service.manifest_push(f"{name}:mixed", purge=True)
    assert service.manifest_inspect(f"{name}:mixed")["mediaType"] == media.OCI_INDEX
    found = skopeo(
        *["--override-arch", "arm", "--override-variant", "v6"],
        *["inspect", "--tls-verify=false", f"docker://{name}:mixed"],
    )
    assert json.loads(found)["Architecture"] == "arm"
