"""The grammar of mounts: `-v SOURCE:TARGET:MODE` in HostConfig.Binds, `--mount`, `--volumes-from`.

Errors have Docker's sentences.
"""

from __future__ import annotations

import os
import posixpath

from jubako.containers.definition import tmpfs
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jubako.containers.model import Mount, MountPoint

DEFAULT_PROPAGATION = "rprivate"

PROPAGATION = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_MODES = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),
    PROPAGATION,
    frozenset(("nocopy",)),
    frozenset(("consistent", "cached", "delegated")),
    frozenset(("U",)),
)
_TYPES = {
    "bind": "BindOptions",
    "volume": "VolumeOptions",
    "image": "ImageOptions",
    "tmpfs": "TmpfsOptions",
    "cluster": "ClusterOptions",
}


def parse_bind(text: str, volume_driver: str = "") -> MountPoint:
    """Parse one entry of HostConfig.Binds; volumes are not looked up.

    Raises InvalidArgument.
    """
    parts = text.split(":")
    if not parts[0] or len(parts) > 3 or (len(parts) == 2 and valid_mode(parts[1])):
        raise InvalidArgument(f"invalid volume specification: '{text}'", subject=text)
    mode = parts[2] if len(parts) == 3 else ""
    if not valid_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode}", subject=text)
    words = mode.split(",")
    source = parts[0] if len(parts) > 1 else ""
    spec: Mount = {
        "Type": "bind" if source.startswith("/") else "volume",
        "Source": source,
        "Target": parts[1] if len(parts) > 1 else parts[0],
        "ReadOnly": "ro" in words,
    }
    if volume_driver and spec["Type"] == "volume":
        spec["VolumeOptions"] = {"DriverConfig": {"Name": volume_driver}}
    if "nocopy" in words:
        spec["VolumeOptions"] = {**(spec.get("VolumeOptions") or {}), "NoCopy": True}
    if "U" in words:
        spec["Chown"] = True
    propagation = next((word for word in words if word in PROPAGATION), None)
    if propagation:
        spec["BindOptions"] = {"Propagation": propagation}
    try:
        point = _point(spec)
    except InvalidArgument as exc:
        raise InvalidArgument(f"invalid volume specification: '{text}': {exc}") from exc
    point["Mode"] = mode
    if point["Type"] == "bind":
        point["CreateSource"] = True  # -v makes the directory, --mount refuses
    return point


def parse_mount(spec: Mount) -> MountPoint:
    """Check one entry of HostConfig.Mounts and turn it into a mount point.

    A missing source of a bind is refused, unless CreateMountpoint is set.  Raises InvalidArgument.
    """
    point = _point(spec)
    if point["Type"] == "bind":
        create = bool((spec.get("BindOptions") or {}).get("CreateMountpoint"))
        if not create and not os.path.lexists(spec["Source"]):
            raise InvalidArgument(
                'invalid mount config for type "bind": bind source path does not exist: '
                f"{spec['Source']}",
                subject=spec["Source"],
            )
        if create:
            point["CreateSource"] = True
    return point


def parse_volumes_from(text: str) -> tuple[str, str]:
    """Parse `CONTAINER[:MODE]` into (container, mode); the mode is `rw` when not given.

    Raises InvalidArgument.
    """
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, _, mode = text.partition(":")
    words = mode.split(",")
    if mode and (
        not valid_mode(mode)
        or any(word in PROPAGATION or word in ("nocopy", "U") for word in words)
    ):
        raise InvalidArgument(f"invalid mode: {mode}", subject=text)
    return container, mode or "rw"


def valid_mode(mode: str) -> bool:
    """Whether `mode` is empty or comma-separated words, at most one about each thing."""
    if not mode:
        return True
    used: set[int] = set()
    for word in mode.split(","):
        kind = next((index for index, words in enumerate(_MODES) if word in words), None)
        if kind is None or kind in used:
            return False
        used.add(kind)
    return True


def check_tmpfs_target(target: str) -> None:
    """Check a key of HostConfig.Tmpfs.  Raises InvalidArgument."""
    _check_target(target)


