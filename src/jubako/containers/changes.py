"""Changes of a container's configuration, as data: what `edit` makes of the old one, and how the
two differ.  Nothing here looks at the system.

Most keys are replaced.  Those that are collections with a key of their own, such as Env by name or
mounts by target, are changed entry by entry: a new entry takes the place of the one with its key.
"""

from __future__ import annotations

import json

from jubako.containers.definition import binds
from jubako.containers.definition.config import CONFIG_KEYS, HOST_KEYS
from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from jubako.containers.model import Json

# What may change while the container runs, because it is looked at later or the kernel can do it.
LIVE = frozenset(
    "Labels StopSignal StopTimeout AutoRemove RestartPolicy Memory MemorySwap MemoryReservation"
    " NanoCpus CpuPeriod CpuQuota CpuShares CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus"
    " CpusetMems PidsLimit BlkioWeight".split()
)
_NOT_IN_THE_KERNEL = frozenset("Labels StopSignal StopTimeout AutoRemove RestartPolicy".split())
IN_THE_KERNEL = LIVE - _NOT_IN_THE_KERNEL
# What cannot be edited: it says where the container came from, or how a client was attached to it.
_FIXED = frozenset("Image AttachStdin AttachStdout AttachStderr OnBuild ContainerIDFile".split())

_OBJECTS = frozenset(
    "Labels ExposedPorts Volumes Healthcheck PortBindings Sysctls Annotations StorageOpt"
    " Tmpfs".split()
)
_NOTHING: tuple[object, ...] = (None, [], {})
_MOUNTS = ("Binds", "Mounts", "Tmpfs", "Volumes")
_REMOVABLE = ("Env", "Labels", "Ports", "Mounts")


def _before(mark: str) -> Callable[[Any], str]:
    return lambda text: str(text.partition(mark)[0])


def _host_name(text: str) -> str:
    return text.partition("=" if "=" in text else ":")[0]


# Lists whose entries have a key.
_LISTS: dict[str, Callable[[Any], str]] = {
    "Env": _before("="),
    "ExtraHosts": _host_name,
    "Ulimits": lambda limit: str(limit.get("Name")),
    "Devices": lambda device: str(device.get("PathInContainer") or device.get("PathOnHost")),
    "Binds": lambda text: binds.clean(text.split(":")[1] if ":" in text else text),
    "Mounts": lambda mount: binds.clean(mount.get("Target") or "/"),
    **dict.fromkeys(
        "BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps"
        " BlkioDeviceWriteIOps".split(),
        lambda limit: str(limit.get("Path")),
    ),
}


class Request:
    """What is to change; every part may be empty.

    config, host_config: keys of the API with what to set.  remove: names to take out of Env,
    Labels, Ports and Mounts.  reset: keys that go back to what they would be had nobody set them.
    secrets, remove_secrets: as `containers.secrets.check` takes them, and names.
    """

    __slots__ = ("config", "host_config", "remove", "reset", "secrets", "remove_secrets")

    def __init__(
        self,
        config: Mapping[str, Any],
        host_config: Mapping[str, Any],
        *,
        remove: Mapping[str, Sequence[str]],
        reset: Sequence[str],
        secrets: Sequence[Mapping[str, Any]],
        remove_secrets: Sequence[str],
    ):
        self.config = config
        self.host_config = host_config
        self.remove = remove
        self.reset = reset
        self.secrets = secrets
        self.remove_secrets = remove_secrets


class Difference:
    """One thing that an edit changes: `HostConfig.Memory`, `Config.Env.PATH`; None: not there."""

    __slots__ = ("path", "old", "new")

    def __init__(self, path: str, old: Any, new: Any):
        self.path = path
        self.old = old
        self.new = new

    @property
    def key(self) -> str:
        """The key of Config or HostConfig that it belongs to."""
        return self.path.split(".")[1]

    @property
    def live(self) -> bool:
        """Whether a running container can have it without being started anew."""
        return self.key in LIVE


def apply(config: Json, host: Json, request: Request, defaults: tuple[Json, Json]) -> None:
    """Change `config` and `host`, complete ones, as the request says.

    defaults: the Config and HostConfig of a container of the same image about which nobody said
    anything.  Raises InvalidArgument for what is not there, or cannot be changed.
    """
    for key in request.reset:
        _reset(config, host, key, defaults)
    for section, names in request.remove.items():
        for name in names:
            _remove(config, host, section, name)
    for what, target, wanted in (
        ("Config", config, request.config),
        ("HostConfig", host, request.host_config),
    ):
        for key, value in wanted.items():
            if key in _FIXED:
                raise InvalidArgument(f"{what}.{key} of a container cannot be edited", subject=key)
            if key in _MOUNTS:
                _make_room(config, host, key, value)
            target[key] = _merged(key, target.get(key), value)


