"""The options of the log driver `gelf`."""

from __future__ import annotations

import os

from jubako.containers.logs import addresses
from jubako.containers.logs.fields import ATTRIBUTE_OPTIONS, attributes, command, tag
from jubako.containers.logs.options import refuse_unknown
from jubako.containers.logs.targets import target
from jubako.golang.number import atoi
from jubako.golang.quote import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord

_ADDRESS = "gelf-address"
_TYPE, _LEVEL = "gelf-compression-type", "gelf-compression-level"
_RECONNECTS, _DELAY = "gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"
_KNOWN = (_ADDRESS, _TYPE, _LEVEL, _RECONNECTS, _DELAY, *ATTRIBUTE_OPTIONS)
_DEFAULT_DELAY_S = 1


def check(options: Mapping[str, str]) -> None:
    """Raises ValueError with Docker's sentence."""
    if not options.get(_ADDRESS):
        raise ValueError("gelf-address is a required parameter")
    address = _parse(options[_ADDRESS])
    for name, value in options.items():
        if name not in _KNOWN:
            refuse_unknown("gelf", {name: value}, _KNOWN)
        if name in (_TYPE, _LEVEL):
            if address.scheme != "udp":
                raise ValueError("compression is only supported on UDP")
            if not _is_compression(name, value):
                raise ValueError(
                    f"unknown value {quote(value)} for log opt {quote(name)} for gelf log driver"
                )
        elif name in (_RECONNECTS, _DELAY):
            if address.scheme != "tcp":
                raise ValueError(f"{quote(name)} is only valid for TCP")
            if not (value.isascii() and value.isdigit()):
                raise ValueError(f"{quote(name)} must be a positive integer")


def _is_compression(name: str, value: str) -> bool:
    if name == _TYPE:
        return value in ("gzip", "zlib", "none")
    try:
        return -1 <= atoi(value) <= 9
    except ValueError:
        return False


def _parse(text: str) -> addresses.Address:
    address = addresses.parse(text)
    if address.scheme not in ("tcp", "udp"):
        raise ValueError("gelf: endpoint needs to be TCP or UDP")
    if address.port is None:
        raise ValueError("gelf: please provide gelf-address as proto://host:port")
    return address


def plan(options: Mapping[str, str], record: ContainerRecord) -> dict[str, Any]:
    """The part of the plan that is this driver's; `check` has passed."""
    address = _parse(options[_ADDRESS])
    host, port = address.host or "127.0.0.1", address.port or 0
    delay_s = float(options.get(_DELAY, _DEFAULT_DELAY_S))
    failure = f"gelf: cannot connect to GELF endpoint: {addresses.joined(host, port)} "
    extra = {
        "_container_id": record["Id"],
        "_container_name": record["Name"],
        "_image_id": record["ImageId"],
        "_image_name": record["ImageRef"],
        "_command": command(record),
        "_tag": tag(options, record, record["Id"][:12]),
        "_created": record["Created"],
        **attributes(options, record, lambda key: key if key.startswith("_") else f"_{key}"),
    }
    return {
        "target": target(
            address.scheme,
            host,
            port,
            failure=failure,
            retry_s=delay_s or 0.1,
            retries=int(options.get(_RECONNECTS, 0)),
        ),
        "compression": options.get(_TYPE, "gzip") if address.scheme == "udp" else "",
        "level": atoi(options.get(_LEVEL, "1")),
        "hostname": os.uname().nodename,
        "extra": dict(sorted(extra.items())),
    }
