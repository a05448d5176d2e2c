"""Ports of the host: which are given away, and the sockets that hold them.

A published port is held twice.  The row in the table `ports` keeps the containers of this root
apart and says who has it; the bound socket keeps every other program away, and is what the proxy
(`jubako.networks.proxy`) serves.  The port lasts as long as the monitor holds the socket.
"""

from __future__ import annotations

import errno
import os
import socket

from jubako.errors import Conflict, KernelError
from jubako.linux.netlink import read_sysctl
from jubako.networks.listener import Listener, close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from jubako.networks.model import PortBinding, PortMapping
    from jubako.store import Store

_EPHEMERAL = (32768, 60999)  # what Docker falls back on, too
_BACKLOG = 4096  # the kernel cuts it down to net.core.somaxconn
_IP_PKTINFO = 8

ANY_IPV4 = "0.0.0.0"
ANY_IPV6 = "::"


def reserve(store: Store, container_id: str, mappings: Sequence[PortMapping]) -> list[Listener]:
    """Take ports of the host for a container: all of `mappings` or none.

    Fixed ports go first, then ranges, then any free one.
    The caller owns the listeners; `NetworkService.detach` frees the rows.
    Raises Conflict in Docker's words (`Bind for 0.0.0.0:8080 failed: port is already allocated`
    when a container of this root has it, `... listen tcp4 0.0.0.0:8080: bind: address already in
    use` when some other program has it), InvalidArgument, KernelError.
    """
    if not mappings:
        return []
    found: list[Listener] = []
    try:
        with store.transaction() as db:
            taker = _Taker(db, container_id)
            for mapping in sorted(mappings, key=_order):
                found += taker.take(mapping)
    except BaseException:
        close_all(found)
        raise
    return sorted(found, key=lambda item: (item.container_port, item.protocol))


def _order(mapping: PortMapping) -> int:
    if not mapping["host_port"]:
        return 2
    return 1 if "-" in mapping["host_port"] else 0


class _PortTaken(Exception):
    """This port will not do; another one of a range may."""

    def __init__(self, conflict: Conflict):
        super().__init__(conflict.message)
        self.conflict = conflict


class _Taker:
    """Takes ports inside one transaction."""

    def __init__(self, db: sqlite3.Connection, container_id: str):
        self._db = db
        self._container_id = container_id

    def take(self, mapping: PortMapping) -> list[Listener]:
        wanted = mapping["host_port"]
        if not wanted or wanted == "0":
            return self._take_any(mapping)
        first, dash, last = wanted.partition("-")
        if not dash:
            try:
                return self._take_one(mapping, int(first))
            except _PortTaken as exc:
                raise exc.conflict from None
        for port in range(int(first), int(last) + 1):
            try:
                return self._take_one(mapping, port)
            except _PortTaken:
                continue
        raise Conflict("all ports are allocated", subject=wanted)

    def _take_any(self, mapping: PortMapping) -> list[Listener]:
        """A free port of the kernel's ephemeral range, going round: a port that was just given
        back is not given to somebody else at once."""
        first, last = _ephemeral_range()
        row = self._db.execute(
            "SELECT last_port FROM port_cursors WHERE protocol = ?", (mapping["protocol"],)
        ).fetchone()
        start = row[0] + 1 if row is not None and first <= row[0] < last else first
        for port in (*range(start, last + 1), *range(first, start)):
            try:
                listeners = self._take_one(mapping, port)
            except _PortTaken:
                continue
            self._db.execute(
                "INSERT INTO port_cursors VALUES (?, ?)"
                " ON CONFLICT (protocol) DO UPDATE SET last_port = excluded.last_port",
                (mapping["protocol"], port),
            )
            return listeners
        raise Conflict("all ports are allocated")

    def _take_one(self, mapping: PortMapping, port: int) -> list[Listener]:
        """Port number `port` on each address that the mapping stands for."""
        wanted = mapping["host_ip"]
        found: list[Listener] = []
        try:
            for host_ip in [wanted] if wanted else [ANY_IPV4, ANY_IPV6]:
                try:
                    found.append(self._bind(mapping, host_ip, port))
                except KernelError as exc:
                    # "everywhere" on a host without IPv6 is IPv4 alone
                    if wanted or host_ip != ANY_IPV6 or exc.errno not in _NO_IPV6:
                        raise
        except BaseException:
            close_all(found)
            for listener in found:
                self._forget(listener)
            raise
        return found

    def _bind(self, mapping: PortMapping, host_ip: str, port: int) -> Listener:
        protocol, container_port = mapping["protocol"], mapping["container_port"]
        key = (protocol, host_ip, port)
        taken = self._db.execute(
            "SELECT 1 FROM ports WHERE protocol = ? AND host_ip = ? AND host_port = ?", key
        ).fetchone()
        if taken:
            place = f"[{host_ip}]:{port}" if ":" in host_ip else f"{host_ip}:{port}"
            text = f"Bind for {place} failed: port is already allocated"
            raise _PortTaken(Conflict(text, subject=place))
        bound = None if protocol == "sctp" else _bind(protocol, host_ip, port)
        self._db.execute(
            "INSERT INTO ports (protocol, host_ip, host_port, container_id, container_ip,"
            " container_port) VALUES (?, ?, ?, ?, '', ?)",
            (*key, self._container_id, container_port),
        )
        return Listener(protocol, host_ip, port, container_port, bound)

    def _forget(self, listener: Listener) -> None:
        self._db.execute(
            "DELETE FROM ports WHERE protocol = ? AND host_ip = ? AND host_port = ?",
            (listener.protocol, listener.host_ip, listener.host_port),
        )


_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _ephemeral_range() -> tuple[int, int]:
    words = (read_sysctl("net/ipv4/ip_local_port_range") or "").split()
    if len(words) == 2 and all(word.isdecimal() for word in words):
        return int(words[0]), int(words[1])
    return _EPHEMERAL


def _bind(protocol: str, host_ip: str, port: int) -> socket.socket:
    """A bound socket.  Raises _PortTaken (EADDRINUSE), KernelError."""
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    place = f"[{host_ip}]:{port}" if family == socket.AF_INET6 else f"{host_ip}:{port}"
    network = protocol + ("6" if family == socket.AF_INET6 else "4")
    sock = None
    try:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # connections of an earlier holder that linger in TIME_WAIT do not matter
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind((host_ip, port))
        if protocol == "tcp":
            sock.listen(_BACKLOG)
    except OSError as exc:
        if sock is not None:
            sock.close()
        number = exc.errno or 0
        reason = os.strerror(number).lower()
        text = f"Error starting userland proxy: listen {network} {place}: bind: {reason}"
        if number == errno.EADDRINUSE:
            raise _PortTaken(Conflict(text, subject=place)) from exc
        error = KernelError("bind", number, path=place, detail=network)
        error.message = text
        error.args = (text,)
        raise error from exc
    return sock


def bindings(listeners: Iterable[Listener]) -> dict[str, list[PortBinding]]:
    """The shape of NetworkSettings.Ports."""
    found: dict[str, list[PortBinding]] = {}
    for listener in listeners:
        key = f"{listener.container_port}/{listener.protocol}"
        found.setdefault(key, []).append(
            {"HostIp": listener.host_ip, "HostPort": str(listener.host_port)}
        )
    return found
