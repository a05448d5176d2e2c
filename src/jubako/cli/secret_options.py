"""The grammar of `--secret`: `id=NAME[,src=FILE|,env=VARIABLE][,target=PATH][,uid=N][,gid=N]...`.

Like that of `docker build --secret`: without a source, the variable of that name, else the file.
"""

from __future__ import annotations

import os

from jubako.cli.flags import parse_int
from jubako.cli.mount_options import split_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYS = {"id": "Name", "src": "File", "source": "File", "env": "Env", "target": "Target"}


def parse_secret(text: str) -> dict[str, Any]:
    """One value of the flag, as `engine.containers.create` takes it.

    A bare `NAME` is `id=NAME`.  Raises ValueError.
    """
    secret: dict[str, Any] = {}
    kind = ""
    for field in split_fields(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals and not secret and "," not in text:
            key, value = "id", field
        elif not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        if key in _KEYS:
            secret[_KEYS[key]] = value
        elif key == "type":
            kind = value
        elif key in ("uid", "gid"):
            secret[key.capitalize()] = _number(key, value, 10)
        elif key == "mode":
            secret["Mode"] = _number(key, value, 8)
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    name = secret.get("Name")
    if not name:
        raise ValueError("secret id is required")
    _choose_source(secret, kind)
    if secret.get("File"):
        secret["File"] = os.path.abspath(secret["File"])
    return secret


def _choose_source(secret: dict[str, Any], kind: str) -> None:
    name = secret["Name"]
    if kind not in ("", "file", "env"):
        raise ValueError(f"unsupported secret type {kind}")
    if kind == "env" and "Env" not in secret:
        secret["Env"] = secret.pop("File", None) or name
    elif kind == "file" and "File" not in secret:
        secret["File"] = name
    elif not secret.get("File") and not secret.get("Env"):
        secret["Env" if name in os.environ else "File"] = name


def _number(key: str, value: str, base: int) -> int:
    try:
        return parse_int(value, bits=32, signed=False, base=base)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
