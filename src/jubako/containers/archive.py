"""`export` and `commit`: a container's file system as a tar, or as a new image."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager

from jubako.linux import mount, ns
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from jubako.containers.services import Services
    from jubako.containers.table import Container


def export(services: Services, container: Container, out: BinaryIO) -> None:
    """Write the whole root filesystem as a tar, without volumes and without /proc and the like.

    Works whether it runs or not: the layers are mounted anew, in a mount namespace of a child.
    """
    with _mounted(services, container) as root:
        _in_child(root, lambda path: services.images.layers.tar_tree(path, out))


@contextmanager
def _mounted(services: Services, container: Container) -> Iterator[Callable[[], str]]:
    """Yields a function that mounts the container's file system and returns where.

    The function is for a child with a mount namespace of its own; the directory goes at the end.
    A running container's upper directory is in use by its own mount: overlayfs calls a second one
    undefined, so it is looked at read-only, as the lowest-risk view of a live tree.
    """
    directory = tempfile.mkdtemp(prefix="view-", dir=services.directory(container.id))

    def enter() -> str:
        upper = f"{services.directory(container.id)}/upper"
        diff_ids = services.images.diff_ids(container.image_id)
        services.images.layers.mount_view(diff_ids, directory, top=upper)
        return directory

    try:
        yield enter
    finally:
        os.rmdir(directory)


def _in_child(enter: Callable[[], str], work: Callable[[str], None]) -> None:
    """Do `work` on the mounted tree in a forked child with its own mount namespace.

    Raises the child's error.
    """
    from jubako.containers import report

    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _work(enter, work, read_end, write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    import json

    from jubako.errors import JubakoError

    if not answer:
        raise JubakoError("read the container's file system: the reader died")
    content = json.loads(answer)
    if content:
        raise report.unpack_error(content)


def _work(
    enter: Callable[[], str], work: Callable[[str], None], read_end: int, write_end: int
) -> None:
    import json

    from jubako.containers import report

    result = b"{}"
    try:
        os.close(read_end)
        ns.unshare(
            ns.CLONE_NEWNS, why="look at the file system without showing the mount to the host"
        )
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_SLAVE)
        work(enter())
    except BaseException as exc:
        result = json.dumps(report.pack_error(exc)).encode()
    finally:
        os.write(write_end, result)
        os._exit(0)


def commit(
    services: Services,
    container: Container,
    reference: str | None,
    *,
    author: str,
    message: str,
    changes: Sequence[str],
) -> str:
    """Make an image of the container's parent image and what the container wrote; its ID.

    The caller pauses the container if the state must be consistent.
    """
    upper = f"{services.directory(container.id)}/upper"
    point("containers.commit.begin")
    with services.images.layers.diff(upper) as layer:
        return services.images.commit(
            container.image_id,
            layer,
            dict(container.record["Config"]),
            author=author,
            message=message,
            changes=changes,
            reference=reference,
            container_id=container.id,
        )
