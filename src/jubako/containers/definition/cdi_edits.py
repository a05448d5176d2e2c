"""What a CDI device changes in a container: `containerEdits`, checked and applied to an OCI spec.

A description is input from outside.  Everything is checked before anything of it is applied, and
what is not known is refused rather than left out: half a device would be worse than none.
"""

from __future__ import annotations

import os
import stat

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jubako.containers.definition.cdi import Device
    from jubako.containers.model import Json

    _Fields = dict[str, Callable[[object, str], Any]]

HOOKS = (
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
)
_MAX_ENTRIES = 10_000
_MAX_TEXT = 64 << 10
_MAX_ID = (1 << 32) - 2
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def check(edits: object, what: str) -> Json:
    """The edits, known to be of the right shape; {} for none.  Raises ValueError."""
    if edits is None:
        return {}
    found = _object(edits, what, _EDITS)
    for entry in found.get("env", ()):
        if not entry.partition("=")[0] or "=" not in entry:
            raise ValueError(f"{what}: env {entry!r} is not NAME=value")
    for node in found.get("deviceNodes", ()):
        _require_path(node, "path", what)
        if "hostPath" in node:
            _require_path(node, "hostPath", what)
        if node.get("type", "c") not in _KINDS:
            raise ValueError(f"{what}: unknown type {node['type']!r} of {node['path']}")
        if not set(node.get("permissions", "")) <= set("rwm"):
            raise ValueError(f"{what}: permissions {node['permissions']!r} of {node['path']}")
    for mount in found.get("mounts", ()):
        _require_path(mount, "containerPath", what)
        if not mount.get("hostPath"):
            raise ValueError(f"{what}: a mount without hostPath")
    for hook in found.get("hooks", ()):
        _require_path(hook, "path", what)
        if hook.get("hookName") not in HOOKS:
            raise ValueError(f"{what}: unknown hook {hook.get('hookName')!r}")
    return found


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or "\0" in value:
        raise ValueError(f"{what}: not a text: {str(value)[:80]!r}")
    return value


def _number(highest: int) -> Callable[[object, str], int]:
    def check_number(value: object, what: str) -> int:
        if type(value) is not int or not 0 <= value <= highest:
            raise ValueError(f"{what}: not a number from 0 to {highest}: {str(value)[:80]!r}")
        return value

    return check_number


