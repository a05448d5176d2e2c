"""`export` and `commit`: a container's file system as a tar, or as a new image."""

from __future__ import annotations

import os
import tempfile

from jubako.containers.child import call_in_child
from jubako.linux import mount, ns
from jubako.store import point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
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

    def work() -> None:
        ns.unshare(ns.CLONE_NEWNS, why="look at the file system without showing it to the host")
        mount.mount("none", "/", "", mount.MS_REC | mount.MS_SLAVE)
        layers.mount_view(diff_ids, directory, top=upper)
        layers.tar_tree(directory, out)
        out.flush()

    out.flush()
    try:
        call_in_child(services.store, work)
    finally:
        os.rmdir(directory)


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
