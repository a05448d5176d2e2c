"""CDI: devices that a description on this host defines, `--device vendor.com/class=name`, `--gpus`.

The administrator, or a driver's tool, puts JSON files into the directories of the setting
`cdi-spec-dirs`; a file in a later directory goes before one in an earlier.  A request names devices
by kind and name.  Only what the caller asks for in DeviceRequests counts: nothing of an image
selects a device.

A description may say what root's processes do (hooks), so it is taken only from files that belong
to root and that nobody else may write.  Container Device Interface, SPEC.md.
"""

from __future__ import annotations

import os
import stat

from jubako.errors import InvalidArgument, Unsupported
from jubako.oci import cdi_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from jubako.containers.model import HostConfig, Json

DRIVER = "cdi"
GPU_KINDS = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu")  # for --gpus, the first that is here
MAX_FILE_BYTES = 4 << 20
MAX_FILES = 1000
MAX_REQUESTED = 1000
_VERSIONS = ("0.3.", "0.4.", "0.5.", "0.6.", "0.7.", "0.8.", "1.")


class Device:
    """One described device.  path: the file.  own, common: its edits, and those of all in there."""

    __slots__ = ("common", "name", "own", "path")

    def __init__(self, name: str, path: str, own: Json, common: Json):
        self.name = name
        self.path = path
        self.own = own
        self.common = common


def requested(host: HostConfig, directories: Sequence[str]) -> list[Device]:
    """The devices that HostConfig.DeviceRequests asks for; each once, in the order asked.

    Raises InvalidArgument (no such device, a file that is wrong), Unsupported (another driver than
    CDI) in Docker's words.
    """
    requests = host["DeviceRequests"] or ()
    if not requests:
        return []
    registry = Registry(directories)
    names = [name for request in requests for name in _names(request, registry)]
    if len(names) > MAX_REQUESTED:
        raise InvalidArgument(f"over {MAX_REQUESTED} devices are requested")
    return registry.find(list(dict.fromkeys(names)))


def _names(request: Mapping[str, Any], registry: Registry) -> list[str]:
    driver, identities = request.get("Driver") or "", request.get("DeviceIDs") or []
    if not isinstance(identities, list) or not all(isinstance(name, str) for name in identities):
        raise InvalidArgument("invalid value of HostConfig.DeviceRequests: wrong type")
    wanted = request.get("Capabilities") or []
    count = request.get("Count") or 0
    if not isinstance(wanted, list) or not all(isinstance(words, list) for words in wanted):
        raise InvalidArgument("invalid value of HostConfig.DeviceRequests: wrong type")
    if type(driver) is not str or type(count) is not int:
        raise InvalidArgument("invalid value of HostConfig.DeviceRequests: wrong type")
    if driver == DRIVER:
        if count:
            raise InvalidArgument(
                "invalid argument: a CDI device is requested by name, not by count"
            )
        return identities
    if driver in ("", "nvidia", "amd") and any("gpu" in words for words in wanted):
        kind = next(
            (kind for kind in GPU_KINDS if kind.startswith(driver) and registry.names_of(kind)), ""
        )
        if kind:
            return _gpus(count, identities, kind, registry)
    words = " ".join(f"[{' '.join(map(str, words))}]" for words in wanted)
    raise Unsupported(
        f'could not select device driver "{driver}" with capabilities: [{words}]',
        hint="GPUs come from CDI descriptions: `nvidia-ctk cdi generate` makes those of NVIDIA",
    )


def _gpus(count: int, identities: list[str], kind: str, registry: Registry) -> list[str]:
    if identities:
        if count:
            raise InvalidArgument("cannot set both Count and DeviceIDs on device request")
        return [name if "=" in name else f"{kind}={name}" for name in identities]
    if count < 0:
        return [f"{kind}=all"]
    single = sorted(
        (name for name in registry.names_of(kind) if name.isascii() and name.isdigit()), key=int
    )
    if len(single) < count:
        raise InvalidArgument(f"{count} GPUs are requested, and {kind} has {len(single)}")
    return [f"{kind}={name}" for name in single[:count]]


