"""The JSON objects of the image specification, for type checkers only.

Nothing imports this module at run time: `typing` costs more than a command may spend.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class Platform(TypedDict):
    """image-index.md: `os` and `architecture` in Go's words."""

    architecture: str
    os: str
    variant: NotRequired[str]


class Descriptor(TypedDict):
    """descriptor.md: something elsewhere; size in bytes."""

    mediaType: str
    digest: str
    size: int
    annotations: NotRequired[dict[str, str]]
    platform: NotRequired[Platform]


class Manifest(TypedDict):
    """manifest.md: one config and its layers, lowest first."""

    schemaVersion: int
    mediaType: NotRequired[str]
    config: Descriptor
    layers: list[Descriptor]
    annotations: NotRequired[dict[str, str]]


class Index(TypedDict):
    """image-index.md: manifests for several platforms or names."""

    schemaVersion: int
    mediaType: NotRequired[str]
    manifests: list[Descriptor]
    annotations: NotRequired[dict[str, str]]


class RootFS(TypedDict):
    type: str
    diff_ids: list[str]


class History(TypedDict, total=False):
    """config.md: how one layer was made; `empty_layer` means that it made none."""

    created: str
    created_by: str
    author: str
    comment: str
    empty_layer: bool


class Healthcheck(TypedDict, total=False):
    """Docker's extension of the config; durations in nanoseconds."""

    Test: list[str]
    Interval: int
    Timeout: int
    StartPeriod: int
    StartInterval: int
    Retries: int


class ContainerDefaults(TypedDict, total=False):
    """The member `config`: what a container gets unless its creator says otherwise."""

    User: str
    ExposedPorts: dict[str, dict[str, Any]] | None
    Env: list[str] | None
    Entrypoint: list[str] | None
    Cmd: list[str] | None
    Volumes: dict[str, dict[str, Any]] | None
    WorkingDir: str
    Labels: dict[str, str] | None
    StopSignal: str
    StopTimeout: int
    Healthcheck: Healthcheck
    OnBuild: list[str] | None
    Shell: list[str]
    ArgsEscaped: bool


class ImageConfig(TypedDict, total=False):
    """config.md; its digest is the image ID."""

    created: str
    author: str
    architecture: str
    variant: str
    os: str
    config: ContainerDefaults
    rootfs: RootFS
    history: list[History]
    comment: str
    docker_version: str
