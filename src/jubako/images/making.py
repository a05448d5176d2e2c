"""Images from single layers: `import` and `commit`."""

from __future__ import annotations

import os
import time

from jubako.errors import InvalidArgument
from jubako.images import events, records
from jubako.images.changes import apply
from jubako.images.lazy.places import refuse_arriving
from jubako.images.stream import LayerStream, read_chunks
from jubako.images.times import format_ns
from jubako.oci import platform as platforms
from jubako.oci.digest import canonical_json
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jubako.images import ImageService
    from jubako.images.layers.session import Session, StagedLayer
    from jubako.images.stream import Readable
    from jubako.oci.image import History, ImageConfig, Platform
    from jubako.oci.reference import Reference

# Diff ID of a tar of nothing but its end; Docker gives such a layer no place in the image.
EMPTY_LAYERS = frozenset(
    (
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",  # 1024 zeros
        "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652",  # 10240 zeros
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # no bytes
    )
)

_NO_MESSAGE = "Imported from -"  # Docker's comment for an image that came without one

# What of a container's configuration is also an image's.
_IMAGE_KEYS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "StopTimeout",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "ArgsEscaped",
)


def import_tar(
    images: ImageService,
    stream: Readable,
    reference: str | None,
    *,
    changes: Sequence[str],
    message: str,
    platform: str | None,
    created_ns: int | None = None,
    created_by: str = "",
) -> str:
    """See `ImageService.import_tar`."""
    target = records.parse_target(reference) if reference else None
    message = message or _NO_MESSAGE
    wanted = platforms.parse(platform) if platform else platforms.host()
    if wanted["os"] != "linux":
        raise InvalidArgument("operating system is not supported", subject=platform or "")
    defaults = clean_config(apply({}, changes))
    with images.session() as session, LayerStream(read_chunks(stream)) as layer:
        staged = session.unpack(layer)
        created = format_ns(_now_ns() if created_ns is None else created_ns)
        history: History = {"created": created, "comment": message}
        if created_by:
            history["created_by"] = created_by
        config = _config(wanted, created, defaults)
        config["rootfs"] = {"type": "layers", "diff_ids": [staged.diff_id]}
        config["history"] = [history]
        config["comment"] = message
        return _store(images, session, [staged], config, None, target)


def commit(
    images: ImageService,
    parent: str,
    stream: Readable,
    container_config: dict[str, Any],
    *,
    author: str,
    message: str,
    changes: Sequence[str],
    reference: str | None,
) -> str:
    """See `ImageService.commit`."""
    target = records.parse_target(reference) if reference else None
    created_by = " ".join(container_config.get("Cmd") or ())
    defaults = clean_config(apply(container_config, changes))
    base = records.config_of(records.row(images.store, parent))
    refuse_arriving(images.store, records.diff_ids(images.store, parent), "commit")
    with images.session() as session, LayerStream(read_chunks(stream)) as layer:
        staged = session.unpack(layer)
        empty = staged.diff_id in EMPTY_LAYERS
        created = format_ns(_now_ns())
        history: History = {"created": created, "created_by": created_by}
        if author:
            history["author"] = author
        if message:
            history["comment"] = message
        if empty:
            history["empty_layer"] = True
            session.discard(staged)
        wanted: Platform = {"os": base.get("os", "linux"), "architecture": base["architecture"]}
        if "variant" in base:
            wanted["variant"] = base["variant"]
        config = _config(wanted, created, defaults)
        if author:
            config["author"] = author
        if message:
            config["comment"] = message
        diff_ids = records.diff_ids(images.store, parent)
        config["rootfs"] = {
            "type": "layers",
            "diff_ids": diff_ids if empty else [*diff_ids, staged.diff_id],
        }
        config["history"] = [*(base.get("history") or ()), history]
        return _store(images, session, [] if empty else [staged], config, parent, target)


def _now_ns() -> int:
    """The present; SOURCE_DATE_EPOCH (reproducible-builds.org) sets it for equal image IDs."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return time.time_ns()
    if not (epoch.isascii() and epoch.isdigit()) or len(epoch) > 11:
        raise InvalidArgument(f"SOURCE_DATE_EPOCH is not a number of seconds: {epoch[:40]!r}")
    return int(epoch) * 1_000_000_000


def _config(wanted: Platform, created: str, defaults: dict[str, Any]) -> ImageConfig:
    config: ImageConfig = {
        "architecture": wanted["architecture"],
        "os": wanted["os"],
        "created": created,
        "config": defaults,  # type: ignore[typeddict-item]  # clean_config has left its keys
    }
    if "variant" in wanted:
        config["variant"] = wanted["variant"]
    return config


def clean_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a container's configuration that an image keeps, without empty members."""
    return {key: config[key] for key in _IMAGE_KEYS if config.get(key)}


def _store(
    images: ImageService,
    session: Session,
    staged: list[StagedLayer],
    config: ImageConfig,
    parent: str | None,
    target: Reference | None,
) -> str:
    data = canonical_json(config)
    session.publish(staged)
    image_id = images.content.write(data)
    point("images.import.published")
    with images.store.transaction() as db:
        session.record(db, staged)
        records.insert_image(db, image_id, data, config["rootfs"]["diff_ids"], parent=parent)
        if target is not None:
            records.set_tag(db, target, image_id)
            events.emit(images.store, "tag", image_id, target.familiar())
        if parent is None:
            events.emit(images.store, "import", image_id)
        point("images.import.recorded")
    images.store.flush()
    point("images.import.done")
    return image_id
