"""Messages for syslog servers: RFC 3164, RFC 5424, and the form that local servers take."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.containers.logs.lines import Message

_SEVERITIES = {"stdout": 6, "stderr": 3}  # info, err
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Syslog:
    """An `Encoder`.  plan: facility, format ("" is the local form), tag, hostname, framed."""

    def __init__(self, plan: dict[str, Any]):
        self._priority = {
            name: plan["facility"] << 3 | level for name, level in _SEVERITIES.items()
        }
        self._format: str = plan["format"]
        self._framed: bool = plan["framed"]  # RFC 5425: each message after its length
        self._tag: str = plan["tag"]
        self._hostname: str = plan["hostname"]
        self._head_of = ("", 0)
        self._head = b""

    def encode(self, message: Message) -> list[bytes]:
        if self._head_of != (message.stream, message.at_ns):  # what is read at once shares it
            self._head_of = (message.stream, message.at_ns)
            self._head = self._make_head(message).encode()
        data = self._head + message.line + b"\n"
        return [b"%d %b" % (len(data), data)] if self._framed else [data]

    def _make_head(self, message: Message) -> str:
        priority, pid, tag = self._priority[message.stream], os.getpid(), self._tag
        seconds, fraction_ns = divmod(message.at_ns, 10**9)
        local = time.localtime(seconds)
        if self._format.startswith("rfc5424"):
            micro = f".{fraction_ns // 1000:06}" if self._format.endswith("micro") else ""
            stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}{micro}{_zone(local)}"
            return f"<{priority}>1 {stamp} {self._hostname} {tag} {pid} {tag} - "
        stamp = (
            f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2}"
            f" {local.tm_hour:02}:{local.tm_min:02}:{local.tm_sec:02}"
        )
        host = f"{self._hostname} " if self._format else ""
        return f"<{priority}>{stamp} {host}{tag}[{pid}]: "

    def count_acks(self, data: bytes) -> tuple[int, bytes]:
        return 0, b""


def _zone(local: time.struct_time) -> str:
    minutes = local.tm_gmtoff // 60
    if not minutes:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
