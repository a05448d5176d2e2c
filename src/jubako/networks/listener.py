"""A port of the host, held for a container by the socket that is bound to it."""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Listener:
    """One port of the host held for a container.

    socket: bound, and listening if TCP; it does not block.  None for SCTP, whose packets only the
    firewall's maps pass on.  Owns the socket.
    """

    __slots__ = (
        "protocol", "host_ip", "host_port", "container_port", "socket",
    )  # fmt: skip

    def __init__(
        self,
        protocol: str,
        host_ip: str,
        host_port: int,
        container_port: int,
        bound: socket.socket | None,
    ):
        self.protocol = protocol
        self.host_ip = host_ip
        self.host_port = host_port
        self.container_port = container_port
        self.socket = bound

    def __repr__(self) -> str:
        target = f"{self.container_port}/{self.protocol}"
        return f"Listener({self.host_ip}:{self.host_port} -> {target})"

    def hand_over(self) -> dict[str, Any]:
        """What `take_over` makes the same of after an exec, which the socket now survives."""
        fd = -1
        if self.socket is not None:
            fd = self.socket.fileno()
            os.set_inheritable(fd, True)
        return {
            "protocol": self.protocol,
            "host_ip": self.host_ip,
            "host_port": self.host_port,
            "container_port": self.container_port,
            "fd": fd,
        }

    @classmethod
    def take_over(cls, state: dict[str, Any]) -> Listener:
        """The listener that `hand_over` described, in the process that inherited its socket."""
        bound = None
        if state["fd"] >= 0:
            bound = socket.socket(fileno=state["fd"])
            bound.set_inheritable(False)
        return cls(
            state["protocol"],
            state["host_ip"],
            state["host_port"],
            state["container_port"],
            bound,
        )

    def close(self) -> None:
        """Give up the socket; the row in the table is another matter.  Idempotent."""
        if self.socket is not None:
            self.socket.close()


def close_all(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        listener.close()
