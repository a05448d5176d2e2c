"""`--log-driver` and `--log-opt`, checked, with Docker's sentences.

What Docker finds out only when the container starts is refused here when it is created.
"""

from __future__ import annotations

from jubako.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

REMOTE_DRIVERS = ("fluentd", "gelf", "journald", "syslog")
DRIVERS = ("fluentd", "gelf", "journald", "json-file", "local", "none", "syslog")
_ELSEWHERE = ("awslogs", "gcplogs", "splunk", "etwlogs")  # of Docker, for the services of others
DEFAULT_RING_BYTES = 1_000_000  # of mode=non-blocking, as Docker
_FOR_ALL = ("mode", "max-buffer-size")
_FOR_CACHE = (
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
)
_FAILED = "failed to create task for container: failed to initialize logging driver"


def check_options(driver: str, options: Mapping[str, str]) -> None:
    """Whether the driver exists ("" is json-file) and takes these options.

    Raises InvalidArgument, Unsupported (a driver of Docker's that is not here).
    """
    driver = driver or "json-file"
    if driver in _ELSEWHERE:
        raise Unsupported(
            f"log driver '{driver}' is not supported",
            hint=f"use one of {', '.join(DRIVERS)}",
            subject=driver,
        )
    if driver not in DRIVERS:
        raise InvalidArgument(
            f'error looking up logging plugin {driver}: plugin "{driver}" not found',
            hint=f"use one of {', '.join(DRIVERS)}",
            subject=driver,
        )
    if driver == "none":
        return
    ring_bytes(options)
    try:
        cache_disabled(options)
    except ValueError:
        value = options["cache-disabled"]
        raise InvalidArgument(f"invalid value for option cache-disabled: {value}") from None
    own = {
        key: value
        for key, value in options.items()
        if key not in _FOR_ALL and key not in _FOR_CACHE
    }
    try:
        _check_own(driver, own)
        cache = cache_options(options)
    except ValueError as exc:
        raise InvalidArgument(str(exc), subject=driver) from None
    if driver in REMOTE_DRIVERS:
        file_options("local", cache)
    else:
        file_options(driver, own)


def _check_own(driver: str, options: Mapping[str, str]) -> None:
    """The driver's own options; what is wrong with them is a ValueError."""
    if driver == "json-file":
        from jubako.containers.logs.fields import ATTRIBUTE_OPTIONS

        refuse_unknown(driver, options, (*_FILE, *ATTRIBUTE_OPTIONS))
    elif driver == "local":
        for name in options:
            if name not in _FILE:
                raise ValueError(f"unknown log opt '{name}' for log driver local")
    elif driver == "syslog":
        from jubako.containers.logs import syslog_options

        syslog_options.check(options)
    elif driver == "fluentd":
        from jubako.containers.logs import fluentd_options

        fluentd_options.check(options)
    elif driver == "gelf":
        from jubako.containers.logs import gelf_options

        gelf_options.check(options)
    else:
        from jubako.containers.logs.fields import ATTRIBUTE_OPTIONS

        refuse_unknown(driver, options, ATTRIBUTE_OPTIONS)