def clean(path: str) -> str:
    """Go's path.Clean: no `.`, `..` or doubled slash, also not at the beginning."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _point(spec: Mount) -> MountPoint:
    try:
        _check(spec)
    except InvalidArgument as exc:
        raise InvalidArgument(
            f'invalid mount config for type "{spec.get("Type", "")}": {exc}', subject=exc.subject
        ) from exc
    point: MountPoint = {
        "Type": spec["Type"],
        "Source": "",
        "Destination": clean(spec["Target"]),
        "Mode": "",
        "RW": not spec.get("ReadOnly"),
        "Propagation": "",
        "Spec": spec,
    }
    if spec["Type"] == "volume":
        options = spec.get("VolumeOptions") or {}
        point["Name"] = spec.get("Source") or ""
        point["Driver"] = (options.get("DriverConfig") or {}).get("Name") or ""
        point["CopyData"] = not options.get("NoCopy")
    elif spec["Type"] == "bind":
        point["Source"] = clean(spec["Source"])
        point["Propagation"] = (spec.get("BindOptions") or {}).get(
            "Propagation"
        ) or DEFAULT_PROPAGATION
    elif spec["Type"] == "image":
        point["Source"] = spec["Source"]
        point["RW"] = False  # the layers belong to everybody who uses the image
    if spec.get("Chown"):
        point["Chown"] = True
    return point


def _check(spec: Mount) -> None:
    kind = spec.get("Type", "")
    for owner, key in _TYPES.items():
        if owner != kind and spec.get(key):
            raise InvalidArgument(f"field {key} must not be specified", subject=key)
    if not spec.get("Target"):
        raise InvalidArgument("field Target must not be empty", subject="Target")
    _check_target(spec["Target"])
    if kind == "bind":
        _check_bind(spec)
    elif kind == "volume":
        subpath = (spec.get("VolumeOptions") or {}).get("Subpath")
        if subpath and not spec.get("Source"):
            raise InvalidArgument("must not set Subpath when using anonymous volumes")
        _check_subpath(subpath)
    elif kind == "image":
        if not spec.get("Source"):
            raise InvalidArgument("field Source must not be empty", subject="Source")
        _check_subpath((spec.get("ImageOptions") or {}).get("Subpath"))
    elif kind == "tmpfs":
        if spec.get("Source"):
            raise InvalidArgument("field Source must not be specified", subject="Source")
        tmpfs.data_of(spec.get("TmpfsOptions"))
    else:  # also for `cluster` and `npipe`, which want a swarm and Windows
        raise InvalidArgument("mount type unknown", subject=kind)
    _check_ownership(spec)


def _check_bind(spec: Mount) -> None:
    if not spec.get("Source"):
        raise InvalidArgument("field Source must not be empty", subject="Source")
    options = spec.get("BindOptions") or {}
    propagation = options.get("Propagation")
    if propagation and propagation not in PROPAGATION:
        raise InvalidArgument(f"invalid propagation mode: {propagation}", subject=propagation)
    _check_absolute(spec["Source"])
    plain, forced = options.get("ReadOnlyNonRecursive"), options.get("ReadOnlyForceRecursive")
    for flag, name in ((plain, "ReadOnlyNonRecursive"), (forced, "ReadOnlyForceRecursive")):
        if flag and not spec.get("ReadOnly"):
            raise InvalidArgument(f"mount options conflict: !ReadOnly && BindOptions.{name}")
    if plain and forced:
        raise InvalidArgument(
            "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"
        )


def _check_subpath(subpath: str | None) -> None:
    if subpath and not _is_local(subpath):
        raise InvalidArgument("subpath must be a relative path within the volume", subject=subpath)


def _check_ownership(spec: Mount) -> None:
    for key in ("Chown", "IDMap"):
        if spec.get(key) and spec["Type"] not in ("bind", "volume"):
            raise InvalidArgument(f"field {key} must not be specified", subject=key)
    if spec.get("IDMap"):
        from jubako.containers.definition import idmaps

        idmaps.parse(spec["IDMap"])


def _check_target(target: str) -> None:
    if clean(target) == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'", subject=target)
    _check_absolute(target)


def _check_absolute(path: str) -> None:
    if not path.startswith("/"):
        raise InvalidArgument(
            f"invalid mount path: '{path}' mount path must be absolute", subject=path
        )
    if "\0" in path:
        raise InvalidArgument("invalid mount path: it contains a NUL byte")


def _is_local(path: str) -> bool:
    cleaned = posixpath.normpath(path)
    return not cleaned.startswith("/") and cleaned != ".." and not cleaned.startswith("../")