def _list(of: Callable[[object, str], object]) -> Callable[[object, str], list[Any]]:
    def check_list(value: object, what: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > _MAX_ENTRIES:
            raise ValueError(f"{what}: not a list of up to {_MAX_ENTRIES} entries")
        return [of(entry, what) for entry in value]

    return check_list


def _list_of_objects(fields: _Fields) -> Callable[[object, str], list[Any]]:
    return _list(lambda value, what: _object(value, what, fields))


def _object(value: object, what: str, fields: _Fields) -> Json:
    """A JSON object with known keys only; nulls are as good as missing."""
    if not isinstance(value, dict):
        raise ValueError(f"{what}: not an object")
    unknown = sorted(set(map(str, value)) - fields.keys())
    if unknown:
        raise ValueError(f"{what}: {', '.join(unknown)[:80]} is not known here")
    return {
        key: fields[key](entry, f"{what}: {key}")
        for key, entry in value.items()
        if entry is not None
    }


def _require_path(value: Json, key: str, what: str) -> None:
    path = value.get(key, "")
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{what}: {key} {path!r} is not an absolute path")


_EDITS: _Fields = {
    "env": _list(_text),
    "deviceNodes": _list_of_objects(
        {
            "path": _text,
            "hostPath": _text,
            "type": _text,
            "major": _number(_MAX_ID),
            "minor": _number(_MAX_ID),
            "fileMode": _number(0o7777),
            "permissions": _text,
            "uid": _number(_MAX_ID),
            "gid": _number(_MAX_ID),
        }
    ),
    "mounts": _list_of_objects(
        {"hostPath": _text, "containerPath": _text, "options": _list(_text), "type": _text}
    ),
    "hooks": _list_of_objects(
        {
            "hookName": _text,
            "path": _text,
            "args": _list(_text),
            "env": _list(_text),
            "timeout": _number(86400),
        }
    ),
    "additionalGids": _list(_number(_MAX_ID)),
}


def apply(spec: Json, devices: Sequence[Device], *, all_devices: bool) -> None:
    """Put the edits of `devices` into an OCI spec: those of a file once, then each device's own.

    all_devices: the container may use every device already (privileged), so no rule is added.
    Raises InvalidArgument when a device node is not there.
    """
    files = {device.path: device.common for device in devices}
    for edits in (*files.values(), *(device.own for device in devices)):
        _apply(spec, edits, all_devices)


def _apply(spec: Json, edits: Json, all_devices: bool) -> None:
    process, linux = spec["process"], spec["linux"]
    names = {entry.partition("=")[0] for entry in edits.get("env", ())}
    process["env"] = [
        entry for entry in process["env"] if entry.partition("=")[0] not in names
    ] + edits.get("env", [])
    for node in edits.get("deviceNodes", ()):
        device, access = _node(node, process["user"])
        kept = [old for old in linux.get("devices", ()) if old["path"] != device["path"]]
        linux["devices"] = [*kept, device]
        if not all_devices and device["type"] in ("b", "c"):
            linux["resources"]["devices"].append(
                {
                    "allow": True,
                    "type": device["type"],
                    "major": device["major"],
                    "minor": device["minor"],
                    "access": access,
                }
            )
    for mount in edits.get("mounts", ()):
        _add_mount(spec["mounts"], mount)
    for hook in edits.get("hooks", ()):
        entry = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
        spec.setdefault("hooks", {}).setdefault(hook["hookName"], []).append(entry)
    groups = process["user"]["additionalGids"]
    groups += [gid for gid in edits.get("additionalGids", ()) if gid and gid not in groups]


def _node(node: Json, user: Json) -> tuple[Json, str]:
    """The OCI device, with what the description leaves out as the host has it; and the access."""
    device: Json = {"path": node["path"], "type": node.get("type", "").replace("u", "c")}
    if not device["type"] or (device["type"] != "p" and not node.get("major")):
        path = node.get("hostPath") or node["path"]
        try:
            status = os.stat(path)
        except OSError as exc:
            reason = os.strerror(exc.errno or 0).lower()
            text = f"CDI device injection failed: failed to stat CDI host device {path!r}: {reason}"
            raise InvalidArgument(text, subject=path) from exc
        kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "")
        if not kind or device["type"] not in ("", kind):
            raise InvalidArgument(
                f"CDI device injection failed: CDI device {path!r} is not a device of this type",
                subject=path,
            )
        device["type"] = kind
        if kind != "p":
            device["major"], device["minor"] = os.major(status.st_rdev), os.minor(status.st_rdev)
        device["fileMode"] = stat.S_IMODE(status.st_mode)
    elif device["type"] != "p":
        device["major"], device["minor"] = node["major"], node.get("minor", 0)
    if "fileMode" in node:
        device["fileMode"] = node["fileMode"]
    for key in ("uid", "gid"):
        if key in node or user[key]:
            device[key] = node.get(key, user[key])
    return device, node.get("permissions") or "rwm"


def _add_mount(mounts: list[Json], mount: Json) -> None:
    """Instead of one with the same destination, and before what lies below it."""
    target = mount["containerPath"]
    entry: Json = {
        "destination": target,
        "type": mount.get("type") or "bind",
        "source": mount["hostPath"],
        "options": mount.get("options") or ["ro", "nosuid", "nodev", "bind"],
    }
    if entry["type"] == "bind" and not {"bind", "rbind"} & set(entry["options"]):
        entry["options"] = [*entry["options"], "bind"]
    mounts[:] = [old for old in mounts if old["destination"] != target]
    below = (i for i, old in enumerate(mounts) if old["destination"].startswith(f"{target}/"))
    mounts.insert(next(below, len(mounts)), entry)
