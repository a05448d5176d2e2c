"""What a root is set up to do: `<root>/config.json`, in the manner of Docker's daemon.json.

    {
      "log-driver": "local",            the log driver of containers that name none
      "log-opts": {"max-size": "10m"},  its options
      "record-keep": "168h",            how long events and samples are kept, also after `rm`
      "record-interval": "30s",         how often a running container is sampled; "0" is never
      "cdi-spec-dirs": ["/etc/cdi"]     where the descriptions of devices are
    }

Every key may be missing, and so may the file.
"""

from __future__ import annotations

import os

from jubako.errors import InvalidArgument, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "config.json"
_MAX_BYTES = 1 << 20
_MIN_INTERVAL_S = 1.0  # a sample reads some ten files


class Settings:
    """The settings of one root, checked.

    record_keep_s, record_interval_s: seconds; an interval of 0 means that nothing is sampled.
    """

    __slots__ = ("cdi_spec_dirs", "log_driver", "log_opts", "record_interval_s", "record_keep_s")

    def __init__(self) -> None:
        self.log_driver = "json-file"
        self.log_opts: dict[str, str] = {}
        self.record_keep_s = 168 * 3600.0
        self.record_interval_s = 30.0
        self.cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")


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
    known = {
        "log-driver": lambda value: _text("log-driver", value),
        "log-opts": _texts_by_name,
        "record-keep": lambda value: _seconds("record-keep", value),
        "record-interval": _interval,
        "cdi-spec-dirs": _directories,
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