def _merged(key: str, old: Any, new: Any) -> Any:
    if key in _OBJECTS and old and new:
        return {**old, **new}
    if key == "LogConfig" and old and new and new.get("Type") in (None, "", old["Type"]):
        options = {**(old.get("Config") or {}), **(new.get("Config") or {})}
        return {"Type": old["Type"], "Config": options}
    if key in _LISTS and old and new:
        key_of = _LISTS[key]
        fresh = {key_of(entry): entry for entry in new}
        kept = [fresh.pop(key_of(entry), entry) for entry in old]
        return [*kept, *fresh.values()]
    return new


def _targets(key: str, value: Any) -> set[str]:
    """Where in the container the mounts of one key are."""
    if key in _LISTS:
        return {_LISTS[key](entry) for entry in value or ()}
    return {binds.clean(target) for target in value or ()}


def _make_room(config: Json, host: Json, key: str, value: Any) -> None:
    """A mount takes the place of one at the same target, however that was asked for."""
    targets = _targets(key, value)
    for other in _MOUNTS:
        owner = config if other == "Volumes" else host
        if other != key and owner.get(other):
            owner[other] = _without(other, owner[other], targets)


def _without(key: str, value: Any, targets: set[str]) -> Any:
    if key in _LISTS:
        return [entry for entry in value if _LISTS[key](entry) not in targets]
    return {name: entry for name, entry in value.items() if binds.clean(name) not in targets}


def _reset(config: Json, host: Json, name: str, defaults: tuple[Json, Json]) -> None:
    section, dot, key = name.partition(".")
    if not dot:
        section, key = "", name
    for title, target, keys, default in (
        ("Config", config, CONFIG_KEYS, defaults[0]),
        ("HostConfig", host, HOST_KEYS, defaults[1]),
    ):
        if key in keys and key not in _FIXED and section in ("", title):
            target[key] = default.get(key)
            return
    raise InvalidArgument(f"nothing that could be reset is called {name}", subject=name)


def _remove(config: Json, host: Json, section: str, name: str) -> None:
    found = False
    if section == "Env":
        kept = [entry for entry in config["Env"] or () if entry.partition("=")[0] != name]
        found = len(kept) < len(config["Env"] or ())
        config["Env"] = kept
    elif section == "Labels":
        found = config["Labels"].pop(name, None) is not None
    elif section == "Ports":
        port = name if "/" in name else f"{name}/tcp"
        for owner, key in ((host, "PortBindings"), (config, "ExposedPorts")):
            same = [known for known in owner.get(key) or () if known in (port, name)]
            found = found or bool(same)
            owner[key] = {k: v for k, v in (owner.get(key) or {}).items() if k not in same}
    elif section == "Mounts":
        for key in _MOUNTS:
            owner = config if key == "Volumes" else host
            if binds.clean(name) in _targets(key, owner.get(key)):
                owner[key] = _without(key, owner[key], {binds.clean(name)})
                found = True
    else:
        raise InvalidArgument(
            f"names can be removed from {', '.join(_REMOVABLE)}, not from {section}"
        )
    if not found:
        what = {"Env": "variable", "Labels": "label", "Ports": "published port", "Mounts": "mount"}
        raise InvalidArgument(f"the container has no {what[section]} {name}", subject=name)


def differences(
    old: tuple[Mapping[str, Any], Mapping[str, Any]],
    new: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> list[Difference]:
    """What differs between two complete pairs of Config and HostConfig, in their order."""
    found: list[Difference] = []
    parts = (("Config", CONFIG_KEYS), ("HostConfig", HOST_KEYS))
    for (title, order), before, after in zip(parts, old, new, strict=True):
        for key in dict.fromkeys((*order, *before, *after)):
            found += _differences(f"{title}.{key}", key, before.get(key), after.get(key))
    return found


def _differences(path: str, key: str, old: Any, new: Any) -> Iterable[Difference]:
    if old == new or (old in _NOTHING and new in _NOTHING):
        return
    before, after = _entries(key, old), _entries(key, new)
    if before is None or after is None:
        yield Difference(path, old, new)
        return
    entries = False
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            entries = True
            yield Difference(f"{path}.{name}", before.get(name), after.get(name))
    if not entries and old and new:
        yield Difference(path, old, new)  # only the order


def _entries(key: str, value: Any) -> dict[str, Any] | None:
    """The entries of a collection by key; None for anything else."""
    if key in ("ExposedPorts", "Volumes"):  # sets, as Go writes them
        return dict.fromkeys(value or {}, True)
    if key in _OBJECTS:
        return dict(value or {})
    if key == "Env":
        return {
            name: content if equals else True
            for name, equals, content in (entry.partition("=") for entry in value or ())
        }
    if key in _LISTS:
        return {_LISTS[key](entry): entry for entry in value or ()}
    return None


def show(value: Any) -> str:
    """A value of a Difference as one word of text."""
    if value in _NOTHING:
        return "(none)"
    return json.dumps(value, ensure_ascii=False)
