"""`logs`: from the files of a container's log driver to bytes for a terminal."""

from __future__ import annotations

import os
import select

from jubako.containers.logs import reader
from jubako.containers.logs.plan import log_path, readable
from jubako.containers.streams.attach import Attachment
from jubako.errors import KernelError, Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jubako.containers.logs.render import Renderer
    from jubako.containers.services import Services
    from jubako.containers.table import Container

_POLL_MS = 50  # how often a followed file is looked at when nobody tells that it has changed
_LOOK_MS = 1000  # the same when somebody does


def read_logs(
    services: Services,
    container: Container,
    renderer: Renderer,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
) -> Iterator[tuple[str, bytes]]:
    """Pairs of stream and bytes; see `ContainerService.logs`."""
    chosen = container.record["HostConfig"]["LogConfig"]
    if not readable(chosen["Type"], chosen["Config"]):
        raise Unsupported("configured logging driver does not support reading")
    path = log_path(services.directory(container.id), container.id, chosen["Type"])
    return _rendered(_blocks(services, container, path, follow, tail, since), renderer)


def _rendered(blocks: Iterator[bytes], renderer: Renderer) -> Iterator[tuple[str, bytes]]:
    for block in blocks:
        yield from renderer.feed(block)
        if renderer.done:
            return


def _blocks(
    services: Services,
    container: Container,
    path: str,
    follow: bool,
    tail: int | None,
    since: float | None,
) -> Iterator[bytes]:
    if not follow or not container.running:
        yield from reader.read(path, tail=tail, since_s=since)
        return
    waiter = _Waiter(services, container)
    try:
        yield from reader.follow(path, tail=tail, since_s=since, wait=waiter.wait)
    finally:
        waiter.close()


class _Waiter:
    """Knows when a log may have grown, and when it will not any more."""

    def __init__(self, services: Services, container: Container):
        self._attachment: Attachment | None = None
        self._poll = select.poll()
        try:
            self._attachment = Attachment.connect(
                services.attach_socket(container.id), stdin=False, output=False
            )
            self._poll.register(self._attachment.fileno(), select.POLLIN)
        except (Unavailable, OSError):
            pass  # it has ended meanwhile
        self._changes = _watch(services.directory(container.id))
        if self._changes >= 0:
            self._poll.register(self._changes, select.POLLIN)
        self._timeout_ms = _POLL_MS if self._changes < 0 else _LOOK_MS

    def wait(self) -> bool:
        """Until there may be more to read; False once the container's monitor is done."""
        if self._attachment is None:
            return False
        ready = [fd for fd, _ in self._poll.poll(self._timeout_ms)]
        if self._changes in ready:
            from jubako.linux import inotify

            inotify.wait(self._changes, 0)
        if self._attachment.fileno() in ready:
            try:
                self._attachment.wait()
            except Unavailable:
                pass
            self._attachment.close()
            self._attachment = None
            return False
        return True

    def close(self) -> None:
        if self._attachment is not None:
            self._attachment.close()
        if self._changes >= 0:
            os.close(self._changes)


def _watch(directory: str) -> int:
    """A descriptor that tells of changes in the directory; -1 if there are too many already."""
    from jubako.linux import inotify

    try:
        fd = inotify.init()
    except KernelError:
        return -1
    try:
        inotify.add_watch(fd, directory, inotify.IN_MODIFY | inotify.IN_CREATE)
    except KernelError:
        os.close(fd)
        return -1
    return fd
