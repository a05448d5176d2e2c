"""The process that is asked before a hole of a layer is read, and sees to it that it is filled.

    command ── request ──> guardian ── fork ──> worker
       ^                    │    ^  wanted: event, layer, bytes │
       │                    │    ├──────── done: event, errno ──┤
       │                    │    └─────────────── known: event ─┘
       └── ready or error ──┴─────────────────────────────────── (whoever knows it first)

The guardian has the layers' directories and the kernel's events; the worker (see `worker`) speaks
with the registry and the database.  A worker that dies is replaced: what readers wait for is asked
again.  When that does not help, readers get EIO.  When the guardian dies the worker does its work.
Both end when everything is there.

When both are killed the kernel lets readers see zeros in holes (fanotify(7)): their directories
have lost the lock then, and no container starts with them any more (see `places`).
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress

from jubako.errors import JubakoError, KernelError
from jubako.images.layers.temporary import temporary_directory
from jubako.images.lazy import places
from jubako.linux import fanotify
from jubako.linux.removal import remove_tree
from jubako.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

DATA = f"{places.LAYER}/tar"
WANTED = struct.Struct("=iIQQ")  # event, number of the layer, offset, size
DONE = struct.Struct("=ii")  # event, errno or 0
KNOWN = struct.Struct("=i")  # event: the kernel has the worker's answer
GO_ON = -1  # in the place of an event: the command has written the image down
# How a worker ends; anything else is an accident.
COMPLETE, GIVEN_UP, NEVER_STARTED = 0, 71, 72
_MAX_ACCIDENTS = 5
MAX_PENDING = 100  # so many messages fit into a socket: neither side ever waits for the other
_IDLE_MS = 1000


class Layer:
    """number: in the request.  path: its directory.  data: its data, for use without events."""

    def __init__(self, store: Store, group: int, number: int, diff_id: str):
        self.number = number
        self.diff_id = diff_id
        self.path, self.lock = temporary_directory(store, f"{store.path}/layers")
        os.mkdir(f"{self.path}/{places.LAYER}", 0o700)
        flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(f"{self.path}/{DATA}", flags, 0o600))
        self.data = _mark(group, f"{self.path}/{DATA}")


def _mark(group: int, path: str) -> int:
    """Be asked before a file is used; a descriptor of it for which nobody is."""
    fanotify.fanotify_mark(group, path, why="content of this layer is fetched when it is read")
    # There is but one way to such a descriptor: somebody else has to ask.
    child = os.fork()
    if child == 0:
        try:
            os.pread(os.open(path, os.O_RDONLY | os.O_CLOEXEC), 1, 0)
        finally:
            os._exit(0)
    poll = select.poll()
    poll.register(group, select.POLLIN)
    poll.poll()
    [event] = fanotify.read_events(group)
    fanotify.respond(group, event.fd)
    os.waitpid(child, 0)
    return event.fd


class Guardian:
    """request: see `starting`."""

    def __init__(self, request: dict[str, Any]):
        self._request = request
        self._store = Store(request["root"])
        self._group = fanotify.fanotify_init(why="be asked for what is missing")
        self._layers: list[Layer] = []
        self._by_inode: dict[int, Layer] = {}
        self._pending: dict[int, bytes] = {}
        self._goes_on = False
        self._accidents = 0
        self._worker = self._pidfd = -1
        self._channel: socket.socket | None = None

    def run(self) -> None:
        """Until everything is there, or nobody can fetch it."""
        try:
            for number, layer in enumerate(self._request["layers"]):
                self._take(number, layer["diff_id"])
            self._start()
            status = self._serve()
            if self._goes_on and status != COMPLETE:
                deny(self._store, self._group, self._layers, self._pending)
        finally:
            remove(self._store, self._layers)

    def _take(self, number: int, diff_id: str) -> None:
        layer = Layer(self._store, self._group, number, diff_id)
        self._layers.append(layer)
        self._by_inode[os.fstat(layer.data).st_ino] = layer

    def _start(self) -> None:
        """Fork a worker and tell it what is waited for."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._worker = os.fork()
        if self._worker == 0:
            status = 1
            try:
                ours.close()
                from jubako.images.lazy.worker import Worker

                request = {**self._request, "goes_on": self._goes_on}
                status = Worker(request, self._layers, theirs, self._group).run()
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(status)
        theirs.close()
        self._channel = ours
        self._pidfd = os.pidfd_open(self._worker)
        for message in self._pending.values():
            self._send(message)

    def _serve(self) -> int:
        """Between events and worker; the status of the last worker."""
        while True:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            assert self._channel is not None
            poll.register(self._channel, select.POLLIN)
            if len(self._pending) < MAX_PENDING:
                poll.register(self._group, select.POLLIN)
            ready = {fd for fd, _ in poll.poll()}
            if self._channel.fileno() in ready:
                self._answer()
            if self._group in ready:
                self._ask()
            if self._pidfd in ready:
                status = self._ended()
                if status is not None:
                    return status

    def _ask(self) -> None:
        for event in fanotify.read_events(self._group):
            layer = self._by_inode[os.fstat(event.fd).st_ino]
            message = WANTED.pack(event.fd, layer.number, event.offset, event.size)
            self._pending[event.fd] = message
            self._send(message)

    def _send(self, message: bytes) -> None:
        assert self._channel is not None
        with suppress(OSError):  # it has died: the next one is told
            self._channel.send(message)

    def _answer(self) -> bool:
        """Pass an answer on; whether there was one."""
        assert self._channel is not None
        try:
            message = self._channel.recv(DONE.size)
        except ConnectionResetError:  # it died with messages unread; its answers come after that
            return True
        if not message:
            return False
        event, error = DONE.unpack(message)
        if event == GO_ON:
            self._goes_on = True
        elif event in self._pending:
            self._respond(event, error)
            self._send(KNOWN.pack(event))
        return True

    def _respond(self, event: int, error: int) -> None:
        del self._pending[event]
        with suppress(KernelError):  # the reader was killed
            fanotify.respond(self._group, event, error)
        os.close(event)

    def _ended(self) -> int | None:
        """What to do after the worker's end: its status, or None when there is a new one."""
        _, status = os.waitpid(self._worker, 0)
        code = os.waitstatus_to_exitcode(status)
        os.close(self._pidfd)
        while self._answer():
            pass
        assert self._channel is not None
        self._channel.close()
        self._accidents += 1
        is_accident = code not in (COMPLETE, GIVEN_UP, NEVER_STARTED)
        if not is_accident or not self._goes_on or self._accidents > _MAX_ACCIDENTS:
            return code
        self._start()
        return None


