"""`image inspect` and `history`, in Docker's shapes."""

from __future__ import annotations

from jubako.images import records
from jubako.images.times import ZERO, format_ns, parse_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.images import ImageService

# Members of Docker's container configuration in its order; those with OMIT are left out when empty.
_OMIT = object()
_CONFIG: tuple[tuple[str, object], ...] = (
    ("Hostname", ""),
    ("Domainname", ""),
    ("User", ""),
    ("AttachStdin", False),
    ("AttachStdout", False),
    ("AttachStderr", False),
    ("ExposedPorts", _OMIT),
    ("Tty", False),
    ("OpenStdin", False),
    ("StdinOnce", False),
    ("Env", None),
    ("Cmd", None),
    ("Healthcheck", _OMIT),
    ("ArgsEscaped", _OMIT),
    ("Image", ""),
    ("Volumes", None),
    ("WorkingDir", ""),
    ("Entrypoint", None),
    ("OnBuild", None),
    ("Labels", None),
    ("StopSignal", _OMIT),
    ("StopTimeout", _OMIT),
    ("Shell", _OMIT),
)


def inspect(images: ImageService, reference: str) -> dict[str, Any]:
    """See `ImageService.inspect`."""
    image_id = images.resolve(reference)
    row = records.row(images.store, image_id)
    config = records.config_of(row)
    names = records.references(images.store.db, image_id)
    diff_ids = records.diff_ids(images.store, image_id)
    query = "SELECT max(updated_ns) FROM tags WHERE image_id = ?"
    tagged_ns = images.store.db.execute(query, (image_id,)).fetchone()[0]
    found: dict[str, Any] = {
        "Id": image_id,
        "RepoTags": [name.familiar() for name in names if name.digest is None],
        "RepoDigests": [name.familiar() for name in names if name.digest is not None],
        "Parent": row["parent"] or "",
        "Comment": config.get("comment") or "",
        "Created": row["created"],
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": _config(config.get("config") or {}),
        "Architecture": config.get("architecture") or "",
        "Os": config.get("os") or "linux",
        "Size": row["size_bytes"],
        "GraphDriver": {"Data": _graph_data(images, diff_ids), "Name": images.layers.stacked_by},
        "RootFS": {"Type": "layers", "Layers": diff_ids} if diff_ids else {"Type": "layers"},
        "Metadata": {
            "LastTagTime": ZERO if tagged_ns is None else format_ns(tagged_ns),
            "LastUsedTime": format_ns(row["last_used_ns"]),
        },
    }
    if config.get("variant"):
        found["Variant"] = config["variant"]
    return found


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, default in _CONFIG:
        value = config.get(key)
        if value:
            found[key] = value
        elif default is not _OMIT:
            found[key] = default
    return found


def _graph_data(images: ImageService, diff_ids: list[str]) -> dict[str, str]:
    paths = images.layers.shown_paths(diff_ids)
    data = {"LowerDir": ":".join(paths[1:])} if len(paths) > 1 else {}
    if paths:
        data["UpperDir"] = paths[0]
    return data


def history(images: ImageService, reference: str) -> list[dict[str, Any]]:
    """See `ImageService.history`."""
    image_id = images.resolve(reference)
    config = records.config_of(records.row(images.store, image_id))
    layers = iter(records.diff_ids(images.store, image_id))
    items: list[dict[str, Any]] = []
    for step in config.get("history") or ():
        layer = None if step.get("empty_layer") else next(layers, None)
        items.append(_item(step, 0 if layer is None else images.layers.size(layer)))
    # Layers that the config says nothing about still take their place.
    items += [_item({}, images.layers.size(layer)) for layer in layers]
    items.reverse()
    current: str | None = image_id
    for item in items:
        if current is None:
            break
        item["Id"] = current
        item["Tags"] = [
            name.familiar()
            for name in records.references(images.store.db, current)
            if name.digest is None
        ] or None
        query = "SELECT parent FROM images WHERE id = ?"
        row = images.store.db.execute(query, (current,)).fetchone()
        current = row[0] if row else None
    return items


def _item(step: Mapping[str, Any], size_bytes: int) -> dict[str, Any]:
    return {
        "Comment": step.get("comment") or "",
        "Created": parse_ns(step.get("created") or "") // 1_000_000_000,
        "CreatedBy": step.get("created_by") or "",
        "Id": "<missing>",
        "Size": size_bytes,
        "Tags": None,
    }
