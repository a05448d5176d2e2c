"""What a root is set up to do: `<root>/config.json`, in the manner of Docker's daemon.json.

    {
      "log-driver": "local",            the log driver of containers that name none
      "log-opts": {"max-size": "10m"},  its options
      "record-keep": "168h",            how long events and samples are kept, also after `rm`
      "record-interval": "30s",         how often a running container is sampled; "0" is never
      "cdi-spec-dirs": ["/etc/cdi"],    where the descriptions of devices are
      "storage-driver": "auto",         how new layers are stored: "erofs", "overlay", or the best
      "blobs": "keep",                  compressed layers after a pull: "keep", "drop", "rebuild":
                                        drop only what can be made again to the byte
      "registry-mirrors": {             where to ask first: by registry, or by a part of its names;
        "docker.io": ["https://m"]},    a list alone, as Docker has it, is for docker.io
      "insecure-registries": ["h:80"],  registries that may speak http, or have a certificate that
                                        nobody signed; also networks, as 10.0.0.0/8
      "max-concurrent-downloads": 6,    layers at a time; likewise max-concurrent-uploads
      "max-download-attempts": 5        tries for each blob, each going on where the last ended
    }

Every key may be missing, and so may the file.
"""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FILE = "config.json"
STORAGE_DRIVERS = ("auto", "erofs", "overlay")
BLOB_POLICIES = ("keep", "drop", "rebuild")
_MAX_BYTES = 1 << 20
_MAX_COUNT = 64
_MIN_INTERVAL_S = 1.0  # a sample reads some ten files


class Settings:
    """The settings of one root, checked.

    record_keep_s, record_interval_s: seconds; an interval of 0 means that nothing is sampled.
    """

    __slots__ = (
        "blobs",
        "cdi_spec_dirs",
        "insecure_registries",
        "log_driver",
        "log_opts",
        "max_concurrent_downloads",
        "max_concurrent_uploads",
        "max_download_attempts",
        "record_interval_s",
        "record_keep_s",
        "registry_mirrors",
        "storage_driver",
    )

    def __init__(self) -> None:
        self.log_driver = "json-file"
        self.log_opts: dict[str, str] = {}
        self.record_keep_s = 168 * 3600.0
        self.record_interval_s = 30.0
        self.cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
        self.storage_driver = "auto"
        self.blobs = "keep"
        self.registry_mirrors: dict[str, tuple[str, ...]] = {}
        self.insecure_registries: tuple[str, ...] = ()
        self.max_concurrent_downloads = 6
        self.max_concurrent_uploads = 5
        self.max_download_attempts = 5


def load(path: str) -> Settings:
    """The settings of the root `path`; the defaults where it says nothing.

    Raises InvalidArgument that names the file and what is wrong with it, KernelError.
    """
    settings = Settings()
    file_path = f"{path}/{FILE}"
    try:
        fd = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return settings
    except OSError as exc:
        raise KernelError.from_oserror("open", exc, path=file_path) from exc
    with open(fd, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        _apply(settings, _parse(data))
    except ValueError as exc:
        raise InvalidArgument(
            f"unable to configure the engine with file {file_path}: {exc}", subject=file_path
        ) from exc
    return settings


def _parse(data: bytes) -> dict[str, Any]:
    import json

    if len(data) > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES} bytes")
    if not data.strip():
        return {}
    parsed = json.loads(data)  # JSONDecodeError and UnicodeDecodeError are ValueErrors
    if not isinstance(parsed, dict):
        raise ValueError("it is not a JSON object")
    return parsed


def _apply(settings: Settings, parsed: dict[str, Any]) -> None:
    known: dict[str, Callable[[Any], object]] = {
        "log-driver": lambda value: _text("log-driver", value),
        "log-opts": _texts_by_name,
        "record-keep": lambda value: _seconds("record-keep", value),
        "record-interval": _interval,
        "cdi-spec-dirs": _directories,
        "storage-driver": lambda value: _one_of("storage-driver", value, STORAGE_DRIVERS),
        "blobs": lambda value: _one_of("blobs", value, BLOB_POLICIES),
        "registry-mirrors": _mirrors,
        "insecure-registries": lambda value: _texts("insecure-registries", value),
        "max-concurrent-downloads": lambda value: _count("max-concurrent-downloads", value),
        "max-concurrent-uploads": lambda value: _count("max-concurrent-uploads", value),
        "max-download-attempts": lambda value: _count("max-download-attempts", value),
    }
    unknown = sorted(parsed.keys() - known.keys())
    if unknown:
        raise ValueError(
            "the following directives don't match any configuration option: " + ", ".join(unknown)
        )
    names = {"record-keep": "record_keep_s", "record-interval": "record_interval_s"}
    for key, value in parsed.items():
        setattr(settings, names.get(key, key.replace("-", "_")), known[key](value))


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: not a text: {value!r}")
    return value


def _one_of(key: str, value: object, known: tuple[str, ...]) -> str:
    text = _text(key, value)
    if text not in known:
        raise ValueError(f"{key}: {text!r} is none of {', '.join(known)}")
    return text


def _count(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_COUNT:
        raise ValueError(f"{key}: not a number from 1 to {_MAX_COUNT}: {value!r}")
    return value


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ValueError(f"{key}: not a list of texts: {value!r}")
    return tuple(value)


def _mirrors(value: object) -> dict[str, tuple[str, ...]]:
    if isinstance(value, list):
        value = {"docker.io": value}
    if not isinstance(value, dict):
        raise ValueError(f"registry-mirrors: neither a list nor an object of lists: {value!r}")
    return {name: _texts(f"registry-mirrors: {name}", urls) for name, urls in value.items()}


def _texts_by_name(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"log-opts: not an object of texts: {value!r}")
    return value


def _directories(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(
        isinstance(path, str) and path.startswith("/") for path in value
    ):
        raise ValueError(f"cdi-spec-dirs: not a list of absolute paths: {value!r}")
    return tuple(value)


def _interval(value: object) -> float:
    seconds = _seconds("record-interval", value)
    if 0 < seconds < _MIN_INTERVAL_S:
        raise ValueError(f"record-interval: {value} is too short: 1s is the least, 0 is never")
    return seconds


def _seconds(key: str, value: object) -> float:
    """A duration as Go writes it: `168h`, `1h30m`, `0`."""
    from jubako.golang.duration import parse_duration  # few roots say any

    try:
        nanoseconds = parse_duration(_text(key, value))
    except ValueError as exc:
        raise ValueError(f"{key}: {exc}") from None
    if nanoseconds < 0:
        raise ValueError(f"{key}: {value} is less than nothing")
    return nanoseconds / 1e9
