"""Connecting to a log server: at once before the container starts, in the background later."""

from __future__ import annotations

import errno
import os
import socket

from jubako.errors import StartError
from jubako.linux.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLSocket
    from typing import Any, NoReturn

    from jubako.containers.logs.background import Background
    from jubako.linux.loop import EventLoop, Timer

_NO_SERVER = "failed to create task for container: failed to initialize logging driver: "


def connect(target: dict[str, Any]) -> socket.socket:
    """Connect now, waiting for it; the target learns the addresses of its host.

    Raises StartError with Docker's sentence.
    """
    if target["tls"] is not None:
        from jubako.containers.logs import tls

        tls.check(target["tls"], _NO_SERVER)
    _look_up(target)
    failure: OSError | None = None
    for address in _addresses(target):
        sock = _socket(target, address)
        try:
            sock.settimeout(target["timeout_s"])
            sock.connect(address)
            return _wrap(target, sock, now=True)
        except OSError as exc:
            sock.close()
            failure = failure or exc
    _refuse(target, failure)


def _refuse(target: dict[str, Any], failure: OSError | None) -> NoReturn:
    if isinstance(failure, TimeoutError):
        reason = "i/o timeout"
    elif failure is not None and failure.errno and not is_tls(failure):
        reason = f"connect: {os.strerror(failure.errno).lower()}"
    else:
        reason = str(failure)
    where = target["paths"][0] if target["paths"] else _joined(target)
    text = target["refusal"] or f"{target['failure']}dial {target['network']} {where}: {reason}"
    raise StartError(
        f"{_NO_SERVER}{text}", hint="start the log server, or choose another log driver"
    ) from failure


def _joined(target: dict[str, Any]) -> str:
    host = str(target["host"])
    return f"[{host}]:{target['port']}" if ":" in host else f"{host}:{target['port']}"


def _look_up(target: dict[str, Any]) -> None:
    """Fill in `addresses` by asking the resolver, which may take its time."""
    if target["paths"] or target["addresses"]:
        return
    try:
        target["addresses"] = resolve(target["host"], target["port"])
    except OSError as exc:
        text = f"{target['failure']}dial {target['network']}: lookup {target['host']}: no such host"
        raise StartError(_NO_SERVER + text) from exc


def resolve(host: str, port: int) -> list[list[str | int]]:
    """Addresses of a host, as (address, port).  Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [[str(entry[4][0]), port] for entry in found]


def _addresses(target: dict[str, Any]) -> list[Any]:
    if target["paths"]:
        return list(target["paths"])
    return [tuple(address) for address in target["addresses"]]


def _socket(target: dict[str, Any], address: Any) -> socket.socket:
    datagrams = target["network"] in ("udp", "unixgram")
    kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    if target["paths"]:
        return socket.socket(socket.AF_UNIX, kind)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.socket(family, kind)


def _wrap(target: dict[str, Any], sock: socket.socket, *, now: bool) -> socket.socket:
    if target["tls"] is None:
        return sock
    from jubako.containers.logs import tls

    return tls.wrap(target["tls"], sock, target["host"], handshake=now)


def is_tls(error: OSError) -> bool:
    """Whether it is TLS that failed; its module is only imported where TLS is used."""
    return type(error).__name__.startswith("SSL")


def would_block(error: OSError) -> bool:
    """Whether TLS has to read or write before it can do what was asked."""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def send_as_file(sock: socket.socket, data: bytes) -> None:
    """A datagram that is too large: an empty one with a sealed file (sd_journal_send(3))."""
    import fcntl

    fd = os.memfd_create("jubako-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(sock, [b""], [fd])
    finally:
        os.close(fd)


class Attempt:
    """One attempt to connect, in an event loop.

    done: called once, with the connected socket or None.
    """

    def __init__(
        self,
        loop: EventLoop,
        target: dict[str, Any],
        done: Callable[[socket.socket | None], None],
    ):
        self._loop = loop
        self._target = target
        self._done = done
        self._sock: socket.socket | None = None
        self._lookup: Background | None = None
        self._timer: Timer | None = loop.call_later(target["timeout_s"], self._fail)
        if target["paths"] or target["addresses"]:
            loop.call_later(0, self._connect)
        else:
            self._look_up()

    def _look_up(self) -> None:
        import json

        from jubako.containers.logs.background import Background

        host, port = self._target["host"], self._target["port"]

        def found(answer: bytes) -> None:
            self._lookup = None
            self._target["addresses"] = json.loads(answer) if answer else []
            if self._target["addresses"]:
                self._connect()
            else:
                self._fail()

        try:
            self._lookup = Background(
                self._loop, lambda: json.dumps(resolve(host, port)).encode(), found
            )
        except OSError:
            self._loop.call_later(0, self._fail)

    def _connect(self) -> None:
        if self._timer is None:
            return  # cancelled before it began
        addresses = _addresses(self._target)
        turn = self._target.get("turn", 0)
        self._target["turn"] = turn + 1  # the next attempt is for the next address
        address = addresses[turn % len(addresses)]
        sock = self._sock = _socket(self._target, address)
        sock.setblocking(False)
        number = sock.connect_ex(address)
        if number == 0:
            self._connected()
        elif number == errno.EINPROGRESS:
            self._loop.add(sock.fileno(), WRITE, self._on_connect)
        else:
            self._fail()

    def _on_connect(self, events: int) -> None:
        assert self._sock is not None
        self._loop.remove(self._sock.fileno())
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._fail()
        else:
            self._connected()

    def _connected(self) -> None:
        assert self._sock is not None
        if self._target["tls"] is None:
            self._succeed()
            return
        try:
            self._sock = _wrap(self._target, self._sock, now=False)
        except (OSError, StartError):  # a certificate cannot be read any more
            self._fail()
            return
        self._loop.add(self._sock.fileno(), READ | WRITE, self._handshake)

    def _handshake(self, events: int) -> None:
        sock: SSLSocket = self._sock  # type: ignore[assignment]  # _wrap has just made it one
        try:
            sock.do_handshake()
        except OSError as exc:
            if would_block(exc):
                writes = type(exc).__name__ == "SSLWantWriteError"
                self._loop.modify(sock.fileno(), WRITE if writes else READ)
            else:
                self._fail()
            return
        self._loop.remove(sock.fileno())
        self._succeed()

    def _succeed(self) -> None:
        sock, self._sock = self._sock, None
        self.cancel()
        self._done(sock)

    def _fail(self) -> None:
        if self._timer is None:
            return  # cancelled
        named = (
            bool(self._target["addresses"])
            and self._target["host"] != (self._target["addresses"][0][0])
        )
        if named and self._target.get("turn", 0) >= len(self._target["addresses"]):
            self._target["addresses"] = []  # the name may have moved: ask again next time
            self._target["turn"] = 0
        self.cancel()
        self._done(None)

    def cancel(self) -> None:
        """Forget it; `done` is not called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None
        if self._sock is not None:
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            self._sock = None
