"""The process that fetches: what readers wait for first, and meanwhile all the rest.

The rest comes as in any pull: the blob, from its first byte on, into the file of an interrupted
pull (see `images.content.partial`).  When it is complete, the pull's own way makes the layer and
the rows of it, from what is there; and the image is like any other.
"""

from __future__ import annotations

import errno
import os
import queue
import select
import sys
import threading
import time
from contextlib import suppress
from functools import partial

from jubako.errors import IntegrityError, InvalidArgument, JubakoError, KernelError, NotFound
from jubako.images import ImageService
from jubako.images.content.partial import Partial
from jubako.images.lazy import layer as layers
from jubako.images.lazy import places
from jubako.images.lazy.filler import Filler
from jubako.images.lazy.guardian import (
    COMPLETE,
    DONE,
    GIVEN_UP,
    GO_ON,
    KNOWN,
    MAX_PENDING,
    NEVER_STARTED,
    WANTED,
    deny,
    remove,
    report,
)
from jubako.images.lazy.rest import Rest, Waiting
from jubako.images.pulling.layers import LayerFetcher
from jubako.images.pulling.recording import record
from jubako.images.pulling.resolving import Resolver
from jubako.images.registries.remote import Login, open_client
from jubako.images.reporting import Reporter
from jubako.linux import fanotify
from jubako.oci.digest import Digest
from jubako.oci.reference import parse
from jubako.store import Store, point, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from typing import Any

    from jubako.images.lazy.guardian import Layer
    from jubako.images.pulling.resolving import Target
    from jubako.registry.repository import Repository

_READERS = 4  # threads for those that wait
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 60.0  # between two tries to fetch the rest
_MAX_NOTES = 1000  # lines
_PATIENCE_S = 3600.0  # of trying


