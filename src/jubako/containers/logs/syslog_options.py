"""The options of the log driver `syslog`."""

from __future__ import annotations

import os

from jubako.containers.logs import addresses
from jubako.containers.logs.fields import ATTRIBUTE_OPTIONS, attributes, tag
from jubako.containers.logs.options import refuse_unknown
from jubako.containers.logs.targets import target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from jubako.containers.model import ContainerRecord

_FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - -"
    " local0 local1 local2 local3 local4 local5 local6 local7"
).split()  # by number; 12 to 15 have no name in Docker
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_TLS = ("syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify")
_KNOWN = ("syslog-address", "syslog-facility", "syslog-format", *_TLS, *ATTRIBUTE_OPTIONS)
_PORT = 514
_LOCAL_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")


def check(options: Mapping[str, str]) -> None:
    """Raises ValueError with Docker's sentence."""
    refuse_unknown("syslog", options, _KNOWN)
    address = options.get("syslog-address", "")
    if address:
        _parse(address)
    _facility(options.get("syslog-facility", ""))
    if options.get("syslog-format", "") not in _FORMATS:
        raise ValueError("Invalid syslog format")


def _parse(text: str) -> addresses.Address:
    address = addresses.parse(text)
    if address.scheme not in ("tcp", "tcp+tls", "udp", "unix", "unixgram"):
        raise ValueError(f"unsupported scheme: '{address.scheme}'")
    if address.scheme.startswith("unix"):
        try:
            os.stat(address.path)
        except OSError as exc:
            raise ValueError(f"stat {address.path}: {(exc.strerror or '').lower()}") from None
    return address


def _facility(text: str) -> int:
    if not text:
        return _FACILITIES.index("daemon")
    if text in _FACILITIES and text != "-":
        return _FACILITIES.index(text)
    if text.isascii() and text.isdigit() and len(text) < 3 and int(text) <= 23:
        return int(text)
    raise ValueError("invalid syslog facility")


def plan(options: Mapping[str, str], record: ContainerRecord) -> dict[str, Any]:
    """The part of the plan that is this driver's; `check` has passed."""
    attributes(options, record)  # the protocol has no place for them, but they must be right
    text = options.get("syslog-address", "")
    secure = text.startswith("tcp+tls:")
    return {
        "target": _target(text, options),
        "facility": _facility(options.get("syslog-facility", "")),
        "format": options.get("syslog-format", ""),
        "framed": secure and options.get("syslog-format", "").startswith("rfc5424"),
        "tag": tag(options, record, record["Id"][:12]),
        "hostname": os.uname().nodename,
    }


def _target(text: str, options: Mapping[str, str]) -> dict[str, Any]:
    if not text:
        found = [path for path in _LOCAL_SOCKETS if os.path.exists(path)]
        paths = found or _LOCAL_SOCKETS[:1]
        return target("unixgram", paths=paths, refusal="Unix syslog delivery error")
    address = _parse(text)
    if address.scheme.startswith("unix"):
        return target(address.scheme, paths=(address.path,))
    tls = None
    if address.scheme == "tcp+tls":
        tls = {
            "ca": options.get("syslog-tls-ca-cert", ""),
            "cert": options.get("syslog-tls-cert", ""),
            "key": options.get("syslog-tls-key", ""),
            "verify": "syslog-tls-skip-verify" not in options,
        }
    network = address.scheme.removesuffix("+tls")
    return target(network, address.host or "127.0.0.1", address.port or _PORT, tls=tls)
