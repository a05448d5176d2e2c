"""`logs`: from the files of a container's log driver to bytes for a terminal."""

from __future__ import annotations

import select

from jubako.containers.attach import Attachment
from jubako.containers.logs import reader
from jubako.containers.logs.plan import log_path, readable
from jubako.errors import Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jubako.containers.services import Services
    from jubako.containers.table import Container

_POLL_MS = 50  # how often a followed file is looked at


def read_logs(
    services: Services,
    container: Container,
    *,
    follow: bool,
    tail: int | None,
    since: float | None,
    until: float | None,
    timestamps: bool,
    streams: set[str],
) -> Iterator[tuple[str, bytes]]:
    """Pairs of stream and bytes; see `ContainerService.logs`."""
    chosen = container.record["HostConfig"]["LogConfig"]
    if not readable(chosen["Type"], chosen["Config"]):
        raise Unsupported("configured logging driver does not support reading")
    path = log_path(services.directory(container.id), container.id, chosen["Type"])
    return _records(services, container, path, follow, tail, since, until, timestamps, streams)


def _records(
    services: Services,
    container: Container,
    path: str,
    follow: bool,
    tail: int | None,
    since: float | None,
    until: float | None,
    timestamps: bool,
    streams: set[str],
) -> Iterator[tuple[str, bytes]]:
    if follow and container.running:
        wait = _waiter(services, container)
        records = reader.follow(path, tail=tail, since=since, until=until, wait=wait)
    else:
        records = reader.read(path, tail=tail, since=since, until=until)
    partial = False  # the last record did not end its line: no second time stamp in its middle
    for record in records:
        if record.stream in streams:
            stamp = f"{record.time} ".encode() if timestamps and not partial else b""
            partial = not record.log.endswith(b"\n")
            yield record.stream, stamp + record.log


def _waiter(services: Services, container: Container) -> Callable[[], bool]:
    """Waits a moment; False once the container's monitor is done."""
    try:
        attachment = Attachment.connect(
            services.attach_socket(container.id), stdin=False, output=False
        )
    except (Unavailable, OSError):
        return lambda: False
    poll = select.poll()
    poll.register(attachment.fileno(), select.POLLIN)

    def wait() -> bool:
        if not poll.poll(_POLL_MS):
            return True
        try:
            attachment.wait()
        except Unavailable:
            pass
        attachment.close()
        return False

    return wait
