"""A netlink socket: requests out, answers and acknowledgements in."""

from __future__ import annotations

import array
import errno
import socket
import struct

from jubako.errors import KernelError
from jubako.linux import trace
from jubako.linux.netlink import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_SO_ATTACH_FILTER = 26
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLMSGERR_ATTR_MSG = 1

# The kernel fills datagrams of up to 32 KiB for a dump when the reader offers that much.
_RECEIVE_BYTES = 32 << 10
_DUMP_TRIES = 10


class Request:
    """One message to the kernel.

    kind, flags, body: as in nlmsghdr; NLM_F_REQUEST and NLM_F_ACK are added when it is sent.
    shell: the equivalent command line, for traces and errors.  why: the caller's reason.
    path: the object concerned, as the user knows it.
    accept: errors that mean the wanted state holds already (EEXIST for an address to add).
    """

    __slots__ = ("kind", "flags", "body", "shell", "why", "path", "accept")

    def __init__(
        self,
        kind: int,
        flags: int,
        body: bytes,
        *,
        shell: str,
        path: str,
        why: str = "",
        accept: tuple[int, ...] = (),
    ):
        self.kind = kind
        self.flags = flags
        self.body = body
        self.shell = shell
        self.why = why
        self.path = path
        self.accept = accept


class Netlink:
    """A socket in the network namespace in which it was made, whatever its process enters later.

    Not for several threads, nor for a parent and its child.  A context manager; `close` is
    idempotent, and an object that nobody holds any more is closed.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, groups: Sequence[int] = ()):
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
            )
        except OSError as exc:
            raise KernelError.from_oserror("socket", exc, path="netlink") from exc
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass  # before Linux 4.12, 4.3 and 4.20: less said in errors, more sent in dumps
        if groups:
            self._socket.bind((0, 0))  # the kernel announces nothing to a socket without a port
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def attach_filter(self, program: bytes) -> None:
        """SO_ATTACH_FILTER: let a classic BPF program (struct sock_filter ...) choose the messages
        that are received."""
        buffer = array.array("B", program)
        fprog = struct.pack("HP", len(program) // 8, buffer.buffer_info()[0])
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        except OSError as exc:
            raise KernelError.from_oserror("setsockopt", exc, path="SO_ATTACH_FILTER") from exc

    def fileno(self) -> int:
        return self._socket.fileno()

    def execute(self, *requests: Request) -> None:
        """Carry out requests in order, in one system call.

        The kernel goes on after one that fails (only nftables batches are atomic): all have been
        tried when the first error is raised.  Raises KernelError.
        """
        if trace.listening():
            for request in requests:
                self.netlink(request, why=request.why)
        elif requests:
            self._exchange(requests)

    @trace.traced(
        lambda self, request, why="": request.shell,
        facts=lambda self, request, why="": {"object": request.path},
    )
    def netlink(self, request: Request, *, why: str = "") -> None:
        """Carry out one request, seen by a trace."""
        self._exchange((request,))

    def get(self, request: Request) -> codec.Message | None:
        """The answer to a request for one object; None if there is no such object.

        Raises KernelError for any failure but ENODEV, ENOENT, ESRCH.
        """
        try:
            replies = self._exchange((request,))
        except KernelError as exc:
            if exc.errno in (errno.ENODEV, errno.ENOENT, errno.ESRCH):
                return None
            raise
        return replies[0] if replies else None

    def dump(self, request: Request) -> list[codec.Message]:
        """Everything of a kind.  Asks again when something changed under the dump (EINTR-like)."""
        for _ in range(_DUMP_TRIES):
            found, interrupted = self._dump_once(request)
            if not interrupted:
                break
        return found

    def notifications(self) -> list[codec.Message]:
        """What the joined groups have sent; [] if nothing waits.  Raises KernelError(ENOBUFS)
        when the kernel dropped some because they were not read in time."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise KernelError.from_oserror("recv", exc, path="netlink") from exc
        return list(codec.messages(data))

    def batch(self, requests: Sequence[Request], begin: Request, end: Request) -> None:
        """Carry out requests as the one transaction of an nfnetlink batch: all or nothing.

        begin, end: the messages that mark the batch.  The kernel acknowledges also the good ones
        of a batch that it throws away.  Raises KernelError of the first bad one.
        """
        datagram = bytearray(self._marker(begin))
        waiting = {self._sequence: begin}  # errors of the batch as a whole carry this number
        for request in requests:
            datagram += self._pack(request, waiting)
        datagram += self._marker(end)
        self._send(bytes(datagram))
        self._collect(waiting, silent=begin)

    def _marker(self, request: Request) -> bytes:
        flags = request.flags | codec.NLM_F_REQUEST
        return codec.pack_message(request.kind, flags, self._next(), request.body)

    def _pack(self, request: Request, waiting: dict[int, Request]) -> bytes:
        sequence = self._next()
        flags = request.flags | codec.NLM_F_REQUEST | codec.NLM_F_ACK
        waiting[sequence] = request
        return codec.pack_message(request.kind, flags, sequence, request.body)

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return self._sequence

    def _exchange(self, requests: Sequence[Request]) -> list[codec.Message]:
        datagram = bytearray()
        waiting: dict[int, Request] = {}
        for request in requests:
            datagram += self._pack(request, waiting)
        self._send(bytes(datagram))
        return self._collect(waiting)

    def _send(self, datagram: bytes) -> None:
        try:
            self._socket.sendto(datagram, (0, 0))
        except OSError as exc:
            raise KernelError.from_oserror("send", exc, path="netlink") from exc

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except OSError as exc:
            raise KernelError.from_oserror("recv", exc, path="netlink") from exc

    def _collect(
        self, waiting: dict[int, Request], *, silent: Request | None = None
    ) -> list[codec.Message]:
        """Read until every request is acknowledged; returns what is not an acknowledgement.

        silent: a request that is answered only when it fails, and then nothing else is.
        """
        replies: list[codec.Message] = []
        failure: KernelError | None = None
        missing = len(waiting) - (silent is not None)
        while missing > 0:
            for message in codec.messages(self._receive()):
                request = waiting.get(message.sequence)
                if request is None:
                    continue  # a late answer to a request that was given up
                if message.kind != codec.NLMSG_ERROR:
                    replies.append(message)
                    continue
                missing = 0 if request is silent else missing - 1
                error = _error(message, request)
                if error is not None and failure is None and error.errno not in request.accept:
                    failure = error
        if failure is not None:
            raise failure
        return replies

    def _dump_once(self, request: Request) -> tuple[list[codec.Message], bool]:
        sequence = self._next()
        flags = codec.NLM_F_REQUEST | codec.NLM_F_DUMP
        self._send(codec.pack_message(request.kind, flags, sequence, request.body))
        found: list[codec.Message] = []
        interrupted = False
        while True:
            for message in codec.messages(self._receive()):
                if message.sequence != sequence:
                    continue
                interrupted = interrupted or bool(message.flags & codec.NLM_F_DUMP_INTR)
                if message.kind == codec.NLMSG_DONE:
                    return found, interrupted
                if message.kind == codec.NLMSG_ERROR:
                    error = _error(message, request)
                    if error is not None:
                        raise error
                    return found, interrupted
                found.append(message)


def _error(message: codec.Message, request: Request) -> KernelError | None:
    """The error that an NLMSG_ERROR reports; None for success."""
    (code,) = struct.unpack_from("=i", message.body)
    if code == 0:
        return None
    error = KernelError(request.shell, -code, detail=_reason(message))
    error.path = error.subject = request.path
    return error


def _reason(message: codec.Message) -> str | None:
    """The kernel's own words (NLMSGERR_ATTR_MSG), if it has any."""
    if not message.flags & codec.NLM_F_ACK_TLVS:
        return None
    offset = 4 + codec.HEADER.size
    if not message.flags & codec.NLM_F_CAPPED:
        (quoted,) = struct.unpack_from("=I", message.body, 4)
        offset = 4 + ((quoted + 3) & ~3)
    value = codec.mapping(message.body[offset:]).get(_NLMSGERR_ATTR_MSG)
    return codec.string(value) or None