class Worker:
    """request: see `starting`.  taken: the layers that the guardian has.  channel: to it.

    group: where the guardian reads its events; its death is the only reason to read them here.
    """

    def __init__(
        self,
        request: dict[str, Any],
        taken: Sequence[Layer],
        channel: socket.socket,
        group: int,
    ):
        self._request = request
        self._taken = taken
        self._channel = channel
        self._group = group
        self._is_alone = False
        self._pending: set[int] = set()  # events that are not answered
        self._unknown: dict[int, int] = {}  # answers that the guardian may not have seen
        self._own: set[int] = set()  # events whose descriptors are of this process
        self._answered = threading.Condition()
        self._store = Store(request["root"])
        self._images = ImageService(self._store)
        self._fillers: list[Filler] = []
        self._waiting = Waiting()
        self._notes = 0
        self._wanted: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def run(self) -> int:
        """Until everything is there; one of the guardian's statuses."""
        request = self._request
        login = Login(**request["login"]) if request["login"] else None
        reference = parse(request["reference"])
        with open_client(self._store, reference.domain, login) as client:
            repository = client.repository(reference)
            try:
                target = Resolver(self._images, repository, request["platform"]).resolve(reference)
                self._prepare(target, repository)
            except JubakoError as exc:
                self._note(exc)
                if request["goes_on"]:
                    return 1
                report({"error": type(exc).__name__, "message": str(exc), "hint": exc.hint})
                return NEVER_STARTED
            for work in (self._receive, *(self._serve for _ in range(_READERS))):
                threading.Thread(target=work, daemon=True).start()
            if not request["goes_on"]:
                report({"ready": True})
                if not self._is_written_down():
                    return NEVER_STARTED
                with suppress(OSError):  # the guardian was killed already
                    self._channel.send(DONE.pack(GO_ON, 0))
            status = self._finish(target, repository)
            if self._is_alone:
                if status != COMPLETE:
                    deny(self._store, self._group, self._taken, ())
                remove(self._store, self._taken)
            return status

    def _prepare(self, target: Target, repository: Repository) -> None:
        """Make or reopen the layers."""
        wanted = {layer.diff_id: layer.descriptor for layer in target.layers()}
        for taken in self._taken:
            blob = wanted[Digest(taken.diff_id)]
            if self._request["goes_on"]:
                layer = layers.reopen(taken.path, taken.data, blob)
            else:
                read = partial(repository.read_range, blob)
                layer = layers.prepare(taken.path, taken.data, blob, read)
                places.announce(self._store, taken.diff_id, taken.path)
            self._fillers.append(Filler(layer, blob, repository, Partial(self._store, blob.digest)))
        point("images.lazy.prepared")

    @staticmethod
    def _is_written_down() -> bool:
        """Whether the command has written the image down; it has not if it was killed."""
        return os.read(0, 1) == b"\n"

    # --- what readers wait for -------------------------------------------------------------------

    def _receive(self) -> None:
        with suppress(OSError):
            while message := self._channel.recv(WANTED.size):
                if len(message) == WANTED.size:
                    self._take(message)
                else:
                    self._unknown.pop(KNOWN.unpack(message)[0], None)
        self._take_over()
        poll = select.poll()
        poll.register(self._group, select.POLLIN)
        inodes = {os.fstat(taken.data).st_ino: taken.number for taken in self._taken}
        while poll.poll():
            for event in fanotify.read_events(self._group):
                number = inodes[os.fstat(event.fd).st_ino]
                self._own.add(event.fd)
                self._take(WANTED.pack(event.fd, number, event.offset, event.size))

    def _take_over(self) -> None:
        """The guardian was killed: answer all that it was asked."""
        with self._answered:
            self._is_alone = True
            for event in range(2 * MAX_PENDING):
                if event not in self._pending:
                    # Of what it was asked and has told nobody only the number may be known.
                    with suppress(KernelError):
                        fanotify.respond(self._group, event, self._unknown.get(event, errno.EIO))
            # One of its numbers may be that of an event of ours: first those.
            self._answered.wait_for(lambda: not self._pending)

    def _take(self, message: bytes) -> None:
        with self._answered:
            self._pending.add(WANTED.unpack(message)[0])
        self._wanted.put(message)

    def _serve(self) -> None:
        while True:
            event, number, offset, size = WANTED.unpack(self._wanted.get())
            error = 0
            try:
                with self._waiting:
                    self._fillers[number].fill(offset, size)
            except JubakoError as exc:
                self._note(exc)
                full = isinstance(exc, KernelError) and exc.errno == errno.ENOSPC
                error = errno.ENOSPC if full else errno.EIO
            except Exception as exc:
                self._note(exc)
                error = errno.EIO
            self._answer(event, error)

    def _answer(self, event: int, error: int) -> None:
        with self._answered:
            self._pending.discard(event)
            self._answered.notify_all()
            if not self._is_alone:
                self._unknown[event] = error
                with suppress(OSError):  # the guardian was killed: it is answered soon
                    self._channel.send(DONE.pack(event, error))
                return
        with suppress(KernelError):  # the reader was killed
            fanotify.respond(self._group, event, error)
        if event in self._own:
            self._own.discard(event)
            os.close(event)

    # --- the rest --------------------------------------------------------------------------------

    def _finish(self, target: Target, repository: Repository) -> int:
        """Fetch all that is missing, and make it an image as others are."""
        started = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                for filler in self._fillers:
                    Rest(filler, self._images, self._waiting).fetch()
                point("images.lazy.filled")
                self._publish(target, repository)
                return COMPLETE
            except JubakoError as exc:
                self._note(exc)
                hopeless = isinstance(exc, (IntegrityError, InvalidArgument, NotFound))
                if hopeless or time.monotonic() - started > _PATIENCE_S:
                    return GIVEN_UP
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def _publish(self, target: Target, repository: Repository) -> None:
        limit = settings.load(self._store.path).max_concurrent_downloads
        with self._images.layers.session() as session:
            fetcher = LayerFetcher(
                self._images, session, repository.open_blob, Reporter(None), limit
            )
            fetcher.fetch(target.layers())
            record(self._images, target)

    def _note(self, exc: Exception) -> None:
        """Write down what went wrong where people look for it: see `starting`."""
        self._notes += 1
        if self._notes > _MAX_NOTES:  # a container may read again and again
            return
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        print(f"{when} {self._request['reference']}: {exc}", file=sys.stderr, flush=True)
