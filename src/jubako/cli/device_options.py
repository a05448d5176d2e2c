"""`--device` and `--gpus`: device nodes of the host, CDI devices, GPUs."""

from __future__ import annotations

from jubako.cli.flags import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CDI_DRIVER = "cdi"


def devices(texts: list[str], host: dict[str, Any]) -> None:
    """Put the values of `--device` into HostConfig: Devices, and a request for CDI devices."""
    from jubako.oci import cdi_names

    named = [text for text in texts if cdi_names.is_qualified(text)]
    nodes = [node(text) for text in texts if text not in named]
    if nodes:
        host["Devices"] = nodes
    if named:
        request = {"Driver": CDI_DRIVER, "Count": 0, "DeviceIDs": named}
        host["DeviceRequests"] = [{**request, "Capabilities": None, "Options": None}]


def node(text: str) -> dict[str, str]:
    """`/dev/host[:/dev/inside][:rwm]` as the API's DeviceMapping.  Raises OptionError."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise OptionError(f"bad format for path: {text}")
    source, inside, mode = parts[0], "", "rwm"
    if len(parts) == 3:
        inside, mode = parts[1:]
        if not _is_mode(mode):
            raise OptionError(f"bad mode specified: {mode}")
    elif len(parts) == 2:
        if _is_mode(parts[1]):
            mode = parts[1]
        else:
            inside = parts[1]
    path = inside if len(parts) == 3 else inside or source
    if not path.startswith("/"):
        raise OptionError(f"{path} is not an absolute path")
    return {
        "PathOnHost": source,
        "PathInContainer": inside or source,
        "CgroupPermissions": mode,
    }


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def gpus(text: str) -> dict[str, Any]:
    """`all`, a number, or `device=...,driver=...,capabilities=...` as the API's DeviceRequest.

    Raises ValueError in Docker's words.
    """
    from jubako.cli.mount_options import split_fields

    request: dict[str, Any] = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}}
    request["Capabilities"] = [["gpu"]]
    seen: set[str] = set()
    for field in split_fields(text):
        key, has_value, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not has_value:
            seen.add("count")
            request["Count"] = _count(key)
        elif key == "driver":
            request["Driver"] = value
        elif key == "count":
            request["Count"] = _count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            pairs = (item.partition("=") for item in split_fields(value))
            request["Options"] = {name: setting for name, _, setting in pairs}
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    return request


def _count(text: str) -> int:
    if text == "all":
        return -1
    if not text.isascii() or not text.removeprefix("-").removeprefix("+").isdigit():
        raise ValueError(
            f'invalid count ({text}): value must be either "all" or an integer: invalid syntax'
        )
    return int(text)
