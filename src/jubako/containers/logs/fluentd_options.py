"""The options of the log driver `fluentd`."""

from __future__ import annotations

from jubako.containers.logs import addresses
from jubako.containers.logs.fields import ATTRIBUTE_OPTIONS, attributes, tag
from jubako.containers.logs.options import refuse_unknown
from jubako.containers.logs.targets import LIMIT_BYTES, target
from jubako.golang.duration import parse_duration
from jubako.golang.number import parse_bool, parse_uint
from jubako.golang.quote import quote
from jubako.golang.size import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord

_KNOWN = (
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
    *ATTRIBUTE_OPTIONS,
)
_PORT = 24224
_RETRY_MAX_S = 60.0
_CONNECT_S = 3.0
_ACK_S = 30.0


def check(options: Mapping[str, str]) -> None:
    """Raises ValueError with Docker's sentence."""
    refuse_unknown("fluentd", options, _KNOWN)
    _target(options)
    _truth(options, "fluentd-sub-second-precision")


def _target(options: Mapping[str, str]) -> dict[str, Any]:
    address = _parse(options.get("fluentd-address", ""))
    if "fluentd-async" in options and "fluentd-async-connect" in options:
        raise ValueError(
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect"
        )
    asynchronous = _truth(options, "fluentd-async") or _truth(options, "fluentd-async-connect")
    interval_s = _interval_s(options.get("fluentd-async-reconnect-interval", ""))
    acks = _truth(options, "fluentd-request-ack")
    more: dict[str, Any] = {
        "limit": parse_bytes(options.get("fluentd-buffer-limit") or str(LIMIT_BYTES)),
        "retry_s": interval_s or _seconds(options, "fluentd-retry-wait", 1.0),
        "retry_max_s": _RETRY_MAX_S,
        "retries": parse_uint(options.get("fluentd-max-retries") or "0", (1 << 63) - 1),
        "must_connect": not asynchronous,
        "waits": not asynchronous,
        "acks": acks,
        "timeout_s": _CONNECT_S,
        "write_timeout_s": _seconds(options, "fluentd-write-timeout", _ACK_S if acks else 0.0),
    }
    if address.scheme == "unix":
        return target("unix", paths=(address.path,), **more)
    tls = {"ca": "", "cert": "", "key": "", "verify": True} if address.scheme == "tls" else None
    host = address.host or "127.0.0.1"
    return target("tcp", host, address.port or _PORT, tls=tls, **more)


def _parse(text: str) -> addresses.Address:
    wrong = f"invalid fluentd-address ({text}): "
    full = text if "://" in text else f"tcp://{text}"
    try:
        address = addresses.parse(full)
    except ValueError as exc:
        raise ValueError(f"{wrong}{exc}") from None
    if address.scheme not in ("tcp", "tls", "unix"):
        raise ValueError(f"{wrong}unsupported scheme: '{address.scheme}'")
    if address.scheme == "unix":
        if not address.path.strip("/"):
            raise ValueError(f"{wrong}path is empty")
    elif address.path:
        raise ValueError(f"{wrong}should not contain a path element")
    return address


def _truth(options: Mapping[str, str], name: str) -> bool:
    return parse_bool(options[name]) if options.get(name) else False


def _seconds(options: Mapping[str, str], name: str, default_s: float) -> float:
    return parse_duration(options[name]) / 1e9 if options.get(name) else default_s


def _interval_s(text: str) -> float:
    if not text:
        return 0.0
    name = "fluentd-async-reconnect-interval"
    try:
        interval_s = parse_duration(text) / 1e9
    except ValueError as exc:
        raise ValueError(f"invalid value for {name}: {exc}") from None
    if interval_s and not 0.1 <= interval_s <= 10:
        raise ValueError(
            f"invalid value for {name}: value ({quote(text)}) must be between 100ms and 10s"
        )
    return interval_s


def plan(options: Mapping[str, str], record: ContainerRecord) -> dict[str, Any]:
    """The part of the plan that is this driver's; `check` has passed."""
    return {
        "target": _target(options),
        "tag": tag(options, record, record["Id"][:12]),
        "sub_second": _truth(options, "fluentd-sub-second-precision"),
        "fields": {
            "container_id": record["Id"],
            "container_name": f"/{record['Name']}",
            **attributes(options, record),
        },
    }
