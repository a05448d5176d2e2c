"""`--log-driver` and `--log-opt`, checked."""

from __future__ import annotations

from jubako.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DRIVERS = ("json-file", "local", "none")
_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DEFAULTS = {
    "json-file": {"max-size": "20m", "max-file": "5", "compress": "false"},
    "local": {"max-size": "20m", "max-file": "5", "compress": "true"},
    "none": {},
}
_KNOWN = ("max-size", "max-file", "compress", "mode", "max-buffer-size")
_KNOWN_LABELLING = ("labels", "labels-regex", "env", "env-regex", "tag")  # add attributes


class LogOptions:
    """driver; max_size_bytes of one file (-1: no limit); max_files kept; compress the old ones."""

    __slots__ = ("compress", "driver", "max_files", "max_size_bytes")

    def __init__(self, driver: str, max_size_bytes: int, max_files: int, compress: bool):
        self.driver = driver
        self.max_size_bytes = max_size_bytes
        self.max_files = max_files
        self.compress = compress


def parse_options(driver: str, options: Mapping[str, str]) -> LogOptions:
    """Check the options of a driver ("" is json-file) and fill in the defaults.

    Raises InvalidArgument with the option's name.
    """
    driver = driver or "json-file"
    if driver not in DRIVERS:
        raise InvalidArgument(
            f"logger: no log driver named '{driver}' is registered",
            hint=f"use one of {', '.join(DRIVERS)}",
            subject=driver,
        )
    if driver == "none":
        return LogOptions(driver, -1, 1, False)
    known = _KNOWN + (_KNOWN_LABELLING if driver == "json-file" else ())
    for name in options:
        if name not in known:
            raise InvalidArgument(f"unknown log opt '{name}' for {driver} log driver", subject=name)
    given = {**_DEFAULTS[driver], **options}
    max_files = _whole_number("max-file", given["max-file"])
    if max_files < 1:
        raise InvalidArgument("max-file cannot be less than 1", subject="max-file")
    return LogOptions(driver, _size("max-size", given["max-size"]), max_files, _truth(given))


def _truth(given: Mapping[str, str]) -> bool:
    text = given["compress"].lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidArgument(f"invalid value for compress: {text!r}", subject="compress")
    return text in ("true", "1", "t")


def _whole_number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument(f"invalid value for {name}: {text!r} is no number", subject=name)
    return int(text)


def _size(name: str, text: str) -> int:
    if text == "-1":
        return -1
    number = text.lower().removesuffix("b")
    suffix = number[-1:] if number[-1:] in ("k", "m", "g", "t") else ""
    digits = number.removesuffix(suffix)
    if not digits.isascii() or not digits.isdigit() or int(digits) == 0:
        raise InvalidArgument(f"invalid value for {name}: {text!r} is no size", subject=name)
    return int(digits) * _SUFFIXES[suffix]
