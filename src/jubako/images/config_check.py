"""Is this JSON an image config that the rest of the engine can rely on?"""

from __future__ import annotations

from jubako.errors import InvalidArgument
from jubako.images.times import parse_ns
from jubako.oci.digest import Digest
from jubako.oci.documents import parse_json
from jubako.oci.manifest import MAX_LAYERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jubako.oci.image import ImageConfig

MAX_CONFIG_BYTES = 8 << 20  # real ones have some kilobytes


def parse_config(data: bytes, what: str) -> ImageConfig:
    """The parsed config.

    Unknown members are left alone; known ones must have the type the specification gives them.
    Raises InvalidArgument, naming `what` and the member.
    """
    config = parse_json(data, what)
    if not isinstance(config, dict):
        raise InvalidArgument(f"{what}: not an object")
    for key, check, wanted in _TOP:
        _check(config, key, check, wanted, what)
    for key, check, wanted in _DEFAULTS:
        _check(config.get("config") or {}, key, check, wanted, f"{what}: config")
    rootfs = config.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise InvalidArgument(f"{what}: rootfs is missing or not of type layers")
    diff_ids = rootfs.get("diff_ids")
    if diff_ids is None:
        rootfs["diff_ids"] = []  # what Go writes for an image without layers
    elif not _strings(diff_ids):
        raise InvalidArgument(f"{what}: rootfs.diff_ids is not a list of digests")
    for diff_id in rootfs["diff_ids"]:
        if Digest.parse(diff_id).algorithm != "sha256":
            raise InvalidArgument(f"{what}: rootfs.diff_ids: {diff_id} is not a SHA-256 digest")
    if len(rootfs["diff_ids"]) > MAX_LAYERS:
        raise InvalidArgument(
            f"{what}: {len(rootfs['diff_ids'])} layers, more than {MAX_LAYERS} cannot be mounted"
        )
    if (config.get("os") or "linux") != "linux":
        raise InvalidArgument(f"{what}: cannot use an image for {config['os'][:40]!r} on linux")
    return config  # type: ignore[return-value]  # this function is what makes it one


def _check(
    holder: dict[str, Any], key: str, check: Callable[[Any], bool], wanted: str, what: str
) -> None:
    value = holder.get(key)
    if value is not None and not check(value):
        raise InvalidArgument(f"{what}: {key} is not {wanted}")


def _string(value: Any) -> bool:
    return isinstance(value, str)


def _time(value: Any) -> bool:
    """As Go's reader of the same config: what is no time spoils every list that it is in."""
    try:
        parse_ns(value)
    except (TypeError, InvalidArgument):
        return False
    return True


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _set(value: Any) -> bool:
    return isinstance(value, dict) and all(
        item is None or isinstance(item, dict) for item in value.values()
    )


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _health(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _strings(value.get("Test") or [])
        and all(
            _integer(value.get(key) or 0)
            for key in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
        )
    )


def _history(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, dict)
        and all(isinstance(step.get(key) or "", str) for key in ("created_by", "author", "comment"))
        and _time(step.get("created") or "")
        and isinstance(step.get("empty_layer") or False, bool)
        for step in value
    )


_TOP: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("created", _time, "a time"),
    ("author", _string, "a string"),
    ("comment", _string, "a string"),
    ("architecture", _string, "a string"),
    ("variant", _string, "a string"),
    ("os", _string, "a string"),
    ("docker_version", _string, "a string"),
    ("config", _object, "an object"),
    ("history", _history, "a list of history entries"),
)
_DEFAULTS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("User", _string, "a string"),
    ("WorkingDir", _string, "a string"),
    ("StopSignal", _string, "a string"),
    ("StopTimeout", _integer, "a number"),
    ("Env", _strings, "a list of strings"),
    ("Cmd", _strings, "a list of strings"),
    ("Entrypoint", _strings, "a list of strings"),
    ("OnBuild", _strings, "a list of strings"),
    ("Shell", _strings, "a list of strings"),
    ("Labels", _texts, "an object of strings"),
    ("ExposedPorts", _set, "an object of objects"),
    ("Volumes", _set, "an object of objects"),
    ("Healthcheck", _health, "a health check"),
)