def refuse_unknown(driver: str, options: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raises ValueError with the name of the first option that the driver does not know."""
    for name in options:
        if name not in known:
            raise ValueError(f"unknown log opt '{name}' for {driver} log driver")


def ring_bytes(options: Mapping[str, str]) -> int | None:
    """How much is kept in mode `non-blocking`; None in mode `blocking`.  Raises InvalidArgument."""
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}", subject="mode")
    size = options.get("max-buffer-size")
    if mode != "non-blocking":
        if size is not None:
            raise InvalidArgument(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
                subject="max-buffer-size",
            )
        return None
    if size is None:
        return DEFAULT_RING_BYTES
    from jubako.golang.size import parse_bytes

    try:
        return parse_bytes(size)
    except ValueError as exc:
        text = f"error parsing option max-buffer-size: {exc}"
        raise InvalidArgument(text, subject="max-buffer-size") from None


def cache_disabled(options: Mapping[str, str]) -> bool:
    """Whether `logs` is to show nothing of a remote driver.  Raises ValueError."""
    text = options.get("cache-disabled", "")
    if not text:
        return False
    from jubako.golang.number import parse_bool

    return parse_bool(text)


def cache_options(options: Mapping[str, str]) -> dict[str, str]:
    """The options of the local copy that a remote driver keeps, without their prefix."""
    prefix = "cache-"
    return {
        key.removeprefix(prefix): value
        for key, value in options.items()
        if key in _FOR_CACHE and key != "cache-disabled"
    }


# files

_FILE = ("max-size", "max-file", "compress", "max-age")
_DEFAULT_SIZE = 20 << 20
_DEFAULT_FILES = 5


def file_options(driver: str, options: Mapping[str, str]) -> dict[str, Any]:
    """What becomes of a log's files: max_size (bytes), max_files, compress, max_age_s.

    driver: json-file or local, which differ in defaults and sentences.  A size of -1 and an age of
    0 are no limits.
    Unlike Docker's, a `json-file` log is rotated when no option asks for it: an engine must not
    fill the disk by default.  Raises InvalidArgument.
    """
    if not any(name in options for name in _FILE):
        compress = driver == "local"
        return _files(_DEFAULT_SIZE, _DEFAULT_FILES, compress, 0.0)
    read = _read_local if driver == "local" else _read_json
    try:
        size, files, compress = read(options)
        max_age_s = _age_s(options.get("max-age", ""))
    except ValueError as exc:
        raise InvalidArgument(f"{_FAILED}: {exc}", subject=driver) from None
    return _files(size, files, compress, max_age_s)


def _files(size: int, files: int, compress: bool, max_age_s: float) -> dict[str, Any]:
    return {"max_size": size, "max_files": files, "compress": compress, "max_age_s": max_age_s}


def _read_json(options: Mapping[str, str]) -> tuple[int, int, bool]:
    from jubako.golang.number import atoi, parse_bool
    from jubako.golang.size import parse_bytes

    size = _DEFAULT_SIZE
    if (text := options.get("max-size")) is not None:
        size = -1 if text == "-1" else parse_bytes(text, 1000)
        if size == 0:
            raise ValueError("max-size must be a positive number")
    files = atoi(options["max-file"]) if "max-file" in options else _DEFAULT_FILES
    if files < 1:
        raise ValueError("max-file cannot be less than 1")
    compress = parse_bool(options["compress"]) if "compress" in options else False
    if compress and (files == 1 or size < 0):
        raise ValueError(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        )
    return size, files, compress


def _read_local(options: Mapping[str, str]) -> tuple[int, int, bool]:
    from jubako.golang.number import atoi, parse_bool
    from jubako.golang.size import parse_bytes

    size, files, compress = _DEFAULT_SIZE, _DEFAULT_FILES, True
    if (text := options.get("max-size")) is not None:
        try:
            size = -1 if text == "-1" else parse_bytes(text, 1000) or -1
        except ValueError as exc:
            raise ValueError(f"invalid value for max-size: {text}: {exc}") from None
    if (text := options.get("max-file")) is not None:
        try:
            files = atoi(text)
        except ValueError as exc:
            raise ValueError(f"invalid value for max-file: {text}: {exc}") from None
    if (text := options.get("compress")) is not None:
        try:
            compress = parse_bool(text)
        except ValueError as exc:
            raise ValueError(f"error reading compress log option: {exc}") from None
    if files < 0:
        raise ValueError("max file count cannot be less than 0")
    if compress and files <= 1:
        raise ValueError("compression cannot be enabled when max file count is 1")
    return size, max(files, 1), compress


def _age_s(text: str) -> float:
    """`36h`, `7d`: how old a record may become."""
    from jubako.golang.duration import parse_duration

    if not text:
        return 0.0
    days = text.removesuffix("d")
    if days != text and days.isascii() and days.isdigit():
        return int(days) * 86400.0
    try:
        age_s = parse_duration(text) / 1e9
    except ValueError as exc:
        raise ValueError(f"invalid value for max-age: {text}: {exc}") from None
    if age_s <= 0:
        raise ValueError("max-age must be a positive duration")
    return age_s
