"""`export` and `commit`: a container's file system as a tar, or as a new image."""

from __future__ import annotations

import os
import tempfile

from jubako.containers.child import call_in_child
from jubako.containers.events import emit
from jubako.linux import mount, ns
from jubako.oci.reference import parse
from jubako.store import point

_COPY_BYTES = 1 << 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from jubako.containers.services import Services
    from jubako.containers.table import Container


def export(services: Services, container: Container, out: BinaryIO) -> None:
    """Write the whole root filesystem as a tar, without volumes and without /proc and the like.

    Works whether it runs or not: the layers are mounted anew, read-only (overlayfs does not define
    what a second writable mount of one upper directory does), in a child's own mount namespace.
    """
    directory = tempfile.mkdtemp(prefix="view-", dir=services.directory(container.id))
    upper = f"{services.directory(container.id)}/upper"
    diff_ids = services.images.diff_ids(container.image_id)
    layers = services.images.layers

    def work(target: int) -> None:
        ns.unshare(ns.CLONE_NEWNS, why="look at the file system without showing it to the host")
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_SLAVE)
        layers.mount_view(diff_ids, directory, top=upper)
        with open(target, "wb", closefd=False) as tar:
            layers.tar_tree(directory, tar)

    try:
        _write_from_child(services, work, out)
    finally:
        os.rmdir(directory)


def _write_from_child(services: Services, work: Callable[[int], None], out: BinaryIO) -> None:
    """Let a child do `work`, which writes to the descriptor it gets, and have it all in `out`.

    A child can write to a descriptor of ours, but not to an object in our memory: what goes there
    comes through a pipe.
    """
    try:
        target = out.fileno()
    except OSError:  # io.UnsupportedOperation: it has none
        target = -1
    if target >= 0:
        out.flush()
        call_in_child(services.store, lambda: work(target))
        return
    read_end, write_end = os.pipe2(os.O_CLOEXEC)

    def fetch() -> None:
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            while piece := pipe.read(_COPY_BYTES):
                out.write(piece)

    def produce() -> None:
        os.close(read_end)
        work(write_end)

    call_in_child(services.store, produce, meanwhile=fetch)


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
        image_id = services.images.commit(
            container.image_id,
            layer,
            dict(container.record["Config"]),
            author=author,
            message=message,
            changes=changes,
            reference=reference,
            container_id=container.id,
        )
    name = parse(reference).tagged().familiar() if reference else ""
    emit(
        services.store,
        container.record,
        "commit",
        comment=message,
        imageID=image_id,
        imageRef=name,
    )
    return image_id