def remove(store: Store, layers: Sequence[Layer]) -> None:
    """What needs the directories no more keeps them open: they go when their last user ends."""
    for layer in layers:
        places.withdraw(store, layer.diff_id)
        remove_tree(layer.path)


def deny(store: Store, group: int, layers: Sequence[Layer], pending: Iterable[int]) -> None:
    """Let all reads of what is missing fail, for as long as containers run that might read.

    pending: events that were read and not answered.
    """
    from jubako.images.layers.session import ACTIVE

    for layer in layers:
        places.withdraw(store, layer.diff_id)  # no container starts with it any more
    waiting = list(pending)
    poll = select.poll()
    poll.register(group, select.POLLIN)
    while True:
        for event in waiting:
            with suppress(KernelError):  # the reader was killed
                fanotify.respond(group, event, errno.EIO)
            os.close(event)
        waiting = []
        if poll.poll(_IDLE_MS):
            waiting = [event.fd for event in fanotify.read_events(group)]
        elif store.db.execute(ACTIVE).fetchone() is None:
            return


def main() -> None:
    """With the request on standard input, and a pipe to the command as standard output."""
    if os.fork():  # nobody waits for what outlives the command
        os._exit(0)
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    request = json.loads(sys.stdin.buffer.readline(1 << 20))
    try:
        Guardian(request).run()
    except JubakoError as exc:
        report({"error": type(exc).__name__, "message": str(exc), "hint": exc.hint})


def report(message: dict[str, Any]) -> None:
    """Tell the command; it may have gone."""
    try:
        os.write(1, json.dumps(message).encode() + b"\n")
    except OSError:
        pass
