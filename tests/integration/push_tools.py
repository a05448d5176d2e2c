"""Images for tests of pushes, and what other programs find in the registry afterwards."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

from jubako.images import ImageService
from jubako.images.progress import Event
from tests.fixtures.registry import Registry
from tests.integration.pull_tools import layer_of, noise


def make_image(images: ImageService, name: str, *layers: bytes, config: Any = None) -> str:
    """Load an image of these layers; its ID."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    data = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"of": name}, **(config or {})},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "not of the specification": ["kept", "as it is"],
        },
        indent=3,
    ).encode()
    files = {f"{at}.tar": layer for at, layer in enumerate(layers)}
    manifest = [{"Config": "config", "RepoTags": [name], "Layers": [*files]}]
    archive = layer_of({"config": data, "manifest.json": json.dumps(manifest).encode(), **files})
    images.load(io.BytesIO(archive))
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def three_layers(seed: int = 0) -> list[bytes]:
    """Layers that differ from those of another seed: text, noise, and one with a whiteout."""
    return [
        layer_of({"etc/motd": b"%d\n" % seed + b"hello " * 50_000}),
        layer_of({"noise": noise(3 << 20, seed)}),
        layer_of({"etc/.wh.motd": b"", "empty": b"", f"only-{seed}": b"1"}),
    ]


class Events:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def last(self) -> dict[str, str]:
        """The last status of each layer."""
        return {event.id: event.status for event in self.events if event.id}

    def statuses(self) -> set[str]:
        """The last statuses."""
        return set(self.last().values())


def skopeo(*arguments: str | Path) -> bytes:
    """What skopeo prints."""
    argv = ["skopeo", "--insecure-policy", *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def raw_manifest(registry: Registry, name: str) -> bytes:
    """A manifest's bytes, `name` with its tag or digest."""
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{registry.host}/{name}")


def requests(registry: Registry, method: str) -> int:
    """How many requests of a method the registry has answered so far."""
    return registry.log.read_text(errors="replace").count(f'"{method} /v2/')
