"""The grammar of `--mount`: comma-separated `key=value` fields, quoted as in CSV."""

from __future__ import annotations

import os

from jubako.cli.flags import parse_bool, parse_int
from jubako.golang.size import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RECURSIVE = {
    "enabled": None,
    "disabled": "NonRecursive",
    "writable": "ReadOnlyNonRecursive",
    "readonly": "ReadOnlyForceRecursive",
}


def split_fields(text: str) -> list[str]:
    """One record of comma-separated values (RFC 4180), as Go's `encoding/csv` reads it."""
    fields: list[str] = []
    index, size = 0, len(text)
    if not text:
        raise ValueError("EOF")
    while True:
        if index < size and text[index] == '"':
            field, index = _quoted(text, index + 1)
        else:
            end = text.find(",", index)
            end = size if end < 0 else end
            field, index = text[index:end], end
            if '"' in field:
                column = end - len(field) + field.index('"') + 1
                where = f"parse error on line 1, column {column}"
                raise ValueError(f'{where}: bare " in non-quoted-field')
        fields.append(field)
        if index >= size:
            return fields
        index += 1


def _quoted(text: str, index: int) -> tuple[str, int]:
    """A quoted field that starts after its quote; returns it and the index after its end."""
    field = ""
    while True:
        end = text.find('"', index)
        if end < 0:
            where = f"parse error on line 1, column {len(text) + 1}"
            raise ValueError(f'{where}: extraneous or missing " in quoted-field')
        field += text[index:end]
        if text[end + 1 : end + 2] == '"':
            field += '"'
            index = end + 2
        elif end + 1 == len(text) or text[end + 1] == ",":
            return field, end + 1
        else:
            where = f"parse error on line 1, column {end + 1}"
            raise ValueError(f'{where}: extraneous or missing " in quoted-field')


def parse_mount(text: str) -> dict[str, Any]:
    """`type=bind,src=/a,dst=/b,readonly` as the API's Mount.

    A relative source that starts with a dot is made absolute.  Raises ValueError with Docker's
    sentence.
    """
    mount: dict[str, Any] = {"Type": "volume", "Source": "", "Target": "", "ReadOnly": False}
    for field in split_fields(text):
        key, has_value, value = field.partition("=")
        key = key.lower()
        if not has_value:
            if key == "idmap":
                raise ValueError("idmap needs its ranges: idmap=uids=0-1000-1;gids=0-1000-1")
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "u", "chown"):
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _set(mount, key, value, field)
    _check(mount)
    return mount


def _set(mount: dict[str, Any], key: str, value: str, field: str) -> None:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        mount["ReadOnly"] = _bool(key, value)
    elif key in ("u", "chown"):
        mount["Chown"] = _bool(key, value)
    elif key == "idmap":
        mount["IDMap"] = value
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    elif key.startswith("bind-"):
        _set_bind(mount.setdefault("BindOptions", {}), key, value, field)
    elif key.startswith("volume-"):
        _set_volume(mount.setdefault("VolumeOptions", {}), key, value, field)
    elif key == "image-subpath":
        mount.setdefault("ImageOptions", {})["Subpath"] = value
    elif key.startswith("tmpfs-"):
        _set_tmpfs(mount.setdefault("TmpfsOptions", {}), key, value, field)
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_bind(options: dict[str, Any], key: str, value: str, field: str) -> None:
    if key == "bind-propagation":
        options["Propagation"] = value.lower()
    elif key == "bind-nonrecursive":
        options["NonRecursive"] = _bool(key, value)
    elif key == "bind-recursive":
        if value not in _RECURSIVE:
            allowed = '"enabled", "disabled", "writable", or "readonly"'
            raise ValueError(f"invalid value for {key}: {value} (must be {allowed})")
        name = _RECURSIVE[value]
        if name:
            options[name] = True
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_volume(options: dict[str, Any], key: str, value: str, field: str) -> None:
    driver: dict[str, Any] = options.setdefault("DriverConfig", {})
    if key == "volume-subpath":
        options["Subpath"] = value
    elif key == "volume-nocopy":
        options["NoCopy"] = _bool(key, value)
    elif key == "volume-driver":
        driver["Name"] = value
    elif key in ("volume-label", "volume-opt"):
        name, _, rest = value.partition("=")
        target = options.setdefault("Labels", {}) if key == "volume-label" else None
        target = driver.setdefault("Options", {}) if target is None else target
        if name:
            target[name] = rest
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _set_tmpfs(options: dict[str, Any], key: str, value: str, field: str) -> None:
    try:
        if key == "tmpfs-size":
            options["SizeBytes"] = parse_bytes(value)
        elif key == "tmpfs-mode":
            options["Mode"] = parse_int(value, bits=32, signed=False, base=8)
        else:
            raise KeyError
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    except KeyError:
        raise ValueError(f"unexpected key '{key}' in '{field}'") from None


def _bool(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _check(mount: dict[str, Any]) -> None:
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount["Target"]:
        raise ValueError("target is required")
    for name in ("Volume", "Image", "Bind", "Tmpfs"):
        if f"{name}Options" in mount and kind != name.lower():
            raise ValueError(f"cannot mix '{name.lower()}-*' options with mount type '{kind}'")
    bind = mount.get("BindOptions", {})
    also = "to be specified in conjunction"
    for option, value in (
        ("ReadOnlyNonRecursive", "writable"),
        ("ReadOnlyForceRecursive", "readonly"),
    ):
        if bind.get(option) and not mount["ReadOnly"]:
            raise ValueError(f"option 'bind-recursive={value}' requires 'readonly' {also}")
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        wanted = "'bind-propagation=rprivate'"
        raise ValueError(f"option 'bind-recursive=readonly' requires {wanted} {also}")