class Registry:
    """What the descriptions of some directories define.  Files that are wrong are remembered."""

    def __init__(self, directories: Sequence[str]):
        self._devices: dict[str, Device] = {}
        self._conflicts: dict[str, str] = {}
        self._wrong: list[str] = []
        for directory in directories:
            self._add_directory(directory)

    def names_of(self, kind: str) -> list[str]:
        """The names of the devices of a kind."""
        return [name.partition("=")[2] for name in self._devices if name.startswith(f"{kind}=")]

    def find(self, names: Sequence[str]) -> list[Device]:
        """The devices with these full names.  Raises InvalidArgument in Docker's words."""
        missing = [name for name in names if name not in self._devices]
        if missing:
            reasons = [self._conflicts[name] for name in missing if name in self._conflicts]
            raise InvalidArgument(
                f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}",
                hint="; ".join([*reasons, *self._wrong]) or None,
                subject=missing[0],
            )
        return [self._devices[name] for name in names]

    def _add_directory(self, directory: str) -> None:
        found: dict[str, Device] = {}
        conflicts: dict[str, str] = {}
        for path in _files(directory):
            try:
                for device in _read(path):
                    if device.name in found:
                        conflicts[device.name] = (
                            f"{device.name} is in {found[device.name].path} and in {path}"
                        )
                    found[device.name] = device
            except InvalidArgument as exc:
                self._wrong.append(str(exc))
        for name in conflicts:
            del found[name]
            self._devices.pop(name, None)
        self._devices.update(found)
        self._conflicts.update(conflicts)


def _files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise InvalidArgument(f"read {directory}: {exc.strerror}", subject=directory) from exc
    found = [name for name in names if name.endswith((".json", ".yaml", ".yml"))]
    if len(found) > MAX_FILES:
        raise InvalidArgument(f"read {directory}: over {MAX_FILES} CDI descriptions")
    return [f"{directory}/{name}" for name in found]


def _read(path: str) -> Iterator[Device]:
    """The devices of one file.  Raises InvalidArgument that names the file."""
    try:
        yield from _devices(path, _load(path))
    except (OSError, ValueError, RecursionError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise InvalidArgument(f"CDI description {path}: {reason}", subject=path) from exc


def _load(path: str) -> Json:
    import json

    if not path.endswith(".json"):
        raise ValueError(
            "it is YAML, which is not read here; write it as JSON "
            "(`nvidia-ctk cdi generate --format=json`)"
        )
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise ValueError(
                "it must belong to root, and nobody else may have the right to write it"
            )
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
    parsed = json.loads(data)
    if not isinstance(parsed, dict):
        raise ValueError("it is not a JSON object")
    return parsed


def _devices(path: str, spec: Json) -> Iterator[Device]:
    from jubako.containers.definition.cdi_edits import check

    version = spec.get("cdiVersion")
    if not isinstance(version, str) or not version.removeprefix("v").startswith(_VERSIONS):
        raise ValueError(f"unknown cdiVersion {version!r}")
    kind = spec.get("kind")
    if not isinstance(kind, str) or not cdi_names.is_kind(kind):
        raise ValueError(f"invalid kind {kind!r}")
    common = check(spec.get("containerEdits"), "containerEdits")
    devices = spec.get("devices")
    if not isinstance(devices, list) or not devices:
        raise ValueError("it describes no devices")
    names = set()
    for device in devices:
        name = device.get("name") if isinstance(device, dict) else None
        if not isinstance(name, str) or not cdi_names.is_name(name):
            raise ValueError(f"invalid name of a device: {name!r}")
        if name in names:
            raise ValueError(f"two devices have the name {name!r}")
        names.add(name)
        own = check(device.get("containerEdits"), f"device {name}")
        yield Device(f"{kind}={name}", path, own, common)
